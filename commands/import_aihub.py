"""`make aihub FILE=...`: copies the user's own file of the AI Hub corpus into the project, under an ASCII name.

Writes data/raw/aihub_training or aihub_validation, with the ending of the file.
AI Hub forbids redistribution of the corpus, so DVC tracks the copy and git ignores it.
"""

import logging
import shutil
import sys
from pathlib import Path

from commands.dvc import dvc_add, error_messages
from stages.shared import aihub
from stages.shared.errors import FileUnreadable
from stages.shared.outputs import atomic_files
from stages.shared.sources.shards import as_stored
from stages.shared.sources.source import Source
from stages.shared.sources.tables import ReadOptions

EDITIONS = (".json", ".xlsx")


def import_corpus(file: Path, raw_dir: Path) -> Path:
    """Check a file of the corpus, copy it into raw_dir, make DVC track it, and return the copy; raise StageError for another file."""
    file = as_stored(file)
    suffix = file.suffix.lower()
    if suffix not in EDITIONS:
        raise FileUnreadable(file, f"has the file type '{suffix}'", "give the unpacked JSON or XLSX of 감성대화말뭉치")
    dialogues = _dialogues_in(file)
    split = "validation" if "validation" in file.name.casefold() else "training"
    copy = raw_dir / f"aihub_{split}{suffix}"
    with atomic_files(copy) as (draft,):
        shutil.copyfile(file, draft)
    dvc_add(copy)
    print(f"{copy}: {dialogues:,} dialogues. {copy}.dvc tracks it: commit that file; the corpus itself stays out of git")
    return copy


def _dialogues_in(file: Path) -> int:
    """Count the dialogues; raise FileUnreadable if the file is not of the corpus or has an unknown emotion."""
    source = Source(file, ReadOptions(lambda _: False), optional=False)
    count = 0
    for count, row in enumerate(source.rows(), 1):  # noqa: B007
        if not source.is_aihub:
            raise FileUnreadable(file, "is a table, but not of the AI Hub corpus", "name it in preprocess.source, without this command")
        if aihub.code_of(row.label) is None:
            raise FileUnreadable(file, f"has the unknown emotion '{row.label}' in row {row.line:,}", "correct the row")
    return count


def main() -> None:
    """Import the file and print the commands that run the graph on it."""
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        return
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    if len(sys.argv) != 2:
        raise SystemExit("usage: make aihub FILE='감성대화말뭉치(최종데이터)_Training.json', or an .xlsx")
    with error_messages("run the same command again"):
        copy = import_corpus(Path(sys.argv[1]), Path("data/raw"))
    distribution = f" -S emotion_distribution.corpus={copy}" if copy.suffix == ".json" else ""
    print("Run the graph on it:")
    print(f"  dvc exp run -S preprocess.source={copy}{distribution}")
    print("With 6 or 60 classes, in place of positive and negative:")
    print(f"  dvc exp run -S preprocess.source={copy} -S preprocess.aihub_target=emotion  # or emotion_fine")


if __name__ == "__main__":
    main()
