"""`python -m serving`: its flags, its exit codes, and how signals end it. runtime/test_workers.py tests what several workers share."""

import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from tests.running import run_command
from tests.serving.http import TERMINATED, connected, read_to_end, server, statuses, until


def command(workers: int) -> list[str]:
    return [sys.executable, "-m", "serving", "--workers", str(workers)]


def test_help_explains_every_flag() -> None:
    done = run_command(*command(1), "--help")
    assert done.returncode == 0
    assert "python -m serving" in done.stdout
    for flag in ("--host", "--port", "--workers"):
        assert flag in done.stdout


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--workers", "0"], "--workers must be at least 1"),
        (["--workers", "-1"], "--workers must be at least 1"),
        (["--workers", "two"], "argument --workers: invalid int value: 'two'"),
        (["--port", "http"], "argument --port: invalid int value: 'http'"),
        (["--threads", "1"], "unrecognized arguments: --threads 1"),
    ],
)
def test_bad_flag_gets_exit_code_2_and_an_error_message(flags: list[str], sentence: str) -> None:
    done = run_command(sys.executable, "-m", "serving", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_ends_the_server_and_removes_its_folder(tiny_bundle: Path, tmp_path: Path, workers: int) -> None:
    with server(tiny_bundle, command=lambda port: [*command(workers), "--port", str(port)], TMPDIR=str(tmp_path)) as (client, process):
        assert client.post("/predict", json={"text": "good"}).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in TERMINATED
    assert list(tmp_path.iterdir()) == []


def test_sighup_ends_several_workers(tiny_bundle: Path, tmp_path: Path) -> None:
    with server(tiny_bundle, command=lambda port: [*command(2), "--port", str(port)], TMPDIR=str(tmp_path)) as (client, process):
        assert client.post("/predict", json={"text": "good"}).status_code == 200
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 0
    until(lambda: not [worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_long_head_gets_431_from_every_number_of_workers(tiny_bundle: Path, workers: int) -> None:
    with server(tiny_bundle, command=lambda port: [*command(workers), "--port", str(port)]) as (client, _):
        connection = connected(client)
        connection.sendall(b"GET /health HTTP/1.1\r\nX-A: " + b"a" * 70_000)
        assert statuses(read_to_end(connection))[:1] == [431]


@pytest.mark.parametrize("workers", [1, 2])
def test_port_in_use_gets_the_exit_code_of_uvicorn(tiny_bundle: Path, tmp_path: Path, workers: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        flags = ["--port", str(taken.getsockname()[1])]
        done = run_command(*command(workers), *flags, SENTIMENT_MODEL=str(tiny_bundle), TMPDIR=str(tmp_path))
    assert done.returncode == 3
    assert "address already in use" in done.stderr.lower()
    assert list(tmp_path.iterdir()) == []


def test_bad_bundle_gets_the_exit_code_of_uvicorn(tmp_path: Path) -> None:
    done = run_command(*command(1), "--port", "0", SENTIMENT_MODEL=str(tmp_path))
    assert done.returncode == 3
    assert "holds no model bundle" in done.stderr
    assert "Traceback" not in done.stderr
