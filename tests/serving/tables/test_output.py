"""Tests that an output survives kills, a full disk and damaged progress: the command resumes, and the bytes are the same."""

import fcntl
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.serving.scoring import SMALL_BLOCKS, ids, size, start, wait_for, write_many


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.csv.gz", "a.parquet"])
def test_killed_at_any_moment_it_resumes_to_the_same_bytes(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    source, out, expected = tmp_path / name, tmp_path / f"out_{name}", tmp_path / f"expected_{name}"
    write_many(source)
    assert start(tiny_bundle, source, expected).wait(60) == 0
    draft, rng = out.with_name(f"{out.name}.part"), random.Random(len(name))
    places = sorted(rng.randrange(1, 60_000) for _ in range(4))
    kills = 0
    for place in places:
        process = start(tiny_bundle, source, out)
        wait_for(lambda place=place: size(draft) >= place, process)
        time.sleep(rng.random() * 0.01)
        process.kill()
        kills += process.wait(60) == -signal.SIGKILL
    assert kills
    process = start(tiny_bundle, source, out)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert out.read_bytes() == expected.read_bytes()
    assert ids(out) == list(range(1500))
    assert not list(tmp_path.glob("*.part*"))


def crash(place: str) -> str:
    """Return the command with a kill at this place."""
    return SMALL_BLOCKS.replace("score.main()", f"import os; {place}; score.main()")


DIE = "(lambda *_, **__: os.kill(os.getpid(), 9))"


@pytest.mark.parametrize(
    "place",
    [
        f"output.json.dump = {DIE}",  # with an incomplete progress file
        f"output.Path.replace = {DIE}",  # progress written, but not in its place
        "write = output.write_all; count = iter(range(9)); output.write_all = lambda to, data: "
        f"(write(to, data), next(count)) if count.__length_hint__() > 4 else (write(to, data[:9]), {DIE}())",  # with an incomplete block
        f"output.Path.unlink = {DIE}",  # at the end, after the move into place
    ],
    ids=["progress", "replace", "half a block", "end"],
)
def test_killed_at_the_worst_moments_it_resumes_to_the_same_bytes(tiny_bundle: Path, tmp_path: Path, place: str) -> None:
    source, out, expected = tmp_path / "a.csv", tmp_path / "out.csv", tmp_path / "expected.csv"
    write_many(source, 700)
    assert start(tiny_bundle, source, expected).wait(60) == 0
    first = start(tiny_bundle, source, out)
    wait_for(lambda: size(tmp_path / "out.csv.part.json") > 0, first)
    first.kill()
    first.wait(60)
    assert start(tiny_bundle, source, out, code=crash(place)).wait(60) == -signal.SIGKILL
    process = start(tiny_bundle, source, out)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert out.read_bytes() == expected.read_bytes()
    assert b"INFO score: 700 rows" in errors


@pytest.fixture
def killed(tiny_bundle: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A source, and an output whose command was killed."""
    source, out = tmp_path / "a.csv", tmp_path / "out.csv"
    write_many(source, 3000)
    process = start(tiny_bundle, source, out)
    wait_for(lambda: size(tmp_path / "out.csv.part.json") > 0, process)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    return source, out


@pytest.mark.parametrize("changed", ["input", "column", "engine", "bundle"])
def test_draft_of_another_run_is_refused_and_restart_starts_again(
    tiny_bundle: Path, copied_bundle: Path, killed: tuple[Path, Path], changed: str
) -> None:
    source, out = killed
    flags: list[str | Path] = []
    if changed == "input":
        write_many(source, 100)
    elif changed == "bundle":
        manifest = copied_bundle / "bundle.json"
        manifest.write_text(manifest.read_text("utf-8") + "\n", "utf-8")
        flags = ["--model", copied_bundle]
    else:
        flags = ["--column", "id"] if changed == "column" else ["--engine", "onnxruntime-fp32"]
    process = start(tiny_bundle, source, out, *flags)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"was started with another {changed}: add --restart to start again".encode() in errors
    assert b"Traceback" not in errors
    assert start(tiny_bundle, source, out, *flags, "--restart").wait(60) == 0
    assert ids(out) == list(range(100 if changed == "input" else 3000))


def test_draft_of_a_file_is_not_lost_to_a_pipe(score: Callable[..., Any], killed: tuple[Path, Path]) -> None:
    out = killed[1]
    done = score("-", out)
    assert done.returncode == 1
    assert "was started with another input: add --restart to start again" in done.stderr
    assert size(out.with_name("out.csv.part.json")) > 0


DAMAGED = ["[]", '{"bytes": 0}', '{"identity": 1, "counts": {}, "bytes": 0}', '{"identity": {}, "counts": {"x": 1}, "bytes": 0}']


@pytest.mark.parametrize("progress", DAMAGED)
def test_damaged_progress_counts_as_none(score: Callable[..., Any], killed: tuple[Path, Path], progress: str) -> None:
    source, out = killed
    out.with_name("out.csv.part.json").write_text(progress, "utf-8")
    done = score(source, out)
    assert done.returncode == 0, done.stderr
    assert ids(out) == list(range(3000))


def test_restart_removes_the_saved_progress(tiny_bundle: Path, killed: tuple[Path, Path]) -> None:
    source, out = killed
    without_progress = SMALL_BLOCKS.replace("64, 0", "64, 1000")
    process = start(tiny_bundle, source, out, "--restart", code=without_progress)
    wait_for(lambda: size(out.with_name("out.csv.part.json")) == 0, process)
    process.kill()
    process.wait(60)
    assert not out.with_name("out.csv.part.json").exists()


def test_second_process_on_the_same_output_is_refused(score: Callable[..., Any], tmp_path: Path) -> None:
    source, out = tmp_path / "a.csv", tmp_path / "out.csv"
    write_many(source, 10)
    with (tmp_path / "out.csv.part").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        done = score(source, out)
        assert done.returncode == 1
        assert "another process writes" in done.stderr
    assert score(source, out).returncode == 0


def test_full_disk_gives_an_error_message_and_the_command_resumes(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # coverage could not write its file either
    source, out = tmp_path / "a.csv", tmp_path / "out.csv"
    write_many(source, 3000)

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    process = start(tiny_bundle, source, out, preexec_fn=small_files)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.decode().endswith(
        "out.csv: File too large. Free disk space or correct the permissions. The same command resumes where it stopped\n"
    )
    assert b"Traceback" not in errors
    process = start(tiny_bundle, source, out)
    _, errors = process.communicate(timeout=60)
    assert b"resuming after row" in errors
    assert ids(out) == list(range(3000))
