"""`make dataset HUB=<id>@<revision> [CONFIG=<name>]`: imports a data set of the Hugging Face Hub.

Writes one Parquet file for each split, and a JSON file that states where they come from, into data/raw; DVC tracks the rows.
Prints the command that trains on them. Nothing else in the project asks the Hub for data: the graph reads these files like any other.
"""

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from commands.dvc import dvc_add, error_messages, experiment, listed, param_value
from serving.inference.hashing import file_sha256
from stages.shared.errors import StageError, Unavailable
from stages.shared.hub import require_hub
from stages.shared.outputs import atomic_files, write_json
from stages.shared.sources.tables import AUTO, LABEL, TEXT, Kind, named

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

FORM = re.compile(r"(?P<id>[\w.-]+(/[\w.-]+)?)@(?P<revision>[\w./-]+)")
LABEL_SEPARATORS = ("|", ";", ",", "/")  # between several labels of a text: the first one that no class name contains
CHUNK_ROWS = 10_000  # in memory at a time
MAX_CLASSES = 200  # a column with more distinct values does not hold classes
REMEDY = "Set HF_ENDPOINT to a mirror or HTTPS_PROXY to a proxy, or download the files yourself and name them in preprocess.source"
USAGE = "usage: make dataset HUB=<id>@<revision> [CONFIG=<name>], e.g. HUB=stanfordnlp/sst2@main"


class Origin(NamedTuple):
    """A data set on the Hub. commit: the one that the revision names."""

    id: str
    revision: str
    commit: str
    config: str | None
    licence: str | None

    @property
    def file_stem(self) -> str:
        return re.sub(r"[^\w.-]", "_", "_".join(filter(None, (self.id, self.config))))


class SplitFile(NamedTuple):
    """The file of a split. unlabelled: rows without a label."""

    file: Path
    rows: int
    unlabelled: int


class Task(NamedTuple):
    """The columns of text and label, as far as their names and types tell.

    class_names: in id order; empty if unknown. separator: between several labels of a text; empty if each text has one label.
    """

    text: str | None
    label: str | None
    class_names: list[str]
    separator: str


def import_data_set(wanted: str, config: str | None, raw_dir: Path) -> list[str]:
    """Write all splits of a data set into raw_dir, make DVC track them, and return the params that train on them.

    wanted: `<id>@<revision>`; the revision is a commit, tag or branch, and the provenance keeps its commit. Raises StageError.
    """
    form = FORM.fullmatch(wanted)
    if not form:
        raise StageError(f"{wanted!r} does not name a data set at a revision. {USAGE}")
    require_hub(f"the data set {form['id']}", REMEDY)
    with hub_errors(wanted):
        origin = _origin(form["id"], form["revision"], config)
        data = load(origin)
    task = task_of(data)
    outs = {str(name): raw_dir / f"{origin.file_stem}_{name}.parquet" for name in data}
    provenance = raw_dir / f"{origin.file_stem}.provenance.json"
    splits: dict[str, SplitFile] = {}
    with atomic_files(*outs.values()) as drafts:
        for (name, file), draft in zip(outs.items(), drafts, strict=True):
            splits[name] = SplitFile(file, len(data[name]), write(data[name], draft, task))
    write_json(provenance, _provenance(origin, data, splits))
    dvc_add(*outs.values())
    for name, split in splits.items():
        unlabelled = f", {split.unlabelled:,} of them without a label" if split.unlabelled else ""
        print(f"{split.file}: {split.rows:,} rows of {name}{unlabelled}")
    print(f"{provenance}: {origin.id} at {origin.commit}, licence {origin.licence or 'not stated'}")
    print("DVC tracks the rows; commit the .dvc files and the provenance.")
    return params_of(task, splits, data)


@contextmanager
def hub_errors(wanted: str) -> Iterator[None]:
    """Turn the errors of the Hub's libraries into StageError with a message."""
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except GatedRepoError:
        raise Unavailable(f"{wanted} is gated: accept the terms on its page, and set HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise Unavailable(f"{wanted} is not on the Hub, or it is private: check the id, or set HF_TOKEN") from None
    except RevisionNotFoundError:
        raise Unavailable(f"{wanted} is not on the Hub: the data set exists, but not this revision. Check the revision") from None
    except (HfHubHTTPError, ConnectionError) as error:
        raise Unavailable(f"{wanted} cannot be fetched ({_shortened(error)}). {REMEDY}") from None
    except (DatasetsError, ValueError, RuntimeError, NotImplementedError, OSError) as error:
        raise StageError(f"{wanted} cannot be read ({_shortened(error)}). {USAGE}") from None


def _origin(dataset: str, revision: str, config: str | None) -> Origin:
    from huggingface_hub import HfApi

    info = HfApi().dataset_info(dataset, revision=revision)
    licence = getattr(info.card_data, "license", None)
    return Origin(dataset, revision, info.sha or revision, config, ", ".join(licence) if isinstance(licence, list) else licence)


def load(origin: Origin) -> "DatasetDict":
    """Fetch all splits. The texts "NA" and "null" of a CSV stay texts."""
    from datasets import load_dataset, load_dataset_builder
    from datasets.packaged_modules.csv.csv import CsvConfig  # private: the only sign that a data set is read as CSV

    builder = load_dataset_builder(origin.id, origin.config, revision=origin.commit)
    options = {"keep_default_na": False} if isinstance(builder.config, CsvConfig) else {}
    data: DatasetDict = load_dataset(origin.id, origin.config, revision=origin.commit, **options)
    return data


def task_of(data: "DatasetDict") -> Task:
    """Find the columns of text and label, by their name or because only one column has that type, and the class names."""
    from datasets import ClassLabel, List, Value

    split = next(iter(data.values()))
    texts = [name for name, feature in split.features.items() if feature in (Value("string"), Value("large_string"))]
    kinds = {name: feature.feature if isinstance(feature, List) else feature for name, feature in split.features.items()}
    text = _named(texts, TEXT) or _only(texts)
    label = _named(list(kinds), LABEL) or _only([name for name, kind in kinds.items() if isinstance(kind, ClassLabel)])
    if label is None:
        return Task(text, None, [], "")
    several = isinstance(split.features[label], List)
    if isinstance(kinds[label], ClassLabel):
        names = list(kinds[label].names)
    else:
        found = (value for rows in data.values() for value in rows.unique(label) if not several and value not in (None, ""))
        names = [str(value) for value in sorted(set(found))]
    separator = next((sign for sign in LABEL_SEPARATORS if not any(sign in name for name in names)), LABEL_SEPARATORS[0])
    return Task(text, label, names if len(names) <= MAX_CLASSES else [], separator if several else "")


def _named(names: Sequence[str], kind: Kind) -> str | None:
    return next((names[position] for position in named(names, AUTO, kind)), None)


def _only(names: Sequence[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def write(split: "Dataset", file: Path, task: Task) -> int:
    """Write a split as Parquet, its labels as class names; return the number of rows without a label."""
    import pyarrow as pa
    import pyarrow.parquet as parquet
    from datasets import ClassLabel, List

    feature = split.features[task.label] if task.label else None
    kind = feature.feature if isinstance(feature, List) else feature

    def named(value: Any) -> str | None:
        if isinstance(kind, ClassLabel):
            return kind.names[value] if value is not None and value >= 0 else None  # -1: the label is secret
        return None if value is None else str(value)

    unlabelled = 0
    writer: parquet.ParquetWriter | None = None
    try:
        for table in split.with_format("arrow").iter(CHUNK_ROWS):
            if task.label:
                values = table[task.label].to_pylist()
                if task.separator:
                    labels = [task.separator.join(filter(None, map(named, value or []))) or None for value in values]
                else:
                    labels = [named(value) or None for value in values]
                unlabelled += labels.count(None)
                table = table.set_column(table.column_names.index(task.label), task.label, pa.array(labels, pa.string()))
            table = table.replace_schema_metadata(None)
            writer = writer or parquet.ParquetWriter(file, table.schema)
            writer.write_table(table)
    finally:
        if writer:
            writer.close()
    return unlabelled


def _provenance(origin: Origin, data: "DatasetDict", splits: dict[str, SplitFile]) -> dict[str, Any]:
    import datasets

    return {
        "hub": origin.id,
        "revision": origin.revision,
        "commit": origin.commit,
        "config": origin.config,
        "licence": origin.licence,
        "columns": {name: str(feature) for name, feature in next(iter(data.values())).features.items()},
        "splits": {name: {"file": part.file.name, "rows": part.rows, "sha256": file_sha256(part.file)} for name, part in splits.items()},
        "datasets": datasets.__version__,
    }


def params_of(task: Task, splits: dict[str, SplitFile], data: "DatasetDict") -> list[str]:
    """Return the params, as `-S` takes them, that train on the splits with labels.

    The validation split takes the place of a test split without labels, because others publish figures on its texts.
    """
    labelled = {name: split.file for name, split in splits.items() if split.unlabelled < split.rows}
    if not labelled:
        raise StageError("no split of the data set has labels: choose another data set or CONFIG")
    train = "train" if "train" in labelled else next(iter(labelled))
    test = next((name for name in ("test", "validation") if name in labelled and name != train), None)
    params = [f"preprocess.source={labelled[train]}"]
    if test:
        params.append(f"preprocess.test_source={labelled[test]}")
    if test == "test" and "validation" in labelled:
        params.append(f"preprocess.validation_source={labelled['validation']}")
    for kind, column in ((TEXT, task.text), (LABEL, task.label)):
        if column is None:
            params.append(f"preprocess.{kind.param}=<one of {', '.join(next(iter(data.values())).column_names)}>")
        elif column.strip().casefold() not in kind.sure:
            params.append(f"preprocess.{kind.param}={param_value(column)}")
    params.append(f"preprocess.labels={listed(task.class_names)}" if task.class_names else "preprocess.labels=<class names>")
    if task.separator:
        params.append(f'preprocess.label_separator="{task.separator}"')
    if any(0 < split.unlabelled < split.rows for split in splits.values()):
        params.append('preprocess.ignore_labels=[""]')
    return params


def _shortened(error: Exception) -> str:
    return " ".join((str(error).strip() or type(error).__name__).splitlines()[:2])


def main() -> None:
    """Import the data set and print the command that trains on it."""
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        return
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if not 2 <= len(sys.argv) <= 3:
        raise SystemExit(USAGE)
    with error_messages("run the same command again"):
        params = import_data_set(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else None, Path("data/raw"))
    print("Run the graph on it:")
    print(f"  {experiment(params)}")


if __name__ == "__main__":
    main()
