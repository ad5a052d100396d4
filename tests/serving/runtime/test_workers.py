"""Several workers as `make serve WORKERS=2` starts them: one sum of counts, one bundle, whatever becomes of a worker."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest

from serving.inference.bundle import read_bundle
from serving.keys import digest
from tests.conftest import ROOT
from tests.serving.test_app import assert_refused, series, server

KEY = "the key of an admin"
WITH_KEY = {"authorization": f"Bearer {KEY}"}


def make_serve(port: int) -> list[str]:
    return ["make", "--silent", "--old-file=install", "serve", "WORKERS=2", f"PORT={port}"]


@dataclass
class Running:
    """A server of two workers. temporary: the folder that holds its own one. bundle: that it started with, for a test to change."""

    address: httpx.URL
    process: subprocess.Popen[bytes]
    temporary: Path
    bundle: Path

    def ask(self, method: str, path: str, **content: object) -> httpx.Response:
        """Ask over a connection of its own, so that any worker may answer."""
        with httpx.Client(base_url=self.address, headers=WITH_KEY, timeout=90, trust_env=False) as client:
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
        """Return how many workers answer with which bundle, where there are any."""
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
        for _ in range(600):
            if condition():
                return
            assert self.process.poll() is None, "the server has ended"
            time.sleep(0.1)
        raise AssertionError("it did not come about in a minute")


@pytest.fixture
def running(copied_bundle: Path, tmp_path: Path) -> Iterator[Running]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    keys = json.dumps({digest(KEY): "admin"})
    with server(copied_bundle, command=make_serve, TMPDIR=str(temporary), SENTIMENT_API_KEYS=keys) as (client, process):
        running = Running(client.base_url, process, temporary, copied_bundle)
        running.wait_for(lambda: list(running.shown().values()) == [2])
        yield running
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, 143, -signal.SIGTERM)
    assert list(temporary.iterdir()) == []


def test_counts_of_all_workers_are_summed_whichever_shows_them(running: Running) -> None:
    running.named()
    for _ in range(10):
        with httpx.Client(base_url=running.address, timeout=60, trust_env=False) as client:
            counted = series(client)
        assert counted['sentiment_requests_total{route="/predict",status="200"}'] == 40
        assert counted["sentiment_batch_texts_sum"] == 40
        assert counted["sentiment_queue_texts"] == 0


def test_change_is_answered_when_all_workers_follow_whatever_comes_into_the_folder(running: Running, other_bundle: Path) -> None:
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


def test_killed_worker_comes_back_with_the_bundle_in_use_and_the_one_before(running: Running, other_bundle: Path) -> None:
    first, second = read_bundle(running.bundle).sha256, read_bundle(other_bundle).sha256
    for before, now, way in ((first, second, "reload"), (second, first, "rollback")):
        running.change(way, other_bundle if way == "reload" else None)
        shutil.rmtree(running.bundle, ignore_errors=True)  # as `dvc repro` does
        killed = min(running.pids())
        os.kill(killed, signal.SIGKILL)
        running.wait_for(lambda killed=killed: len(running.pids() - {killed}) == 2)
        running.wait_for(lambda now=now: running.shown() == {now: 2})
        assert running.named() == {now}
        assert killed not in {int(file.stem.rpartition("_")[2]) for file in running.temporary.glob("*/metrics/gauge_live*")}
        for sha256 in (before, now):
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


def test_damaged_state_stops_nobody_and_the_next_change_mends_it(running: Running, other_bundle: Path) -> None:
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


def test_refused_bundle_changes_no_worker_and_two_changes_at_once_are_refused(running: Running, other_bundle: Path) -> None:
    first = read_bundle(running.bundle).sha256
    broken = Path(shutil.copytree(other_bundle, running.bundle.parent / "broken"))
    (broken / "tokenizer.json").write_bytes(b"{}")
    assert_refused(running.ask("POST", "/admin/reload", json={"folder": str(broken)}), 409, "the bundle in use stays")
    assert_refused(running.ask("POST", "/admin/rollback"), 409, "no bundle before")
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
