"""A small Hub on loopback with one data set; it answers only what `datasets` and `huggingface_hub` request."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serve the files of `folder` as the data set someone/reviews; its branch is `main`."""

    folder: Path

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = urlsplit(self.path).path
        if path in (f"/api/datasets/someone/reviews/revision/{name}" for name in ("main", COMMIT)):
            files = [{"rfilename": name} for name in self.names()]
            self.send(json.dumps({"id": "someone/reviews", "sha": COMMIT, "siblings": files, "cardData": {"license": "cc-by-4.0"}}))
        elif path.startswith("/api/datasets/someone/reviews/revision/"):
            self.refuse("RevisionNotFound")
        elif path == "/api/datasets/someone/gated/revision/main":
            self.refuse("GatedRepo", 403)
        elif path.startswith(f"/api/datasets/someone/reviews/tree/{COMMIT}"):
            within = path.removeprefix(f"/api/datasets/someone/reviews/tree/{COMMIT}").strip("/")
            self.send(json.dumps([self.entry(name) for name in self.names() if name.startswith(within)]))
        elif path == f"/api/datasets/someone/reviews/paths-info/{COMMIT}":
            wanted = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).get("paths", [])
            self.send(json.dumps([self.entry(name) for name in wanted if name in self.names()]))
        elif path.startswith(f"/datasets/someone/reviews/resolve/{COMMIT}/"):
            name = path.removeprefix(f"/datasets/someone/reviews/resolve/{COMMIT}/")
            self.send((self.folder / name).read_bytes()) if name in self.names() else self.refuse("EntryNotFound")
        else:
            self.refuse("RepoNotFound" if "someone/reviews" not in path else "EntryNotFound")

    def names(self) -> list[str]:
        return sorted(str(file.relative_to(self.folder)) for file in self.folder.rglob("*") if file.is_file())

    def entry(self, name: str) -> dict[str, object]:
        data = (self.folder / name).read_bytes()
        return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def send(self, body: str | bytes) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Type", "application/json" if isinstance(body, str) else "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, code: str, status: int = 404) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hub_of(folder: Path) -> Iterator[str]:
    """Serve a folder, and yield the address."""
    handler = type("OneDataSet", (Handler,), {"folder": folder})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
