"""Tests that the facts about the CPU come from /proc/cpuinfo, and that other systems work without it."""

import os
from pathlib import Path

import pytest

from serving.inference import cpu

CPUINFO = """processor\t: 0
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC 9B14
stepping\t: 1
flags\t\t: fpu sse2 {flag}

processor\t: 1
model name\t: another
"""


def pretend(monkeypatch: pytest.MonkeyPatch, cpuinfo: str | None) -> None:
    """Let every file read as this text, or as missing."""

    def read_text(file: Path, encoding: str) -> str:
        if cpuinfo is None:
            raise FileNotFoundError(file)
        return cpuinfo

    monkeypatch.setattr(cpu.Path, "read_text", read_text)


@pytest.mark.parametrize(("flag", "expected"), [("avx512_vnni", True), ("avx_vnni", True), ("amx_int8", True), ("avx2", False)])
def test_int8_instructions_are_those_of_the_first_core(monkeypatch: pytest.MonkeyPatch, flag: str, expected: bool) -> None:
    pretend(monkeypatch, CPUINFO.format(flag=flag))
    assert cpu.multiplies_int8() is expected
    assert cpu.cpu_name() == "AMD EPYC 9B14, 25, 17, 1"


def test_system_that_lists_no_facts_is_taken_to_have_int8_instructions_and_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, None)
    assert cpu.multiplies_int8()
    assert cpu.cpu_name()


def test_usable_cores_are_those_of_the_process() -> None:
    assert 1 <= cpu.usable_cores() <= (os.cpu_count() or 1)
