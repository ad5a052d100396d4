"""`make run` has a line for each stage; a stage that fails shows its log."""

import io

import pytest
from rich.console import Console

from commands.run import Log, duration

REPRO = """Stage 'base_model' didn't change, skipping
Running stage 'preprocess':
> python -m stages.preprocess
INFO preprocess: 1,500 rows read
WARNING preprocess: the classes are uneven [really]
Updating lock file 'dvc.lock'

Stage 'train' is cached - skipping run, checking out outputs
Running stage 'export':
> python -m stages.export
ERROR: a message
ERROR: failed to reproduce 'export'
Use `dvc push` to send your updates to remote storage.
"""


def printed(lines: list[str], code: int) -> list[str]:
    console = Console(file=io.StringIO(), width=60)
    log = Log(console, console.status(""))
    for line in lines:
        log.take(line)
    log.finish(code)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_each_stage_is_a_line_and_warnings_are_shown() -> None:
    lines = printed(REPRO.splitlines()[:8], 0)
    assert [line.split()[0] for line in lines if line] == ["WARNING", "preprocess", "train", "unchanged"]
    assert lines[0].endswith("[really]")
    assert "restored" in lines[2]
    assert not any("Updating lock" in line or "INFO" in line for line in lines)


def test_failed_stage_shows_what_it_said() -> None:
    lines = printed(REPRO.splitlines(), 1)
    assert "ERROR: a message" in lines
    assert "> python -m stages.export" in lines
    assert not any("1,500 rows" in line for line in lines)


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "0 s"), (59.6, "1 min 0 s"), (112, "1 min 52 s")])
def test_duration_is_written_as_people_write_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words
