"""The memory that the system gives a training: how much is free, an error when it runs out, and blocks kept from step to step.

In: /proc, cgroups and the limits of this process. Out: bytes, and OutOfMemory.
On Linux the kernel kills a process that takes the last memory, without a message. So a training on the CPU limits itself to the memory
that is free when it begins: asking for more is then an error. A GPU raises such an error itself.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from stages.shared.errors import StageError
from stages.shared.training.launch import processes_on_this_host

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # options of mallopt in glibc's malloc.h
CGROUP_ROOT, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
OOM_MESSAGES = ("allocate memory", "out of memory", "could not create a")  # of torch, of CUDA, of oneDNN


class OutOfMemory(StageError):
    """A step takes more memory than there is."""

    def __init__(self) -> None:
        super().__init__(
            "out of memory: set train.batch_size to auto or lower it, raise train.gradient_accumulation, or lower train.max_length"
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that the memory ran out."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(message in str(error) for message in OOM_MESSAGES)
    )


def keep_freed_memory() -> None:
    """Have glibc keep the large blocks of a step for the next step. Getting them from the system again took a tenth of the time."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        for option, value in ((M_MMAP_THRESHOLD, 1 << 30), (M_TRIM_THRESHOLD, (1 << 31) - 1)):
            mallopt(option, value)


def return_freed_memory() -> None:
    """Have glibc return the free end of its heap. The next work takes free blocks before it, and `taken_bytes` does not see that."""
    if malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        malloc_trim(0)


@contextmanager
def limited_to_free_memory(*, on_cpu: bool) -> Iterator[None]:
    """Limit this process to the memory that is free now, and raise OutOfMemory where the block asks for more.

    Processes of one training on one host get equal shares. Without effect on a GPU, and on systems other than Linux.
    """
    has_limit = on_cpu and sys.platform == "linux"
    if has_limit:
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = taken_bytes() + free_share_bytes()
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory from error
    finally:
        if has_limit:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def taken_bytes() -> int:
    """Return the memory that this process has taken. It falls by return_freed_memory only, because glibc keeps freed blocks."""
    return _kilobytes(Path("/proc/self/status"), "VmData")


def free_share_bytes() -> int:
    """Return the free memory of one process of the training."""
    return free_bytes() // processes_on_this_host()


def free_bytes() -> int:
    """Return the memory that Linux can still give this process: the free memory of the machine, or less if a cgroup has less.

    Containers, systemd and SLURM set such limits, on the cgroup of this process or on one above it.
    """
    free = _kilobytes(Path("/proc/meminfo"), "MemAvailable")
    for folder, limit_file, usage_file, cache_key in _cgroups():
        with suppress(OSError, ValueError, StopIteration):  # there is no such cgroup, or its limit is the word "max"
            limit, usage = (int((folder / name).read_text("utf-8")) for name in (limit_file, usage_file))
            lines = (folder / "memory.stat").read_text("utf-8").splitlines()
            file_cache = next(int(line.split()[1]) for line in lines if line.startswith(f"{cache_key} "))  # the kernel frees it on demand
            free = min(free, limit - usage + file_cache)
    return free


def _cgroups() -> Iterator[tuple[Path, str, str, str]]:
    """Yield the folder of each cgroup of this process, the inner ones first, and the names in it of limit, usage and file cache.

    The roots come last, because a container may see its own cgroup as the root.
    """
    version_1 = (CGROUP_ROOT / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    version_2 = (CGROUP_ROOT, "memory.max", "memory.current", "inactive_file")
    lines = OWN_CGROUPS.read_text("utf-8").splitlines() if OWN_CGROUPS.exists() else []
    for line in [*lines, "0::/", "0:memory:/"]:
        _, controllers, path = line.split(":", 2)
        if not controllers or "memory" in controllers.split(","):
            root, limit_file, usage_file, cache_key = version_1 if controllers else version_2
            inner = root / path.strip("/")
            for folder in (inner, *inner.parents):
                if folder.is_relative_to(root):
                    yield folder, limit_file, usage_file, cache_key


def _kilobytes(file: Path, name: str) -> int:
    """Return a value that a file of /proc states in kilobytes, in bytes."""
    return next(int(line.split()[1]) for line in file.read_text("utf-8").splitlines() if line.startswith(f"{name}:")) * 1024
