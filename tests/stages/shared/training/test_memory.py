"""The free memory is what the machine and every cgroup still give, and an error says when it runs out."""

from pathlib import Path

import pytest
import torch

from stages.shared.training import memory
from tests.stages.training import processes

FREE = 1 << 30  # bytes of the machine


@pytest.mark.parametrize(
    ("names", "limit", "free"),
    [
        (("memory.max", "memory.current", "inactive_file"), "1000", 400),
        (("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"), "1000", 400),
        (("memory.max", "memory.current", "inactive_file"), "max", FREE),
    ],
)
def test_container_gives_the_rest_of_its_limit_and_its_file_cache(
    names: tuple[str, str, str], limit: str, free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_file, usage_file, cache_key = names
    (tmp_path / "memory").mkdir()
    (tmp_path / limit_file).write_text(f"{limit}\n", "utf-8")
    (tmp_path / usage_file).write_text("900\n", "utf-8")
    (tmp_path / limit_file).with_name("memory.stat").write_text(f"active_file 50\n{cache_key} 300\n", "utf-8")
    monkeypatch.setattr(memory, "CGROUP_ROOT", tmp_path)
    monkeypatch.setattr(memory, "_kilobytes", lambda file, name: FREE)
    assert memory.free_bytes() == free


def test_inner_cgroup_gives_no_more_than_each_outer_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for group, limit in (("", "max"), ("slurm", "2000"), ("slurm/job/step", "max"), ("slurm/job", "1500")):
        (tmp_path / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / group / "memory.max").write_text(limit, "utf-8")
        (tmp_path / group / "memory.current").write_text("900", "utf-8")
        (tmp_path / group / "memory.stat").write_text("inactive_file 0\n", "utf-8")
    own = tmp_path / "cgroup"
    own.write_text("12:cpu,cpuacct:/other\n0::/slurm/job/step\n", "utf-8")
    monkeypatch.setattr(memory, "CGROUP_ROOT", tmp_path)
    monkeypatch.setattr(memory, "OWN_CGROUPS", own)
    monkeypatch.setattr(memory, "_kilobytes", lambda file, name: FREE)
    assert memory.free_bytes() == 600
    own.write_text("0::/elsewhere\n", "utf-8")
    assert memory.free_bytes() == FREE


def _allocate_more_than_is_free() -> None:
    memory.free_bytes = lambda: 64 << 20
    with memory.limited_to_free_memory(on_cpu=True):
        torch.ones(128 << 20)


def _exit_code_of_an_allocation() -> None:
    try:
        _allocate_more_than_is_free()
    except memory.OutOfMemory:
        raise SystemExit(3) from None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the limit needs Linux")
def test_error_of_torch_beyond_the_limit_is_recognized() -> None:
    process = processes.Process(target=_exit_code_of_an_allocation)
    process.start()
    process.join(60)
    assert process.exitcode == 3


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="sizes do not match"), memory.limited_to_free_memory(on_cpu=False):
        raise RuntimeError("sizes do not match")
    assert memory.is_out_of_memory(MemoryError())
    assert memory.is_out_of_memory(RuntimeError("CUDA error: out of memory"))
