"""Outputs: they are complete or absent, and a metrics file suits `git diff`."""

import json
import math
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from stages.shared.outputs import all_or_none, atomic_files, atomic_folder, write_json, write_metrics, write_text


class Interrupted(Exception):
    """A stage stops in the middle of an output."""


def stop_half_way(output: AbstractContextManager[list[Path] | Path]) -> None:
    """Begin an output, and fail."""
    with output as draft:
        (draft[0] if isinstance(draft, list) else draft / "new.bin").write_text("new", "utf-8")
        raise Interrupted


def names(folder: Path) -> list[str]:
    """Return the names in a folder, sorted."""
    return sorted(file.name for file in folder.iterdir())


def test_all_files_appear_after_the_block(tmp_path: Path) -> None:
    files = [tmp_path / "deep" / "er" / "a.csv", tmp_path / "b.csv"]
    with atomic_files(*files) as drafts:
        for draft in drafts:
            draft.write_text(draft.name, "utf-8")
            assert not any(file.exists() for file in files)
    assert all(file.is_file() for file in files)
    assert names(tmp_path) == ["b.csv", "deep"]
    assert names(tmp_path / "deep" / "er") == ["a.csv"]


@pytest.mark.parametrize("old", [None, "old"])
def test_no_file_changes_if_the_block_fails(tmp_path: Path, old: str | None) -> None:
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for file in files if old else []:
        file.write_text("old", "utf-8")
    with pytest.raises(Interrupted):
        stop_half_way(atomic_files(*files))
    assert names(tmp_path) == (["a.csv", "b.csv"] if old else [])
    assert [file.read_text("utf-8") for file in files if old] == (["old", "old"] if old else [])


def test_no_file_changes_if_one_draft_is_missing(tmp_path: Path) -> None:
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    files[0].write_text("old", "utf-8")
    with pytest.raises(FileNotFoundError), atomic_files(*files) as drafts:
        drafts[0].write_text("new", "utf-8")
    assert names(tmp_path) == ["a.csv"]
    assert files[0].read_text("utf-8") == "old"


def test_new_folder_replaces_the_old_one_completely(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "final"
    for content in ("old", "new"):
        with atomic_folder(folder) as draft:
            assert names(draft) == []
            (draft / f"{content}.bin").write_text(content, "utf-8")
    assert names(folder) == ["new.bin"]
    assert names(folder.parent) == ["final"]


def test_folder_stays_as_it_was_if_the_block_fails(tmp_path: Path) -> None:
    folder = tmp_path / "final"
    folder.mkdir()
    (folder / "old.bin").write_text("old", "utf-8")
    with pytest.raises(Interrupted):
        stop_half_way(atomic_folder(folder))
    assert names(folder) == ["old.bin"]
    assert names(tmp_path) == ["final"]


def test_draft_of_a_killed_run_does_not_enter_the_next_output(tmp_path: Path) -> None:
    (tmp_path / ".final.partial").mkdir()
    (tmp_path / ".final.partial" / "rest.bin").write_text("x", "utf-8")
    with atomic_folder(tmp_path / "final") as draft:
        (draft / "new.bin").write_text("new", "utf-8")
    assert names(tmp_path / "final") == ["new.bin"]


def test_text_is_written_with_line_feeds_in_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "report.txt", "정확도\n90 %\n")
    assert (tmp_path / "report.txt").read_bytes() == "정확도\n90 %\n".encode()


def test_metrics_are_the_figures_that_one_compares_and_details_are_all(tmp_path: Path) -> None:
    figures = {"accuracy": 0.9, "baseline": {"gain": 0.1, "f1": 0.8}, "machine": {"cpu": "x", "threads": 2}, "classes": {"a.b": 1}}
    write_metrics(tmp_path / "m.json", tmp_path / "all.json", figures, ("accuracy", "baseline.gain", "machine"))
    assert json.loads((tmp_path / "m.json").read_text("utf-8")) == {
        "accuracy": 0.9, "baseline": {"gain": 0.1}, "machine": {"cpu": "x", "threads": 2}
    }  # fmt: skip
    assert json.loads((tmp_path / "all.json").read_text("utf-8")) == figures


def test_metrics_have_sorted_keys_short_numbers_and_a_final_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"b": 1 / 3, "a": {"긍정": 2, "d": True, "c": None}, "e": [0.12345678, (1, 2)], "f": "x"})
    expected = {"a": {"c": None, "d": True, "긍정": 2}, "b": 0.333333, "e": [0.123457, [1, 2]], "f": "x"}
    assert (tmp_path / "m.json").read_text("utf-8") == json.dumps(expected, ensure_ascii=False, indent=2) + "\n"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_become_null(tmp_path: Path, value: float) -> None:
    write_json(tmp_path / "m.json", {"a": value, "b": [value, {"c": value}]})
    assert json.loads((tmp_path / "m.json").read_text("utf-8")) == {"a": None, "b": [None, {"c": None}]}


def test_equal_metrics_give_equal_bytes_whatever_their_order(tmp_path: Path) -> None:
    write_json(tmp_path / "one.json", {"a": 0.1 + 0.2, "b": {"x": 1, "y": 2}})
    write_json(tmp_path / "two.json", {"b": {"y": 2, "x": 1}, "a": 0.3})
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_zero_has_no_sign(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"gain": -1e-9})
    assert "-0.0" not in (tmp_path / "m.json").read_text("utf-8")


def test_metrics_that_json_cannot_express_leave_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "m.json", {"a": object()})
    assert json.loads((tmp_path / "m.json").read_text("utf-8")) == {"a": 1}
    assert names(tmp_path) == ["m.json"]


def test_failure_removes_outputs_that_are_already_in_place(tmp_path):
    def fail_after_two_outputs():
        with all_or_none():
            write_text(tmp_path / "a.txt", "new")
            with atomic_folder(tmp_path / "model") as draft:
                (draft / "weights").write_text("w")
            assert (tmp_path / "model").exists()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_two_outputs()
    assert list(tmp_path.iterdir()) == []


def test_success_keeps_all_outputs(tmp_path):
    with all_or_none():
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"
