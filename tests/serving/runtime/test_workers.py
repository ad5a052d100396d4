"""Two workers as `make serve WORKERS=2` starts them: summed metrics, one bundle, also after a worker is killed."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest

from serving.inference.bundle import read_bundle
from tests.running import ROOT, run_command
from tests.serving.http import ADMIN_KEYS, AS_ADMIN, TERMINATED, assert_refused, series, server, until


def make_serve(port: int) -> list[str]:
    return ["make", "--silent", "--old-file=install", "serve", "WORKERS=2", f"PORT={port}"]


@dataclass
class Running:
    """A server of two workers. temporary: the folder for its temporary folder. bundle: its first bundle, which a test may change."""

    address: httpx.URL
    process: subprocess.Popen[bytes]
    temporary: Path
    bundle: Path

    def ask(self, method: str, path: str, **content: object) -> httpx.Response:
        """Send a request over a new connection, so that any worker may answer."""
        with httpx.Client(base_url=self.address, headers=AS_ADMIN, timeout=90, trust_env=False) as client:
            return client.request(method, path, **content)  # type: ignore[arg-type]

    def change(self, way: str, folder: Path | None = None) -> dict:
        answer = self.ask("POST", f"/admin/{way}", **({"json": {"folder": str(folder)}} if folder else {}))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def named(self) -> set[str]:
        """Return the bundles that 40 answers name."""
        answers = [self.ask("POST", "/predict?detail=true", json={"text": "the film was very good"}) for _ in range(40)]
        assert {answer.status_code for answer in answers} == {200}
        return {answer.json()["model"] for answer in answers}

    def shown(self) -> dict[str, float]:
        """Return the number of workers for each bundle in use."""
        with httpx.Client(base_url=self.address, timeout=90, trust_env=False) as client:
            counted = series(client)
        return {name.partition('bundle="')[2][:64]: value for name, value in counted.items() if "model_info" in name and value}

    @property
    def state(self) -> Path:
        (folder,) = self.temporary.glob("*/state")
        return folder

    def pids(self) -> set[int]:
        return {int(file.stem) for file in self.state.glob("*.reached")}

    def wait_for(self, condition: Callable[[], bool]) -> None:
        def holds() -> bool:
            assert self.process.poll() is None, "the server has ended"
            return condition()

        until(holds)


@pytest.fixture
def running(copied_bundle: Path, tmp_path: Path) -> Iterator[Running]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with server(copied_bundle, command=make_serve, TMPDIR=str(temporary), SENTIMENT_API_KEYS=ADMIN_KEYS) as (client, process):
        running = Running(client.base_url, process, temporary, copied_bundle)
        running.wait_for(lambda: list(running.shown().values()) == [2])
        yield running
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in TERMINATED
    assert list(temporary.iterdir()) == []


def test_every_worker_shows_the_summed_metrics_of_all(running: Running) -> None:
    running.named()
    for _ in range(10):
        with httpx.Client(base_url=running.address, timeout=60, trust_env=False) as client:
            counted = series(client)
        assert counted['sentiment_requests_total{route="/predict",status="200"}'] == 40
        assert counted["sentiment_batch_texts_sum"] == 40
        assert counted["sentiment_queue_texts"] == 0


def test_change_is_answered_when_all_workers_follow_even_if_the_folder_changes_later(running: Running, other_bundle: Path) -> None:
    first, second = read_bundle(running.bundle).sha256, read_bundle(other_bundle).sha256
    assert running.named() == {first}
    shutil.rmtree(running.bundle)
    shutil.copytree(other_bundle, running.bundle)
    assert running.change("reload")["sha256"] == second
    assert running.named() == {second}
    assert running.shown() == {second: 2}
    for sha256 in (first, second, first):
        assert running.change("rollback")["sha256"] == sha256
        assert running.named() == {sha256}
    assert running.shown() == {first: 2}


def test_killed_worker_comes_back_with_the_bundle_in_use_and_the_previous_one(running: Running, other_bundle: Path) -> None:
    first, second = read_bundle(running.bundle).sha256, read_bundle(other_bundle).sha256
    for previous, now, way in ((first, second, "reload"), (second, first, "rollback")):
        running.change(way, other_bundle if way == "reload" else None)
        shutil.rmtree(running.bundle, ignore_errors=True)  # as `dvc repro` does
        killed = min(running.pids())
        os.kill(killed, signal.SIGKILL)
        running.wait_for(lambda killed=killed: len(running.pids() - {killed}) == 2)
        running.wait_for(lambda now=now: running.shown() == {now: 2})
        assert running.named() == {now}
        assert killed not in {int(file.stem.rpartition("_")[2]) for file in running.temporary.glob("*/metrics/gauge_live*")}
        for sha256 in (previous, now):
            assert running.change("rollback")["sha256"] == sha256
            assert running.named() == {sha256}
        assert killed not in running.pids()


def test_worker_killed_before_any_change_comes_back_with_the_bundle_of_the_others(running: Running, other_bundle: Path) -> None:
    first = read_bundle(running.bundle).sha256
    shutil.rmtree(running.bundle)
    shutil.copytree(other_bundle, running.bundle)
    killed = min(running.pids())
    os.kill(killed, signal.SIGKILL)
    running.wait_for(lambda: len(running.pids() - {killed}) == 2 and running.shown() == {first: 2})
    assert running.named() == {first}


def test_damaged_state_stops_no_worker_and_the_next_change_repairs_it(running: Running, other_bundle: Path) -> None:
    now, other = read_bundle(running.bundle).sha256, read_bundle(other_bundle).sha256
    for damage, folder in (
        (b"", other_bundle),
        (b'{"change": "x", "bundles": []}', running.bundle),
        (b'{"change": "x", "bundles": [1]}', other_bundle),
        (b"\xff", running.bundle),
    ):
        for file in (running.state / "wanted.json", *running.state.glob("*.reached")):
            file.write_bytes(damage)
        assert running.named() == {now}
        now, other = other, now
        assert running.change("reload", folder)["sha256"] == now
        assert running.named() == {now}


def test_refused_bundle_changes_no_worker_and_a_second_change_at_the_same_time_is_refused(running: Running, other_bundle: Path) -> None:
    first = read_bundle(running.bundle).sha256
    broken = Path(shutil.copytree(other_bundle, running.bundle.parent / "broken"))
    (broken / "tokenizer.json").write_bytes(b"{}")
    assert_refused(running.ask("POST", "/admin/reload", json={"folder": str(broken)}), 409, "keeps the bundle in use")
    assert_refused(running.ask("POST", "/admin/rollback"), 409, "no previous bundle")
    with (running.state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert_refused(running.ask("POST", "/admin/reload"), 409, "another change")
    assert running.named() == {first}
    assert running.change("reload")["sha256"] == first


@pytest.mark.parametrize(
    ("model", "code", "sentence"), [("nowhere", 0, "holds no model bundle"), (".", 2, "Error 3")], ids=["no bundle", "port in use"]
)
def test_failed_start_leaves_no_folder_and_keeps_uvicorns_exit_code(tmp_path: Path, model: str, code: int, sentence: str) -> None:
    environment = {**os.environ, "SENTIMENT_MODEL": str(tmp_path / model), "TMPDIR": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1] if code else 0
        done = subprocess.run(make_serve(port), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_state_that_cannot_be_a_folder_ends_the_start_with_an_error_message(tiny_bundle: Path) -> None:
    settings = {"SENTIMENT_MODEL": str(tiny_bundle), "SENTIMENT_STATE": "/dev/null/state"}
    done = run_command(sys.executable, "-m", "uvicorn", "serving.app:app", "--port", "0", **settings)
    assert done.returncode not in (0, None)
    assert "SENTIMENT_STATE is /dev/null/state, which cannot be a folder here" in done.stderr
    assert "Traceback" not in done.stderr
