"""The machine is what the params ask for and the hardware has, and nothing else."""

import os
from dataclasses import asdict

import pytest
import torch

from stages.shared.training import machine as module
from stages.shared.training.machine import PrecisionUnavailable, resolve_machine


@pytest.fixture(autouse=True)
def _cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide accelerators, and leave torch and accelerate as they are."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    monkeypatch.setattr(module, "PartialState", lambda **options: None)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")


@pytest.mark.parametrize(("capabilities", "precision"), [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({}, "fp32")])
def test_auto_takes_bf16_if_the_cpu_has_it(capabilities: dict[str, bool], precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve_machine("auto", 3).precision == precision


def test_processes_of_a_host_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(module, "usable_cores", lambda: 8)
    assert asdict(resolve_machine("fp32", "auto")) == {"device": "cpu", "precision": "fp32", "threads": 4, "processes": 4}
    assert os.environ["ACCELERATE_MIXED_PRECISION"] == "no"  # the launcher's value does not count


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_precision_that_the_device_does_not_have_is_refused(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    with pytest.raises(PrecisionUnavailable, match=rf"train.precision is '{precision}', but the device cpu cannot .*: set it to auto"):
        resolve_machine(precision, 1)
