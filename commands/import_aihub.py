"""The user's own copy of the AI Hub corpus as a file of the project, under an ASCII name.

As a command: `python -m commands.import_aihub FILE`. AI Hub forbids passing the corpus on: DVC tracks the copy, git ignores it.
"""

import logging
import shutil
import sys
from pathlib import Path

from commands.dvc import dvc_add
from stages.shared import aihub
from stages.shared.errors import FileUnreadable, StageError
from stages.shared.outputs import atomic_files
from stages.shared.sources.files import as_stored
from stages.shared.sources.rows import ReadOptions
from stages.shared.sources.source import Source

EDITIONS = (".json", ".xlsx")


def take_in(file: Path, raw_dir: Path) -> Path:
    """Check a file of the corpus, copy it into raw_dir, have DVC track it, and return the copy; raise StageError for another file."""
    file = as_stored(file)
    suffix = file.suffix.lower()
    if suffix not in EDITIONS:
        raise FileUnreadable(file, f"has the file type '{suffix}'", "give the JSON or the XLSX of 감성대화말뭉치, unpacked")
    dialogues = _dialogues_in(file)
    part = "validation" if "validation" in file.name.casefold() else "training"
    copy = raw_dir / f"aihub_{part}{suffix}"
    with atomic_files(copy) as (draft,):
        shutil.copyfile(file, draft)
    dvc_add(copy)
    print(f"{copy}: {dialogues:,} dialogues, tracked by {copy}.dvc (commit that file; the corpus itself stays out of git)")
    return copy


def _dialogues_in(file: Path) -> int:
    source = Source(file, ReadOptions(lambda _: False), optional=False)
    count = 0
    for count, row in enumerate(source.rows(), 1):  # noqa: B007
        if not source.corpus:
            raise FileUnreadable(file, "is a table, but not of the corpus", "name it in preprocess.source as it is")
        if aihub.code_of(row.label) is None:
            raise FileUnreadable(file, f"has the emotion '{row.label}' in row {row.line:,}", "correct the row")
    return count


def main() -> None:
    """Take a corpus file in and print the command that runs the graph on it."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    if len(sys.argv) != 2:
        raise SystemExit("usage: make aihub FILE='감성대화말뭉치(최종데이터)_Training.json', or an .xlsx")
    try:
        copy = take_in(Path(sys.argv[1]), Path("data/raw"))
    except (StageError, OSError) as error:
        raise SystemExit(f"ERROR: {error}") from None
    distribution = f" -S emotion_distribution.corpus={copy}" if copy.suffix == ".json" else ""
    print("Run the graph on it:")
    print(f"  dvc exp run -S preprocess.source={copy}{distribution}")
    print("with 6 or 60 classes instead of positive and negative:")
    print(f"  dvc exp run -S preprocess.source={copy} -S preprocess.aihub_target=emotion  # or emotion_fine")


if __name__ == "__main__":
    main()
