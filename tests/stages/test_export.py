"""That the bundle answers as torch does, is the same whenever it is made, and that an engine which differs is not shipped."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from serving.inference.bundle import Bundle, read_bundle
from serving.inference.classifier import Classifier
from serving.inference.hashing import file_sha256
from stages import export
from stages.shared import tables
from stages.shared.errors import StageError
from tests.conftest import ROOT, read_json, run_command, write_params

TEXTS = [
    "",
    "good",
    "the film was very bad",
    "영화 정말 좋아요",
    "we love the food and the staff but the phone was not good " * 4,
    "a" * 500,
]


def run_export(tiny_model: Path, folder: Path, environment: dict[str, str] | None = None, **changes: object) -> tuple[int, str]:
    """Export the tiny model into folder/serving; return exit code and what was said."""
    folder.mkdir(exist_ok=True)
    files = {"model": tiny_model / "final", "train": tiny_model / "train.csv", "validation": tiny_model / "validation.csv"}
    files |= {"bundle": folder / "serving", "metrics": folder / "export.json"}
    files |= {"params": write_params(folder / "params.yaml", {"export": changes})}
    flags = [part for flag, file in files.items() for part in (f"--{flag}", file)]
    environment = {**(environment or {}), "DVC_ROOT": str(folder), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    done = run_command(sys.executable, "-m", "stages.export", *flags, **environment)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def expected(tiny_model: Path) -> np.ndarray:
    """What torch answers to TEXTS, each alone."""
    model, tokenizer = export.load_model(tiny_model / "final")
    return np.concatenate([export.torch_probabilities(model, tokenizer, [text]) for text in TEXTS])


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return replace(read_bundle(tiny_bundle), reference_texts=(), reference_probabilities={})


def test_every_engine_answers_as_torch_does(tiny_bundle: Path, expected: np.ndarray) -> None:
    for spec in read_bundle(tiny_bundle).engines:
        actual = Classifier.load(tiny_bundle, engine=spec.name).predict(TEXTS).probabilities
        np.testing.assert_allclose(actual, expected, atol=1e-5, err_msg=spec.name)


def test_torch_answers_a_batch_as_it_does_each_text(tiny_model: Path, expected: np.ndarray) -> None:
    model, tokenizer = export.load_model(tiny_model / "final")
    order = [3, 0, 5, 1, 4, 2]
    actual = export.torch_probabilities(model, tokenizer, [TEXTS[row] for row in order])
    np.testing.assert_allclose(actual, expected[order], atol=1e-5)


def test_export_again_gives_the_same_bytes(tiny_model: Path, tmp_path: Path) -> None:
    code, said = run_export(tiny_model, tmp_path / "again")
    assert code == 0, said
    bundles = [{file.name: file.read_bytes() for file in (folder / "serving").iterdir()} for folder in (tiny_model, tmp_path / "again")]
    assert sorted(bundles[0]) == ["bundle.json", "model.onnx", "tokenizer.json"]
    assert [name for name in bundles[0] if bundles[0][name] != bundles[1][name]] == []
    assert (tmp_path / "again" / "export.json").read_bytes() == (tiny_model / "export.json").read_bytes()


def test_bundle_holds_no_path_of_the_machine(tiny_model: Path, tiny_bundle: Path) -> None:
    for file in tiny_bundle.iterdir():
        content = file.read_bytes()
        for place in (f"{tiny_model}/", f"{ROOT}/", f"{sys.prefix}/", f"{Path(os.__file__).parent}/", "site-packages", ".py"):
            assert place.encode() not in content, file


def test_bundle_tells_where_the_model_came_from(tiny_model: Path, tiny_bundle: Path) -> None:
    lineage = read_bundle(tiny_bundle).lineage
    assert lineage == {**read_json(tiny_model / "final" / "lineage.json"), "model_sha256": lineage["model_sha256"]}
    assert lineage["model_sha256"] == file_sha256(tiny_model / "final" / "model.safetensors")
    assert lineage["train"] == file_sha256(tiny_model / "train.csv")


def test_bundle_has_64_reference_texts_with_the_answers_of_each_engine(tiny_model: Path, tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    known = {*tables.read_split(tiny_model / "validation.csv")["text"], *tables.read_split(tiny_model / "train.csv")["text"]}
    assert len(set(bundle.reference_texts)) == 64
    assert set(bundle.reference_texts) <= known
    for engine in bundle.engines:
        probabilities = np.array(bundle.reference_probabilities[engine.name])
        assert probabilities.shape == (64, 2)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_metrics_say_what_is_served_and_how_far_it_is_from_torch(tiny_model: Path, tiny_bundle: Path) -> None:
    metrics = read_json(tiny_model / "export.json")
    bundle = read_bundle(tiny_bundle)
    assert metrics["checked_texts"] == 96
    assert metrics["served"] == bundle.engines[0].name
    assert set(metrics["engines"]) == {engine.name for engine in bundle.engines}
    assert all(
        engine == {"flips": 0, "kept": True, "largest_difference": engine["largest_difference"]} for engine in metrics["engines"].values()
    )


def test_engine_beyond_the_limit_is_left_out_and_reported(bundle: Bundle, expected: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
    portable = bundle.engines[-1]
    hot = replace(portable, name="hot", temperature=0.01)
    with caplog.at_level("INFO"):
        kept, report = export.keep_equal_engines(replace(bundle, engines=(hot, portable)), TEXTS, expected, limit=1e-4)
    assert [engine.name for engine in kept.engines] == [portable.name]
    assert set(kept.reference_probabilities) == {portable.name}
    assert not report["hot"]["kept"]
    assert report["hot"]["largest_difference"] > 1e-4
    assert "hot: largest difference from torch" in caplog.text
    assert "left out" in caplog.text


def test_answers_that_are_no_numbers_are_not_within_the_limit(bundle: Bundle, expected: np.ndarray) -> None:
    with pytest.raises(StageError), np.errstate(all="ignore"):
        export.keep_equal_engines(replace(bundle, engines=(replace(bundle.engines[-1], temperature=float("nan")),)), TEXTS, expected, 1e-4)


def test_portable_engine_beyond_the_limit_fails_the_stage_and_keeps_the_old_bundle(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "refused"
    shutil.copytree(tiny_model / "serving", folder / "serving")
    code, said = run_export(tiny_model, folder, max_difference=1e-300)
    assert code == 1
    assert "export.max_difference" in said
    assert "Traceback" not in said
    assert not (folder / "export.json").exists()
    assert [file.name for file in folder.iterdir() if "partial" in file.name] == []
    Classifier.load(folder / "serving")


def test_changed_weights_give_another_model_and_other_answers(tiny_model: Path, tmp_path: Path, expected: np.ndarray) -> None:
    model, tokenizer = export.load_model(tiny_model / "final")
    model.classifier.bias.data += model.classifier.bias.new_tensor([1.0, -1.0])
    export.write_onnx(model, tokenizer.model_max_length, tmp_path / export.MODEL)
    assert (tmp_path / export.MODEL).read_bytes() != (tiny_model / "serving" / export.MODEL).read_bytes()
    shutil.copy(tiny_model / "serving" / "tokenizer.json", tmp_path)
    moved = replace(read_bundle(tiny_model / "serving"), folder=tmp_path)
    for spec in moved.engines:
        with pytest.raises(StageError, match="differs from torch"):
            export.keep_equal_engines(replace(moved, engines=(spec,)), TEXTS, expected, limit=1e-4)


@pytest.mark.parametrize("engines", [["openvino"], [], ["onnxruntime", "onnxruntime"], ["onnxruntime", "tensorrt"]])
def test_params_must_name_the_portable_engine_and_each_once(engines: list[str]) -> None:
    with pytest.raises(ValidationError):
        export.ExportParams.model_validate({"engines": engines, "max_difference": 1e-4})


def test_full_disk_is_a_sentence_and_leaves_nothing_half_written(large_model: Path, small_disk: dict[str, str], tmp_path: Path) -> None:
    code, said = run_export(large_model, tmp_path / "full", small_disk)
    assert code == 1, said
    assert "ERROR: cannot write" in said
    assert "Traceback" not in said
    assert sorted(file.name for file in (tmp_path / "full").iterdir() if not file.name.startswith((".mlflow", "mlflow"))) == ["params.yaml"]
