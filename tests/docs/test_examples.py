"""The examples of docs/examples run as they stand, against a real server: curl, Python, JavaScript in a browser."""

import contextlib
import functools
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.pictures import browser as chromium
from tests.running import ROOT, run_command

EXAMPLES = ROOT / "docs/examples"
ADDRESS = "http://127.0.0.1:8000"  # of the server in every example


def example(name: str) -> str:
    """Return the code of an example."""
    code = (EXAMPLES / name).read_text("utf-8")
    assert ADDRESS in code
    return code


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def page_server(folder: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextlib.contextmanager
def sentiment_server(bundle: Path, origin: str) -> Iterator[str]:
    """Start the server on a bundle, for pages of one origin."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    environment = {**os.environ, "SENTIMENT_MODEL": str(bundle), "SENTIMENT_CORS_ORIGINS": json.dumps([origin])}
    process = subprocess.Popen([sys.executable, "-m", "uvicorn", "serving.app:app", "--port", str(port)], cwd=ROOT, env=environment)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/health").close()
                break
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def addresses(real_bundle: Path, page_folder: Path) -> Iterator[tuple[str, str]]:
    with page_server(page_folder) as page, sentiment_server(real_bundle, page) as server:
        yield page, server


def assert_answer(text: str, label: str) -> None:
    answer = json.loads(text)
    assert answer.keys() == {"label", "score"}
    assert answer["label"] == label
    assert 0.5 <= answer["score"] <= 1


def test_curl_client(addresses: tuple[str, str]) -> None:
    command = example("curl.sh").replace(ADDRESS, addresses[1])
    assert_answer(run_command("bash", "-c", command).stdout, "LABEL_1")


def test_python_client(addresses: tuple[str, str]) -> None:
    code = example("client.py").replace(ADDRESS, addresses[1])
    assert_answer(run_command(sys.executable, "-c", code).stdout.replace("'", '"'), "LABEL_0")


def test_documents_quote_the_examples_as_they_are() -> None:
    quoted = {
        "curl.sh": ("README.md", "README.ko.md", "docs/tutorials/first-model.md"),
        "client.py": ("docs/how-to/serve.md",),
        "client.mjs": ("docs/how-to/serve.md",),
        "upload.sh": ("docs/how-to/serve.md",),
    }
    assert quoted.keys() == {file.name for file in EXAMPLES.iterdir()}
    for name, documents in quoted.items():
        lines = [line for line in example(name).splitlines() if ADDRESS in line]
        for document in documents:
            text = (ROOT / document).read_text("utf-8")
            assert [line for line in lines if line not in text] == [], (name, document)


def test_docs_are_drawn_without_another_server(addresses: tuple[str, str]) -> None:
    from playwright.sync_api import sync_playwright

    requested = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: requested.append(request.url))
        page.goto(f"{addresses[1]}/docs")
        page.get_by_text("Classify one text").wait_for(timeout=30_000)
        browser.close()
    assert {url.partition("://")[2].partition("/")[0] for url in requested if not url.startswith("data:")} == {
        addresses[1].partition("://")[2]
    }


def test_javascript_client_in_a_browser_on_another_origin(addresses: tuple[str, str], page_folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    page_address, server = addresses
    code = example("client.mjs").replace(ADDRESS, server).replace("console.log(", "document.title = JSON.stringify(")
    (page_folder / "index.html").write_text(f"<!doctype html><title></title><script type=module>{code}</script>", "utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(page_address)
        page.wait_for_function("document.title !== ''", timeout=30_000)
        assert_answer(page.title(), "LABEL_1")
        browser.close()
