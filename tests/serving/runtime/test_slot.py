"""The bundle in use: loaded, checked, exchanged, and restored."""

import shutil
from pathlib import Path

import pytest

from serving.inference.classifier import Classifier
from serving.inference.errors import BundleBroken
from serving.runtime.slot import LoadedBundle, NoPreviousBundle, Slot, load_bundle


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def read(folder: Path) -> LoadedBundle:
    """Stand for a load: the name of the folder is the sha256 of the bundle."""
    if folder.name == "broken":
        raise BundleBroken("broken")
    return LoadedBundle(folder, None, folder.name)  # type: ignore[arg-type]


def slot_of(*names: str) -> tuple[Slot, list[str]]:
    """Return a slot with these bundles, and the list of all bundles that it reports."""
    reported: list[str] = []
    return Slot([read(Path(name)) for name in names], read, lambda loaded: reported.append(loaded.sha256)), reported


@pytest.mark.anyio
async def test_reload_keeps_the_bundle_before_it_and_rollback_exchanges_the_two() -> None:
    slot, reported = slot_of("a")
    for name in ("b", "c", "c"):  # the same bundle again: the previous one stays
        await slot.reload(Path(name))
    assert [loaded.sha256 for loaded in slot.bundles] == ["c", "b"]
    assert [(await slot.rollback()).sha256 for _ in range(2)] == ["b", "c"]
    assert (await slot.reload(None)).sha256 == "c"
    assert reported == ["a", "b", "c", "c", "b", "c", "c"]


@pytest.mark.anyio
async def test_failed_change_leaves_the_bundle_in_use() -> None:
    slot, reported = slot_of("a")
    with pytest.raises(NoPreviousBundle):
        await slot.rollback()
    with pytest.raises(BundleBroken):
        await slot.reload(Path("broken"))
    assert (slot.current.sha256, reported) == ("a", ["a"])


@pytest.mark.anyio
async def test_switch_loads_only_a_bundle_that_is_not_in_memory() -> None:
    slot, _ = slot_of("a", "b")

    def fail() -> LoadedBundle:
        raise AssertionError("loaded a bundle that is in memory")

    assert (await slot.switch_to("b", fail)).sha256 == "b"
    assert (await slot.switch_to("c", lambda: read(Path("c")))).sha256 == "c"
    assert [loaded.sha256 for loaded in slot.bundles] == ["c", "b"]


def test_bundle_that_changes_while_it_is_read_is_refused(copied_bundle: Path, other_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original_load = Classifier.load

    def load_while_it_changes(folder: Path, **options: object) -> Classifier:
        classifier = original_load(folder, **options)  # type: ignore[arg-type]
        shutil.copy(other_bundle / "bundle.json", folder)
        return classifier

    def load_while_it_vanishes(folder: Path, **options: object) -> Classifier:
        classifier = original_load(folder, **options)  # type: ignore[arg-type]
        shutil.rmtree(folder)
        return classifier

    monkeypatch.setattr(Classifier, "load", load_while_it_changes)
    with pytest.raises(BundleBroken, match="changed while the server read it"):
        load_bundle(copied_bundle, threads=1, cache=None)
    monkeypatch.setattr(Classifier, "load", load_while_it_vanishes)
    with pytest.raises(BundleBroken, match="cannot be loaded"):
        load_bundle(copied_bundle, threads=1, cache=None)
