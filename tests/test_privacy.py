"""No process of the project connects to another machine by itself, or writes into the home folder."""

import sys
from pathlib import Path

from tests.serving.http import server, uvicorn
from tests.watching import Watch, watched


def test_graph_keeps_to_itself(reproduced_once: Path) -> None:
    watch = Watch(reproduced_once.parent / "watch")
    assert watch.connections == []
    assert watch.files == []


def test_server_keeps_to_itself(tiny_bundle: Path, tmp_path: Path) -> None:
    with watched(tmp_path) as watch:

        def command(port: int) -> list[str]:
            return ["env", *(f"--unset={name}" for name in watch.silenced), *uvicorn(port)]

        with server(tiny_bundle, command=command, **watch.environment) as (client, _):
            assert client.post("/predict", json={"text": "the film was good"}).status_code == 200
    assert watch.connections == []
    assert watch.files == []


def test_commands_keep_to_themselves(tiny_bundle: Path, reproduced_once: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.csv"
    texts.write_text("text\nthe film was good\n", "utf-8")
    with watched(tmp_path / "watch") as watch:
        for engine in ("openvino-int8", "onnxruntime-fp32"):
            answers = tmp_path / f"{engine}.csv"
            watch.run(sys.executable, "-m", "serving.score", texts, answers, "--model", tiny_bundle, "--engine", engine)
        watch.run(sys.executable, "-m", "serving.keys", "--help")
        watch.run(sys.executable, "-m", "commands.offline_plots", cwd=reproduced_once)
        watch.run(sys.executable, "-m", "commands.report", cwd=reproduced_once)
        watch.run(sys.executable, "-m", "commands.data", "data/raw/reviews.csv", cwd=reproduced_once)
    assert watch.connections == []
    assert watch.files == []


def test_watch_sees_what_libraries_do(tmp_path: Path) -> None:
    with watched(tmp_path) as watch:
        watch.run(sys.executable, "-c", "import openvino, onnxruntime, time; time.sleep(1)")
    assert watch.connections
    assert any("onnxruntime" in file for file in watch.files)
