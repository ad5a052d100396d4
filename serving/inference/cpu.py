"""The CPU of this machine: its usable cores, its instructions and its name."""

import os
import platform
from pathlib import Path


def usable_cores() -> int:
    """Return the number of cores that this process may use. With taskset or in a container it has fewer than the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def multiplies_int8() -> bool:
    """Return whether the CPU has instructions for INT8 products (VNNI, AMX). If the system lists no instructions, assume that it has."""
    flags = _cpu_facts().get("flags")
    return flags is None or not set(flags.split()).isdisjoint(("avx512_vnni", "avx_vnni", "amx_int8"))


def cpu_name() -> str:
    """Return the name of the CPU, e.g. "AMD EPYC 9B14, 25, 17, 1". Another CPU may compute other bytes."""
    facts = _cpu_facts()
    parts = [facts[name] for name in ("model name", "cpu family", "model", "stepping") if name in facts]
    return ", ".join(parts) or platform.processor() or platform.machine()


def _cpu_facts() -> dict[str, str]:
    """Return the facts that Linux lists about the first core. Other systems give an empty dict."""
    try:
        first = Path("/proc/cpuinfo").read_text("utf-8").partition("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
