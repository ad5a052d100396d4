"""Hashes name contents: equal inputs have equal hashes, and changed ones do not."""

import shutil
from pathlib import Path

from stages.shared.training.lineage import ROOT, folder_sha256, imported_names, own_imports, value_sha256


def test_order_of_keys_does_not_change_the_hash() -> None:
    assert value_sha256({"a": 1, "b": ("x", "y")}) == value_sha256({"b": ["x", "y"], "a": 1})
    assert value_sha256({"a": 1}) != value_sha256({"a": 2})


def test_names_and_contents_of_a_folder_are_hashed_but_not_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner/file").write_text("text", "utf-8")
    copy = Path(shutil.copytree(folder, tmp_path / "other"))
    assert folder_sha256(copy) == folder_sha256(folder)
    (copy / "inner/file").rename(copy / "inner/renamed")
    assert folder_sha256(copy) != folder_sha256(folder)


def test_imports_inside_functions_and_through_others_count() -> None:
    imports = {file.relative_to(ROOT).as_posix() for file in own_imports(ROOT / "stages/train.py")}
    assert {"stages/train.py", "stages/shared/training/fitting.py", "stages/shared/training/sampler.py"} <= imports
    assert "stages.shared.training.fitting.make_trainer" in imported_names(ROOT / "stages/train.py")
