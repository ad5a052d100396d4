"""The environment variables of the graph: a wrong value is an error message, an old name still counts, and nothing else reads them."""

import re
from pathlib import Path

import pytest

from stages.shared.environment import OLD_NAMES, Environment, EnvironmentInvalid, old_names_in_use, read_environment
from tests.running import ROOT

NAMES = [str(field.alias) for field in Environment.model_fields.values()]


def test_variables_that_are_not_set_or_empty_have_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")
    assert read_environment() == Environment()
    assert Environment().checkpoint_seconds == 300


def test_values_are_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SENTIMENT_REPORT": "later", "LOG_LEVEL": "debug", "SENTIMENT_PREPROCESS_MEMORY": "500MB", "SENTIMENT_LAUNCH": "torchrun",
        "SENTIMENT_CHECKPOINT_SECONDS": "0.5", "DVC_ROOT": "/main", "DVC_EXP_NAME": "mossy-hare", "MLFLOW_TRACKING_URI": "http://host",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    read = read_environment()
    assert (read.report, read.log_level, read.preprocess_memory, read.launch) == ("later", "DEBUG", "500MB", "torchrun")
    assert (read.checkpoint_seconds, read.dvc_root, read.dvc_exp_name) == (0.5, Path("/main"), "mossy-hare")
    assert read.mlflow_tracking_uri == "http://host"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SENTIMENT_REPORT", "never", "input should be 'now' or 'later'"),
        ("LOG_LEVEL", "loud", "input should be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'"),
        ("SENTIMENT_CHECKPOINT_SECONDS", "often", "input should be a valid number"),
        ("SENTIMENT_CHECKPOINT_SECONDS", "-1", "input should be greater than or equal to 0"),
    ],
)
def test_wrong_value_is_named_with_what_was_expected(monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(EnvironmentInvalid, match=f"^{name} is '{value.upper() if name == 'LOG_LEVEL' else value}': {expected}"):
        read_environment()


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTIMENT_REPORT", "never")
    monkeypatch.setenv("SENTIMENT_CHECKPOINT_SECONDS", "often")
    with pytest.raises(EnvironmentInvalid) as refused:
        read_environment()
    assert [line.split()[0] for line in str(refused.value).splitlines()] == ["SENTIMENT_REPORT", "SENTIMENT_CHECKPOINT_SECONDS"]


def test_old_name_counts_if_the_new_one_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREPROCESS_MEMORY", "2MB")
    monkeypatch.setenv("REPORT", "later")
    assert (read_environment().preprocess_memory, read_environment().report) == ("2MB", "later")
    assert old_names_in_use() == OLD_NAMES
    monkeypatch.setenv("SENTIMENT_PREPROCESS_MEMORY", "3MB")
    assert read_environment().preprocess_memory == "3MB"


def test_report_of_another_program_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPORT", "coverage.xml")
    assert read_environment().report == "now"
    assert old_names_in_use() == {}


def test_every_variable_has_a_description() -> None:
    assert all(field.description for field in Environment.model_fields.values())
    assert len(set(NAMES)) == len(NAMES)


def test_no_other_module_of_the_stages_reads_these_variables() -> None:
    reads = re.compile(rf"(environ(\.get\(|\[)|getenv\()\"({'|'.join([*NAMES, *OLD_NAMES])})\"")
    modules = [file for file in ROOT.glob("stages/**/*.py") if file.name != "environment.py"]
    assert len(modules) > 50
    assert [str(file) for file in modules if reads.search(file.read_text("utf-8"))] == []
