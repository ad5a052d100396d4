"""That a setting without a usable value ends the start with an error message, and that no message shows a key."""

import json
import sys

import pytest

from serving.keys import digest
from serving.settings import Settings, read_settings
from tests.running import run_command
from tests.serving.http import SECRET


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SENTIMENT_THREADS", "abc"),
        ("SENTIMENT_THREADS", "-1"),
        ("SENTIMENT_THREADS", "99999999999"),
        ("SENTIMENT_CORS_ORIGINS", "http://x"),
        ("SENTIMENT_CORS_ORIGINS", '["http://x/"]'),
        ("PROMETHEUS_MULTIPROC_DIR", "/dev/null"),
    ],
)
def test_setting_without_a_usable_value_ends_the_start_with_an_error_message(name: str, value: str) -> None:
    done = run_command(sys.executable, "-m", "uvicorn", "serving.app:app", "--port", "0", **{name: value})
    assert done.returncode == 1
    assert done.stderr.startswith(f"ERROR: {name} is ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("value", [SECRET, f'{{"{SECRET}": "admin"}}', f'["{SECRET}"]', json.dumps({digest(SECRET): "root"})])
def test_keys_in_another_form_end_the_start_with_an_error_message_that_shows_none(value: str) -> None:
    done = run_command(sys.executable, "-m", "uvicorn", "serving.app:app", "--port", "0", SENTIMENT_API_KEYS=value)
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: SENTIMENT_API_KEYS ")
    assert "python -m serving.keys" in done.stderr
    assert SECRET not in done.stderr
    assert digest(SECRET) not in done.stderr


def test_empty_variable_equals_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTIMENT_STATE", "")
    monkeypatch.setenv("SENTIMENT_THREADS", "")
    assert (read_settings().state, read_settings().threads) == (None, None)


def test_every_setting_has_a_description_in_one_sentence() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        assert ". " not in field.description, name
