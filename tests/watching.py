"""Commands under watch: what they ask of the network, and what they write into the home folder.

Libraries report their use in Python, which the audit hook of tests/watch sees, or in C++, which takes the proxy of the environment.
"""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.running import ROOT

OWN_CACHES = ("fontconfig", "huggingface", "matplotlib", "mesa_shader_cache")  # of libraries, which anyone may remove
SILENCE = ("CI", "DO_NOT_TRACK", "ORT_DISABLE_TELEMETRY", "PYTEST_")  # beginnings of variables for which libraries keep quiet


class Watch:
    """What processes did under watch. silenced: variables that they do not get. environment: those that they get."""

    def __init__(self, folder: Path) -> None:
        self.home, self._notes = folder / "home", folder / "notes"
        self.silenced = [name for name in os.environ if name.startswith(SILENCE)]
        self.environment: dict[str, str] = {}

    def start(self, proxy: socket.socket) -> None:
        """Make an empty home folder, and note what the proxy is asked for."""
        self.home.mkdir(parents=True)
        self._notes.touch()
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        self.environment = {"HOME": str(self.home), "PYTHONPATH": str(ROOT / "tests/watch"), "WATCH_FILE": str(self._notes)}
        self.environment |= dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), address)
        self.environment |= dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")
        threading.Thread(target=self._note_requests, args=(proxy,), daemon=True).start()

    def run(self, *command: str | Path, cwd: Path = ROOT) -> str:
        """Run a command that must succeed; return what it printed."""
        words = [str(part) for part in command]
        environment = {name: value for name, value in os.environ.items() if name not in self.silenced} | self.environment
        done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def connections(self) -> list[str]:
        """The connections that left the machine, or tried to."""
        return self._notes.read_text("utf-8").splitlines()

    @property
    def files(self) -> list[str]:
        """The files in the home folder, without those of caches."""
        found = [file.relative_to(self.home) for file in self.home.rglob("*") if file.is_file()]
        return [str(file) for file in found if file.parts[0] != ".cache" or file.parts[1] not in OWN_CACHES]

    def _note_requests(self, proxy: socket.socket) -> None:
        while True:
            try:
                connection, _ = proxy.accept()
            except OSError:
                return
            with connection, self._notes.open("a", encoding="utf-8") as notes:
                connection.settimeout(5)
                request, _, _ = connection.recv(200).decode("utf-8", "replace").partition("\r")
                notes.write(f"proxy: {request}\n")


@contextmanager
def watched(folder: Path) -> Iterator[Watch]:
    """Yield a watch that keeps what it saw in the folder, where `Watch(folder)` finds it."""
    watch = Watch(folder)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        watch.start(proxy)
        yield watch
        proxy.shutdown(socket.SHUT_RDWR)  # ends the thread
