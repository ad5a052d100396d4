"""`python -m serving.keys`: makes a key, and the setting that knows only its digest."""

import hashlib
import json
import re
import shlex
import sys

import pytest

from tests.running import run_command


@pytest.mark.parametrize("role", ["predict", "admin"])
def test_command_makes_a_key_and_the_setting_that_knows_only_its_digest(role: str) -> None:
    printed = [run_command(sys.executable, "-m", "serving.keys", role).stdout for _ in range(2)]
    keys = [re.findall(r"^key .*: (\S+)$", text, re.MULTILINE)[0] for text in printed]
    assert keys[0] != keys[1]
    (setting,) = re.findall(r"SENTIMENT_API_KEYS='.*?'", printed[0])
    name, _, value = shlex.split(setting)[0].partition("=")
    assert json.loads(value) == {hashlib.sha256(keys[0].encode()).hexdigest(): role}
    done = run_command(sys.executable, "-c", "from serving.app import app; print(app.state.server.settings.api_keys)", **{name: value})
    assert done.stdout.strip() == repr(json.loads(value))


def test_command_refuses_another_role() -> None:
    done = run_command(sys.executable, "-m", "serving.keys", "root")
    assert (done.returncode, done.stdout) == (2, "")
