"""`make data FILE=...`: looks at a file of labelled texts, and prints what it holds and the command that trains on it.

It changes nothing. What it cannot detect is an error that names the param; `SET="label_column=stars"` gives it to this command.
"""

import logging
import re
import shlex
import sys
import textwrap
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict
from rich.console import RenderableType

from commands.dvc import error_messages, experiment, listed, param_value
from commands.shapes import shape_of
from stages.shared import aihub, params
from stages.shared.classes import AUTO
from stages.shared.dataset.errors import JOINS
from stages.shared.dataset.labels import Labels
from stages.shared.dataset.reading import ReadingParams, read_options, with_found_labels
from stages.shared.dataset.report import IMBALANCE
from stages.shared.dataset.splitting import needed
from stages.shared.errors import FileUnreadable, StageError
from stages.shared.report import console
from stages.shared.sources.source import Source
from stages.shared.sources.tables import LIST_SEPARATOR, SourceFacts
from stages.shared.splits import HEADER_ONLY, SPLITS
from stages.shared.training.vocabulary import coverage

PARAMS = Path("params.yaml")
TOKENIZER = Path("models/base/tokenizer.json")
SHOWN = 10  # rows
DETECTED = ("text_column", "label_column", "encoding", "separator", "quoting", "header")  # params that a reader finds out
SETTABLE = (*DETECTED, "label_separator", "labels_source")
NO_FILE = f"data/raw/{HEADER_ONLY}"
NEUTRAL: dict[str, Any] = {
    **dict.fromkeys(DETECTED, AUTO),
    "label_separator": "",
    "labels_source": NO_FILE,
    "label_values": (),
    "aihub_target": "polarity",
}
LEAST = needed(dict.fromkeys(SPLITS[1:], 1.0))  # rows of a class, for each split to have one
LETTERS = 0.5  # share of the characters, for the language to be judged


class Given(ReadingParams):
    """The params of the project that say how to read a source."""

    model_config = ConfigDict(extra="ignore")

    labels_source: str

    @property
    def labels_file(self) -> Path | None:
        """The file with a label for each line of the source, if there is one."""
        return None if self.labels_source == NO_FILE else Path(self.labels_source)


@dataclass
class Found:
    """What a file holds. classes: rows by class name. dropped: rows by reason. lengths: of the texts, in characters.

    unknown: labels that are no class.
    coverage: shares of the base model's tokens that say nothing, empty without a base model.
    """

    classes: Counter[str]
    dropped: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)
    coverage: dict[str, float] = field(default_factory=dict)
    first: list[tuple[str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    read: SourceFacts = field(default_factory=SourceFacts)
    is_aihub: bool = False
    unknown: tuple[str, ...] = ()

    @cached_property
    def facts(self) -> dict[str, str]:
        """How the file was read, as texts."""
        return self.read.as_text()

    @property
    def small(self) -> list[str]:
        """The classes with too few rows for the splits."""
        return [name for name, count in self.classes.items() if count < LEAST]


def look(file: Path, settings: Given) -> Found:
    """Read a file, and return what it holds. Raises StageError."""
    settings = with_found_labels(settings, file, settings.labels_file)
    labels = Labels(settings)
    source = Source(file, read_options(settings, labels.is_label), optional=False, labels_file=settings.labels_file)
    found = Found(Counter(dict.fromkeys(settings.class_names, 0)))
    for row in source.rows():
        if source.is_aihub and not labels.is_aihub:
            labels.expect_aihub()
        label, reason = labels.verdict(row.label, source.file, row.line)
        if not row.text.strip():
            found.dropped["empty"] += 1
        elif label is None:
            found.dropped[reason or "without_label"] += 1
        else:
            found.classes[settings.class_names[label]] += 1
        found.lengths.append(len(row.text))
        if len(found.first) < SHOWN:
            found.first.append((row.label.replace(LIST_SEPARATOR, ", "), row.text))
        if len(found.texts) < coverage.MEASURED_TEXTS:
            found.texts.append(row.text)
    found.read, found.is_aihub = source.facts, source.is_aihub
    unknown = (label.strip() for value in labels.unknown for label in settings.labels_in(value))
    found.unknown = tuple(dict.fromkeys(label for label in unknown if settings.class_of(label) is None))
    if found.dropped["empty"] == len(found.lengths):
        raise FileUnreadable(file, "has no text in its text column", "name another in preprocess.text_column")
    if TOKENIZER.exists():
        found.coverage = coverage.measure(coverage.FileTokenizer(TOKENIZER), found.texts)
    return found


def report(file: Path, found: Found) -> str:
    """Return what a person wants to know before training: how the file was read, its classes, rows and lengths, and what is unclear."""
    half, most = np.quantile(found.lengths, (0.5, 0.95)).astype(int)
    facts = console.table(console.name(), console.text(), header=False)
    for name, value in {
        **{name.replace("_", " "): value for name, value in found.facts.items() if name != "guessed"},
        "rows": f"{len(found.lengths):,}",
        "characters": f"half of the texts have at most {half:,}, 95 % at most {most:,}, the longest has {max(found.lengths):,}",
        "language": "{unknown_share:.1%} of the base model's tokens are unknown, {single_character_share:.1%} single characters".format(
            **found.coverage
        )
        if found.coverage
        else "not measured without models/base: type make run first",
    }.items():
        facts.add_row(name, value)
    classes = console.table(console.name("class"), console.number("rows"), console.number("share"))
    for name, count in found.classes.most_common():
        classes.add_row(name, f"{count:,}", f"{count / len(found.lengths):.1%}")
    rows = console.table(console.name("label"), console.text("text"))
    for label, text in found.first:
        rows.add_row(label, " ".join(text.split()))
    parts: list[RenderableType] = [console.title(str(file)), facts, classes, rows]
    if unclear := [textwrap.fill(sentence, console.WIDTH, initial_indent="- ", subsequent_indent="  ") for sentence in questions(found)]:
        parts += [console.title("Look at this first"), "\n".join(unclear)]
    return console.render(parts)


def questions(found: Found) -> Iterator[str]:
    """Yield what a person should check."""
    facts = found.facts
    if guessed := facts.get("guessed"):
        names = guessed.split(" and ")
        columns = " and ".join(f"'{facts[f'{name}_column']}'" for name in names)
        chosen = "were chosen by their values" if len(names) > 1 else "was chosen by its values"
        yield f"No name says which column is the {' and which is the '.join(names)}: {columns} {chosen}."
    if facts.get("encoding", "utf-8") not in ("utf-8", "utf-8-sig"):
        yield f"The encoding was detected as {facts['encoding']}: check that the texts above look right."
    if titles := facts.get("title_rows"):
        yield f"Title rows above the header are left out: {titles}."
    if facts.get("header") == "no":
        yield f"The file has no header: column {facts['text_column']} is the text, column {facts['label_column']} is the label."
    if count := found.dropped["empty"]:
        yield f"{count:,} rows have no text: preprocess drops them."
    if count := found.dropped["without_label"]:
        yield f"{count:,} rows have no label: the command below drops them."
    if count := found.dropped["several_labels"]:
        yield f"{count:,} rows have labels of several classes: preprocess drops them."
    for sign in JOINS:
        if any(sign in name and set(map(str.strip, name.split(sign))) <= found.classes.keys() for name in found.classes):
            yield f"Some labels join others by '{sign}'. If they are several labels, add SET='label_separator=\"{sign}\"' to this command."
    if found.small:
        shown = ", ".join(f"'{name}' ({found.classes[name]:,})" for name in found.small)
        yield f"Every class needs {LEAST} rows, but these have fewer: {shown}. The command below drops them."
    counts = [count for count in found.classes.values() if count >= LEAST]
    if counts and max(counts) > IMBALANCE * min(counts):
        yield "The classes are imbalanced: judge by macro F1, and try train.class_weights=balanced."
    if _is_foreign(found):
        yield f"The base model does not know the language of these texts. {coverage.REMEDY}."


def _is_foreign(found: Found) -> bool:
    """Tell whether the base model does not know the language. Texts that are mostly emoji or digits have none."""
    letters = sum(character.isalpha() for text in found.texts for character in text)
    return bool(found.coverage) and letters > LETTERS * sum(map(len, found.texts)) and coverage.is_poor(found.coverage)


def commands(file: Path, found: Found, asked: Given, given: Given) -> list[str]:
    """Return the commands that train on the file; raise StageError if too few classes have enough rows.

    asked: the params of this look. given: those of the project, to which a command adds what differs.
    """
    source = f"preprocess.source={param_value(str(file))}"
    reset = [name for name, value in NEUTRAL.items() if getattr(asked, name) != getattr(given, name)]
    neutral = [f"preprocess.{name}={_shown(getattr(asked, name))}" for name in reset]
    if found.is_aihub:
        others = [param for param in neutral if "aihub_target" not in param]
        targets = {"polarity": "2 classes", "emotion": "6 classes", "emotion_fine": f"{len(aihub.EMOTIONS)} classes"}
        return [f"{experiment([source, f'preprocess.aihub_target={target}', *others])}  # {words}" for target, words in targets.items()]
    classes = [name for name in found.classes if name not in found.small]
    if len(classes) < 2:
        raise StageError(f"{file} cannot be trained on: fewer than two classes have {LEAST} rows. Add rows, or name the right label column")
    ignored = dict.fromkeys([*given.ignore_labels, *found.small, *found.unknown])
    changes = [source, f"preprocess.labels={listed(classes)}"]
    changes += [f"preprocess.ignore_labels={listed(list(ignored))}"] if tuple(ignored) != given.ignore_labels else []
    changes += neutral
    if pinned := _to_pin(file, found, asked.model_copy(update={"ignore_labels": tuple(ignored)}).with_labels(classes)):
        named = {f"preprocess.{name}" for name in pinned}
        changes = [param for param in changes if param.partition("=")[0] not in named]
        changes += [f"preprocess.{name}={param_value(value)}" for name, value in pinned.items()]
    return [experiment(changes)]


def _to_pin(file: Path, found: Found, settings: Given) -> dict[str, str]:
    """Return the params to name, so that the file is read with known labels as it was without them.

    What differs between the files of a folder cannot be named: then all of them are read again.
    """
    read = found.read
    named = {} if settings.labels_file else {"text_column": read.text_column, "label_column": read.label_column}
    columns = {name: values[0] for name, values in named.items() if len(values) == 1}
    differ = any(len(values) > 1 for values in (*named.values(), read.header))
    header = {"header": read.header[0]} if len(read.header) == 1 else {}
    for pinned in ({}, columns, columns | header):
        source = Source(
            file,
            read_options(settings.model_copy(update=pinned), Labels(settings).is_label),
            optional=False,
            labels_file=settings.labels_file,
        )
        with suppress(StageError):
            deque(source.rows() if differ else islice(source.rows(), 1), maxlen=0)
            again = source.facts
            if all(getattr(again, name) == getattr(read, name) for name in (*named, "header")) and (not again.guessed or pinned):
                return pinned
    return columns


def _shown(value: Any) -> str:
    return listed(list(value)) if isinstance(value, tuple) else param_value(value) if value else '""'


def main() -> None:
    """Look at the file, and print the report and the command. Exit code 1: a person must say something first."""
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        return
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    pairs = dict(word.partition("=")[::2] for word in sys.argv[2:])
    if len(sys.argv) < 2 or not pairs.keys() <= set(SETTABLE):
        raise SystemExit(f"usage: make data FILE=<file or folder> SET='<param>=<value> ...', where a param is one of {', '.join(SETTABLE)}")
    with error_messages("nothing was changed"):
        path = Path(sys.argv[1])
        file, shape = shape_of(path) if pairs.keys().isdisjoint(("label_column", "labels_source")) else (path, {})
        given = params.load(PARAMS, "preprocess", Given)
        asked = Given.model_validate(given.model_dump() | NEUTRAL | {"labels": AUTO} | shape | pairs)
        try:
            found = look(file, asked)
        except StageError as error:
            names = [name for name in dict.fromkeys(re.findall(r"preprocess\.(\w+)", str(error))) if name in SETTABLE]
            remedy = f"\nSay it to this command: make data FILE={shlex.quote(str(file))} SET='{names[0]}=...'" if names else ""
            raise StageError(f"{error}{remedy}") from None
        print(report(file, found))
        lines = commands(file, found, asked, given)
        print(console.render([console.title("Train on it")]) + "\n" + "".join(f"  {line}\n" for line in lines), end="")


if __name__ == "__main__":
    main()
