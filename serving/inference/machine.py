"""What the machine gives this process."""

import os


def usable_cores() -> int:
    """Return the number of cores this process may run on, which taskset and containers make fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
