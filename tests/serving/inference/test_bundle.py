"""Tests that a bundle reads back as it was written, and that a wrong one is refused with an error message."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.inference.bundle import FORMAT, MANIFEST, read_bundle, write_manifest
from serving.inference.errors import BundleBroken
from serving.inference.hashing import file_sha256


def change_manifest(bundle_dir: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((bundle_dir / MANIFEST).read_text("utf-8"))
    change(manifest)
    (bundle_dir / MANIFEST).write_text(json.dumps(manifest), "utf-8")


def assert_refused(bundle_dir: Path, *words: str) -> None:
    with pytest.raises(BundleBroken) as caught:
        read_bundle(bundle_dir)
    for word in words:
        assert word in str(caught.value)


def test_written_manifest_reads_back_equal_and_writes_equal_bytes(copied_bundle: Path) -> None:
    bundle = read_bundle(copied_bundle)
    written = (copied_bundle / MANIFEST).read_bytes()
    write_manifest(bundle)
    assert (copied_bundle / MANIFEST).read_bytes() == written
    assert read_bundle(copied_bundle) == bundle
    assert bundle.sha256 == file_sha256(copied_bundle / MANIFEST)


def test_bundle_has_its_classes_engines_and_lineage(tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    assert bundle.class_names == ("negative", "positive")
    assert bundle.max_length == 32
    assert [engine.name for engine in bundle.engines if engine.name != "openvino-int8"][-1] == "onnxruntime-fp32"
    assert set(bundle.reference_probabilities) == {engine.name for engine in bundle.engines}
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in bundle.lineage.values())


def test_hangul_class_names_and_texts_survive(copied_bundle: Path) -> None:
    bundle = replace(read_bundle(copied_bundle), class_names=("부정", "긍정"), reference_texts=("좋아요 😍",))
    write_manifest(bundle)
    assert read_bundle(copied_bundle) == bundle


def test_bundle_holds_no_pickle_and_nothing_unlisted(tiny_bundle: Path) -> None:
    listed = json.loads((tiny_bundle / MANIFEST).read_text("utf-8"))["files"]
    assert {file.name for file in tiny_bundle.iterdir()} == {MANIFEST, *listed}


def test_missing_folder_is_refused_with_a_remedy(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere", "nowhere", "dvc repro", "SENTIMENT_MODEL")


def test_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "serving").write_text("x", "utf-8")
    assert_refused(tmp_path / "serving", "serving")


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_missing_file_is_named(copied_bundle: Path, name: str) -> None:
    (copied_bundle / name).unlink()
    assert_refused(copied_bundle, name, "missing", "dvc repro")


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_one_changed_byte_is_found_and_the_file_named(copied_bundle: Path, name: str) -> None:
    content = bytearray((copied_bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied_bundle / name).write_bytes(content)
    assert_refused(copied_bundle, name, "sha256")


@pytest.mark.parametrize("number", [FORMAT + 1, 0, None, "1"])
def test_other_format_is_refused(copied_bundle: Path, number: object) -> None:
    change_manifest(copied_bundle, lambda manifest: manifest.update(format=number))
    assert_refused(copied_bundle, "format", str(FORMAT), "dvc repro")


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 3', b"\xff\xfe", b"[]", b"null", b'{"format": 3}'])
def test_broken_manifest_is_refused(copied_bundle: Path, content: bytes) -> None:
    (copied_bundle / MANIFEST).write_bytes(content)
    assert_refused(copied_bundle, copied_bundle.name)


@pytest.mark.parametrize(
    "key", ["class_names", "max_length", "pad_token_id", "redact", "uncertain_below", "engines", "files", "lineage", "reference_texts"]
)
def test_manifest_without_a_key_is_refused(copied_bundle: Path, key: str) -> None:
    change_manifest(copied_bundle, lambda manifest: manifest.pop(key))
    assert_refused(copied_bundle, MANIFEST, key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lineage", None),
        ("max_length", 0),
        ("max_length", "long"),
        ("class_names", ["one"]),
        ("class_names", [0, 1]),
        ("uncertain_below", float("nan")),
        ("redact", ["secrets"]),
        ("pad_token_id", -1),
        ("reference_probabilities", {"onnxruntime-fp32": ["high"]}),
        ("colour", "red"),
    ],
)
def test_manifest_with_a_wrong_value_is_refused(copied_bundle: Path, key: str, value: object) -> None:
    change_manifest(copied_bundle, lambda manifest: manifest.update({key: value}))
    assert_refused(copied_bundle, MANIFEST, key)


@pytest.mark.parametrize(("key", "value"), [("temperature", 0), ("files", []), ("batch_bound", None), ("tolerance", float("inf"))])
def test_engine_with_a_wrong_value_is_refused(copied_bundle: Path, key: str, value: object) -> None:
    change_manifest(copied_bundle, lambda manifest: manifest["engines"][-1].update({key: value}))
    assert_refused(copied_bundle, MANIFEST, key)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "sub/model.onnx", ".."])
def test_file_outside_the_folder_is_refused(copied_bundle: Path, name: str) -> None:
    (copied_bundle.parent / "outside").write_text("x", "utf-8")
    sha256 = file_sha256(copied_bundle.parent / "outside")
    change_manifest(copied_bundle, lambda manifest: manifest["files"].update({name: sha256}))
    assert_refused(copied_bundle, repr(name) if name != ".." else name)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_file_without_a_hash_is_refused(copied_bundle: Path, name: str) -> None:
    change_manifest(copied_bundle, lambda manifest: manifest["files"].pop(name))
    assert_refused(copied_bundle, name)


def test_engine_with_a_model_outside_the_folder_is_refused(copied_bundle: Path) -> None:
    (copied_bundle / "model.onnx").rename(copied_bundle.parent / "outside.onnx")
    change_manifest(copied_bundle, lambda manifest: manifest["files"].pop("model.onnx"))
    change_manifest(copied_bundle, lambda manifest: [engine.update(files=["../outside.onnx"]) for engine in manifest["engines"]])
    assert_refused(copied_bundle, "outside.onnx")


def test_engine_without_reference_answers_is_refused(copied_bundle: Path) -> None:
    change_manifest(copied_bundle, lambda manifest: manifest["reference_probabilities"].pop("onnxruntime-fp32"))
    assert_refused(copied_bundle, "onnxruntime-fp32")
