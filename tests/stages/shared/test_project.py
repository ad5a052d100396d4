"""The main checkout: where it is, and that a missing git is not an error."""

from pathlib import Path

import pytest

from stages.shared.project import dvc_cache, git, project_root


def test_main_checkout_is_dvc_root_if_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert project_root() == tmp_path


def test_main_checkout_is_the_root_of_git_or_the_current_folder(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(repository / "data")
    assert project_root() == repository.resolve()
    alone = tmp_path_factory.mktemp("alone")
    monkeypatch.chdir(alone)
    assert project_root() == alone


def test_git_answers_nothing_outside_a_repository_or_without_git(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("alone"))
    assert git("rev-parse", "HEAD") == ""
    monkeypatch.setenv("PATH", "")
    assert git("--version") == ""


def test_cache_of_dvc_is_that_of_the_main_checkout(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(repository))
    assert dvc_cache() == (repository / ".dvc/cache").resolve()
