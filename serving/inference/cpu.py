"""What the machine gives this process."""

import os
import platform
from pathlib import Path


def usable_cores() -> int:
    """Return the number of cores this process may run on, which taskset and containers make fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def multiplies_int8() -> bool:
    """Tell whether the CPU has instructions for INT8 products (VNNI, AMX); where it does not say, that it has."""
    flags = _cpu_facts().get("flags")
    return flags is None or not set(flags.split()).isdisjoint(("avx512_vnni", "avx_vnni", "amx_int8"))


def cpu_name() -> str:
    """Return the make of the CPU, e.g. "AMD EPYC 9B14, 25, 17, 1": other ones may compute other bytes."""
    facts = _cpu_facts()
    named = [facts[name] for name in ("model name", "cpu family", "model", "stepping") if name in facts]
    return ", ".join(named) or platform.processor() or platform.machine()


def _cpu_facts() -> dict[str, str]:
    """Return what Linux says of the first core; nothing on other systems."""
    try:
        first = Path("/proc/cpuinfo").read_text("utf-8").partition("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
