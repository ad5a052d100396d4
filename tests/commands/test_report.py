"""`make report` names the metrics that moved out of their interval, and says why they may differ."""

import json
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from commands import report
from tests.running import ROOT, run_command

COMMITTED = {
    "evaluate": {
        "accuracy": 0.95,
        "baseline": {"gain": 0.02},
        "intervals": {"accuracy": [0.9, 0.98], "baseline": {"gain": [-0.03, 0.06]}},
    },
    "train": {"machine": {"cpu": "one", "precision": "bf16"}, "train_loss": 0.1},
}


def changed(**evaluate: object) -> dict:
    return {**COMMITTED, "evaluate": {**COMMITTED["evaluate"], **evaluate}}


def test_equal_metrics_are_one_line() -> None:
    assert report.against_committed(COMMITTED, COMMITTED) == ["The metrics equal the committed ones."]
    assert report.against_committed({}, COMMITTED) == []


def test_another_machine_is_named_as_the_cause() -> None:
    other = {**changed(accuracy=0.94), "train": {"machine": {"cpu": "two", "precision": "fp32"}}}
    cause, verdict = report.against_committed(COMMITTED, other)
    assert "two, fp32" in cause
    assert "one, bf16" in cause
    assert verdict.startswith("None moved out of its 95 % interval")
    assert "params, data or code" in report.against_committed(COMMITTED, changed(accuracy=0.94))[0]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"accuracy": 0.89}, "evaluate.accuracy 0.95 -> 0.89 (interval 0.9 to 0.98)"),
        ({"baseline": {"gain": 0.07}}, "evaluate.baseline.gain 0.02 -> 0.07 (interval -0.03 to 0.06)"),
    ],
    ids=["top level", "nested"],
)
def test_metrics_outside_of_their_interval_are_named(change: dict, named: str) -> None:
    assert named in report.against_committed(COMMITTED, changed(**change))[1]


def test_metric_that_is_gone_or_empty_is_not_named() -> None:
    now = changed(accuracy=None)
    del now["evaluate"]["baseline"]
    assert report.against_committed(COMMITTED, now)[1].startswith("None moved")


def test_committed_metrics_are_those_of_the_last_commit() -> None:
    names = {Path(name).stem for name in run_command("git", "ls-files", "metrics/*.json").stdout.split()}
    assert set(report.committed_metrics()) == names


def test_report_ends_with_pages_and_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="make run"):
        report.print_report(Console())
    for name, content in {
        "data/evaluation.txt": "Accuracy [bold]90 %\n",
        "data/report.html": "",
        "metrics/train.json": json.dumps({}),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, "utf-8")
    report.print_report(Console(highlight=False))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Accuracy [bold]90 %"
    assert any(line.startswith("  data/report.html") for line in lines)
    assert not any("roc.png" in line for line in lines)
    assert [line.split("  ")[1] for line in lines[-3:]] == list(report.NEXT)
    assert any("make data FILE=" in line for line in lines)


def test_next_commands_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for command in report.NEXT:
        tool, verb = command.split()[:2]
        assert verb in targets if tool == "make" else run_command(sys.executable, "-m", tool, verb, "--help").returncode == 0, command
