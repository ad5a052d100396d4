"""Data sets of the Hugging Face Hub as files of the project: one Parquet file a split, and a JSON file that says where they come from.

As a command: `python -m commands.import_hub ID@REVISION [CONFIG]`. Nothing else of the project asks the Hub for data: the graph
reads these files as it reads any other, and DVC tracks them.
"""

import logging
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from commands.dvc import dvc_add
from serving.inference.hashing import file_sha256
from stages.shared.errors import StageError, Unavailable
from stages.shared.hub import require_hub
from stages.shared.outputs import atomic_files, write_metrics
from stages.shared.sources.rows import LABEL_NAMES, TEXT_NAMES, ReadOptions

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

FORM = re.compile(r"(?P<id>[\w.-]+(/[\w.-]+)?)@(?P<revision>[\w./-]+)")
SEPARATORS = ("|", ";", ",", "/")  # between several labels of a text: the first that no label has
CHUNK_ROWS = 10_000  # that are in memory at a time
MOST_CLASSES = 200  # above it a column holds no classes
REMEDY = "Point HF_ENDPOINT at a mirror, HTTPS_PROXY at a proxy, or download the files by hand and name them in preprocess.source"
USAGE = "usage: make dataset HUB=<id>@<revision> [CONFIG=<name>], e.g. HUB=stanfordnlp/sst2@main"


class Origin(NamedTuple):
    """A data set on the Hub. commit: what the revision is, and was asked for by."""

    id: str
    revision: str
    commit: str
    config: str | None
    licence: str | None

    @property
    def file_stem(self) -> str:
        return re.sub(r"[^\w.-]", "_", "_".join(filter(None, (self.id, self.config))))


class Part(NamedTuple):
    """A split as it was written. unlabelled: rows without a label."""

    file: Path
    rows: int
    unlabelled: int


class Task(NamedTuple):
    """What the columns are for, as far as they tell. labels: names of the classes in id order, or none.

    separator: between several labels of a text, or none where each has one.
    """

    text: str | None
    label: str | None
    labels: list[str]
    separator: str


def fetch(wanted: str, config: str | None, raw_dir: Path) -> list[str]:
    """Write all splits of a data set into raw_dir, have DVC track them, and return the params that train on them.

    wanted: `<id>@<revision>`; the revision, a commit, a tag or a branch, is written down as the commit that it is. Raises StageError.
    """
    form = FORM.fullmatch(wanted)
    if not form:
        raise StageError(f"{wanted!r} names no data set at a revision. {USAGE}")
    require_hub(f"the data set {form['id']}", REMEDY)
    with hub_sentences(wanted):
        origin = _origin(form["id"], form["revision"], config)
        data = load(origin)
    task = task_of(data)
    files = {str(name): raw_dir / f"{origin.file_stem}_{name}.parquet" for name in data}
    provenance = raw_dir / f"{origin.file_stem}.provenance.json"
    parts: dict[str, Part] = {}
    with atomic_files(*files.values()) as drafts:
        for (name, file), draft in zip(files.items(), drafts, strict=True):
            parts[name] = Part(file, len(data[name]), write(data[name], draft, task))
    write_metrics(provenance, _provenance(origin, data, parts))
    dvc_add(*files.values())
    for name, part in parts.items():
        unlabelled = f", {part.unlabelled:,} of them without a label" if part.unlabelled else ""
        print(f"{part.file}: {part.rows:,} rows of {name}{unlabelled}")
    print(f"{provenance}: {origin.id} at {origin.commit}, licence {origin.licence or 'not stated'}")
    print("DVC tracks the rows; commit the .dvc files and the provenance.")
    return settings_of(task, parts, data)


@contextmanager
def hub_sentences(wanted: str) -> Iterator[None]:
    """Turn what the libraries of the Hub raise into sentences."""
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except GatedRepoError:
        raise Unavailable(f"{wanted} is gated: accept its terms on its page, and set HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise Unavailable(f"{wanted} is not on the Hub, or private: check the id, or set HF_TOKEN") from None
    except RevisionNotFoundError:
        raise Unavailable(f"{wanted} is not on the Hub: there is such a data set, but not such a revision") from None
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
    """Fetch all splits; the texts "NA" and "null" of a CSV stay texts."""
    from datasets import load_dataset, load_dataset_builder
    from datasets.packaged_modules.csv.csv import CsvConfig

    builder = load_dataset_builder(origin.id, origin.config, revision=origin.commit)
    options = {"keep_default_na": False} if isinstance(builder.config, CsvConfig) else {}
    data: DatasetDict = load_dataset(origin.id, origin.config, revision=origin.commit, **options)
    return data


def task_of(data: "DatasetDict") -> Task:
    """Find the columns of text and label, by name or because there is only one of its kind, and the classes."""
    from datasets import ClassLabel, List, Value

    split = next(iter(data.values()))
    texts = [name for name, feature in split.features.items() if feature in (Value("string"), Value("large_string"))]
    kinds = {name: feature.feature if isinstance(feature, List) else feature for name, feature in split.features.items()}
    text = _named(texts, TEXT_NAMES) or _only(texts)
    label = _named(list(kinds), LABEL_NAMES) or _only([name for name, kind in kinds.items() if isinstance(kind, ClassLabel)])
    if label is None:
        return Task(text, None, [], "")
    several = isinstance(split.features[label], List)
    if isinstance(kinds[label], ClassLabel):
        names = list(kinds[label].names)
    else:
        found = (value for part in data.values() for value in part.unique(label) if not several and value not in (None, ""))
        names = [str(value) for value in sorted(set(found))]
    separator = next((sign for sign in SEPARATORS if not any(sign in name for name in names)), SEPARATORS[0])
    return Task(text, label, names if len(names) <= MOST_CLASSES else [], separator if several else "")


def _named(names: Sequence[str], likely: Sequence[str]) -> str | None:
    position = ReadOptions.position(names, "auto", likely)
    return None if position is None else names[position]


def _only(names: Sequence[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def write(split: "Dataset", file: Path, task: Task) -> int:
    """Write a split as Parquet, its labels by name; return the rows without a label."""
    import pyarrow as pa
    import pyarrow.parquet as parquet
    from datasets import ClassLabel, List

    feature = split.features[task.label] if task.label else None
    kind = feature.feature if isinstance(feature, List) else feature

    def named(value: Any) -> str | None:
        if isinstance(kind, ClassLabel):
            return kind.names[value] if value is not None and value >= 0 else None  # -1 stands for a label that is kept secret
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


def _provenance(origin: Origin, data: "DatasetDict", parts: dict[str, Part]) -> dict[str, Any]:
    import datasets

    return {
        "hub": origin.id,
        "revision": origin.revision,
        "commit": origin.commit,
        "config": origin.config,
        "licence": origin.licence,
        "columns": {name: str(feature) for name, feature in next(iter(data.values())).features.items()},
        "splits": {name: {"file": part.file.name, "rows": part.rows, "sha256": file_sha256(part.file)} for name, part in parts.items()},
        "datasets": datasets.__version__,
    }


def settings_of(task: Task, parts: dict[str, Part], data: "DatasetDict") -> list[str]:
    """Return the params, as `-S` takes them, that train on the splits which have labels.

    A validation split takes the place of a test split without labels: its texts are those that others publish figures on.
    """
    labelled = {name: part.file for name, part in parts.items() if part.unlabelled < part.rows}
    if not labelled:
        raise StageError("no split has labels: there is nothing to train on")
    train = "train" if "train" in labelled else next(iter(labelled))
    test = next((name for name in ("test", "validation") if name in labelled and name != train), None)
    settings = [f"preprocess.source={labelled[train]}"]
    if test:
        settings.append(f"preprocess.test_source={labelled[test]}")
    if test == "test" and "validation" in labelled:
        settings.append(f"preprocess.validation_source={labelled['validation']}")
    for param, column, likely in (("text_column", task.text, TEXT_NAMES), ("label_column", task.label, LABEL_NAMES)):
        if column is None:
            settings.append(f"preprocess.{param}=<one of {', '.join(next(iter(data.values())).column_names)}>")
        elif column.strip().casefold() not in likely:
            settings.append(f"preprocess.{param}={column}")
    settings.append(f"preprocess.labels={_listed(task.labels)}" if task.labels else "preprocess.labels=<names of the classes>")
    if task.separator:
        settings.append(f'preprocess.label_separator="{task.separator}"')
    if any(0 < part.unlabelled < part.rows for part in parts.values()):
        settings.append('preprocess.ignore_labels=[""]')
    return settings


def _listed(names: Sequence[str]) -> str:
    quoted = ('"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' for name in names)
    return f"[{','.join(quoted)}]"


def _shortened(error: Exception) -> str:
    return " ".join((str(error).strip() or type(error).__name__).splitlines()[:2])


def main() -> None:
    """Take a data set in and print the command that trains on it."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if not 2 <= len(sys.argv) <= 3:
        raise SystemExit(USAGE)
    try:
        settings = fetch(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else None, Path("data/raw"))
    except (StageError, OSError) as error:
        raise SystemExit(f"ERROR: {error}") from None
    print("Run the graph on it:")
    print("  dvc exp run " + " ".join(f"-S {shlex.quote(setting)}" for setting in settings))


if __name__ == "__main__":
    main()
