"""What the machine gives this process."""

import os
from pathlib import Path


def usable_cores() -> int:
    """Return the number of cores this process may run on, which taskset and containers make fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def multiplies_int8() -> bool:
    """Tell whether the CPU has instructions for INT8 products (VNNI, AMX); where it does not say, that it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return True
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), None)
    return flags is None or not flags.isdisjoint(("avx512_vnni", "avx_vnni", "amx_int8"))
