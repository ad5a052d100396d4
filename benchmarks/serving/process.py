"""A server as a separate process on one core, and wrk as its client on another core."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

from benchmarks.serving.servers import Server

PEERS = Path(".venv-peers")
SCRIPT = Path(__file__).with_name("post.lua")
START_SECONDS, STOP_SECONDS, POLL_SECONDS = 120, 15, 0.005


class Load(NamedTuple):
    """The figures of one load. answers: with status 200. errors: other answers, and connections that were lost or timed out."""

    answers: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int

    @property
    def rate(self) -> float:
        return self.answers / self.seconds


def environment(engine: str, scratch: Path) -> dict[str, str]:
    """Return the environment variables of a server: programs of the peers first, one thread, all state in the scratch folder."""
    return os.environ | {
        "PATH": f"{PEERS.resolve() / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(Path.cwd()), "ENGINE": engine,
        "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "true", "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(scratch / "bentoml"), "MLFLOW_TRACKING_URI": f"sqlite:///{scratch / 'mlflow.db'}",
    }  # fmt: skip


class Running:
    """A started server. start_seconds: from exec to its first answer to a text."""

    def __init__(self, server: Server, core: int, scratch: Path, text: str) -> None:
        self.server, self._log = server, scratch / "server.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        command = [part.format(port=self.port, model=model_folder(server, scratch)) for part in server.command]
        start = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}), env=environment(server.engine, scratch),
            )  # fmt: skip
        try:
            self._wait(text, start + START_SECONDS)
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.perf_counter() - start

    def _wait(self, text: str, deadline: float) -> None:
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.post(text)
                return
            if self._process.poll() is not None or time.perf_counter() > deadline:
                log = self._log.read_text("utf-8")[-2000:]
                raise SystemExit(f"ERROR: {self.server.name} ({self.server.engine}) does not start. The end of its log:\n{log}")
            time.sleep(POLL_SECONDS)

    def post(self, text: str) -> dict[str, Any]:
        """Return its answer to a text. Raise HTTPException for a status other than 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        with contextlib.closing(connection):
            connection.request("POST", self.server.path, self.server.body(text).encode(), {"Content-Type": self.server.content_type})
            response = connection.getresponse()
            body = response.read()
        if response.status != 200:
            raise http.client.HTTPException(f"{response.status}: {body!r}")
        answer: dict[str, Any] = self.server.read(json.loads(body))
        return answer

    def load(self, core: int, bodies: Path, connections: int, seconds: int) -> Load:
        """Run wrk against it on a core. bodies: file with one body per line."""
        done = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-H", f"Content-Type: {self.server.content_type}",
             "-s", SCRIPT, f"http://127.0.0.1:{self.port}{self.server.path}", "--", bodies],
            preexec_fn=lambda: os.sched_setaffinity(0, {core}), stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        return Load(**json.loads(done.stdout.splitlines()[-1]))

    def memory_mb(self) -> float:
        """Return the memory of all its processes (PSS): a page that several processes share counts once."""
        return sum(proportional_kib(pid) for pid in self._processes()) * 1024 / 1e6

    def _processes(self) -> set[int]:
        parents = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # the process ended meanwhile
                parents[int(folder.name)] = int((folder / "stat").read_text("utf-8").rpartition(")")[2].split()[1])
        found, children = set(), {self._process.pid}
        while children:
            found |= children
            children = {pid for pid, parent in parents.items() if parent in found} - found
        return found

    def stop(self) -> None:
        """End all its processes."""
        processes = self._processes()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def model_folder(server: Server, scratch: Path) -> Path:
    """Return the folder where the framework of a server saves the model in its own form."""
    return scratch / f"model-{server.engine}"


def prepare(server: Server, scratch: Path) -> None:
    """Let a framework save the model in its own form, if it needs that."""
    command = [part.format(model=model_folder(server, scratch)) for part in server.prepare]
    if command:
        subprocess.run(command, check=True, capture_output=True, env=environment(server.engine, scratch))


def proportional_kib(pid: int) -> int:
    """Return the proportional set size of a process in KiB, 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
