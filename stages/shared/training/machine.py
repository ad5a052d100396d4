"""The machine that a training runs on: device, precision, threads and processes, found once.

In: train.precision, train.threads and the variables of a launcher. Out: a Machine.
Its values go into the hash of the params and into metrics/train.json.
"""

import os
from dataclasses import dataclass
from typing import Literal

import torch
from accelerate import PartialState

from serving.inference.cpu import usable_cores
from stages.shared.errors import StageError
from stages.shared.training.launch import process_count, processes_on_this_host


@dataclass(frozen=True)
class Machine:
    """What a training computes with. The field names are keys of metrics/train.json.

    threads: of one process. processes: of the training, on all hosts.
    """

    device: Literal["cpu", "cuda", "mps"]
    precision: Literal["fp32", "bf16", "fp16"]
    threads: int
    processes: int


class PrecisionUnavailable(StageError):
    """The device cannot train in the precision of the params."""

    def __init__(self, precision: str, device: str) -> None:
        super().__init__(f"train.precision is '{precision}', but the device {device} cannot train in it: set it to auto or fp32")


def resolve_machine(precision: Literal["auto", "fp32", "bf16", "fp16"], threads: int | Literal["auto"]) -> Machine:
    """Find the machine, and set up torch and accelerate for it; raise PrecisionUnavailable."""
    processes = process_count()
    device = _device(processes)
    all_threads = max(1, usable_cores() // processes_on_this_host())
    machine = Machine(device, _precision(precision, device), all_threads if threads == "auto" else threads, processes)
    PartialState(cpu=device == "cpu", **({"backend": "gloo"} if device == "cpu" and processes > 1 else {}))
    torch.set_num_threads(machine.threads)
    # `accelerate launch` sets it too, but the params count
    os.environ["ACCELERATE_MIXED_PRECISION"] = "no" if machine.precision == "fp32" else machine.precision
    return machine


def _device(processes: int) -> Literal["cpu", "cuda", "mps"]:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() and processes == 1 else "cpu"


def _precision(wanted: Literal["auto", "fp32", "bf16", "fp16"], device: str) -> Literal["fp32", "bf16", "fp16"]:
    has_bf16 = _has_bf16(device)
    if wanted == "auto":
        return "bf16" if has_bf16 else "fp32"
    if (wanted == "fp16" and device != "cuda") or (wanted == "bf16" and not has_bf16):
        raise PrecisionUnavailable(wanted, device)
    return wanted


def _has_bf16(device: str) -> bool:
    """Tell whether the device computes in bf16 itself, not by emulation."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if device == "cpu" else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
