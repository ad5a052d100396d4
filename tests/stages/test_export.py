"""The stage export: the bundle answers as torch does, equal runs give equal bytes, and an engine that differs stays out."""

import os
import platform
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from serving.inference.bundle import PORTABLE, Bundle, EngineSpec, read_bundle
from serving.inference.classifier import Classifier
from serving.inference.cpu import multiplies_int8
from serving.inference.hashing import file_sha256
from stages import export
from stages.shared import params, splits
from stages.shared.calibration import at_temperature
from stages.shared.engines.check_set import CheckSet, torch_probabilities
from stages.shared.engines.onnx_file import write_onnx
from stages.shared.engines.parity import Candidate, compare_with_torch
from stages.shared.errors import StageError
from tests.running import ROOT, read_json, run_command, write_params

TEXTS = [
    "",
    "good",
    "the film was very bad",
    "영화 정말 좋아요",
    "we love the food and the staff but the phone was not good " * 4,
    "a" * 500,
]


def run_export(tiny_model: Path, folder: Path, environment: dict[str, str] | None = None, **changes: object) -> tuple[int, str]:
    """Export the tiny model into folder/serving, and return the exit code and the log."""
    folder.mkdir(exist_ok=True)
    files = {"model": tiny_model / "final", "train": tiny_model / "train.csv", "validation": tiny_model / "validation.csv"}
    files |= {"bundle": folder / "serving", "metrics": folder / "compared.json", "details": folder / "export.json"}
    files |= {"params": write_params(folder / "params.yaml", {"export": changes})}
    flags = [part for flag, file in files.items() for part in (f"--{flag}", file)]
    environment = {**(environment or {}), "DVC_ROOT": str(folder), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    done = run_command(sys.executable, "-m", "stages.export", *flags, **environment)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def expected(tiny_model: Path) -> np.ndarray:
    """The probabilities of torch for TEXTS, each alone."""
    model, tokenizer = export.load_model(tiny_model / "final")
    return np.concatenate([torch_probabilities(model, tokenizer, [text]) for text in TEXTS])


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    """The tiny bundle without reference texts."""
    return replace(read_bundle(tiny_bundle), reference_texts=(), reference_probabilities={})


def test_every_engine_answers_as_torch_does(tiny_model: Path, tiny_bundle: Path, expected: np.ndarray) -> None:
    familiar = splits.read_split(tiny_model / "test.csv", ("negative", "positive"))["text"].tolist()
    torch_familiar = torch_probabilities(*export.load_model(tiny_model / "final"), familiar)
    bounds = {"fp32": (1e-5, 1e-5), "bf16": (0.05, 0.05), "int8": (0.05, 0.2)}  # 8 bits are fitted to familiar texts
    for spec in read_bundle(tiny_bundle).engines:
        classifier = Classifier.load(tiny_bundle, engine=spec.name)
        for texts, answers, bound in zip((familiar, TEXTS), (torch_familiar, expected), bounds[spec.name[-4:]], strict=True):
            assert np.ptp(answers[:, 0]) > 0.8  # answers that are all alike would prove nothing
            shifts = np.abs(at_temperature(classifier.predict(texts).probabilities, 1 / spec.temperature) - answers)
            if spec.name.endswith("int8") and not multiplies_int8():  # uncertain texts move far there, and the engine is the last choice
                assert shifts.mean() < 0.08
            else:
                assert shifts.max() < bound, spec.name


def test_export_again_gives_the_same_bytes(tiny_model: Path, tmp_path: Path) -> None:
    code, said = run_export(tiny_model, tmp_path / "again")
    assert code == 0, said
    bundles = [{file.name: file.read_bytes() for file in (folder / "serving").iterdir()} for folder in (tiny_model, tmp_path / "again")]
    files = {file for engine in read_bundle(tiny_model / "serving").engines for file in engine.files}
    assert set(bundles[0]) == {"bundle.json", "tokenizer.json", *files}
    assert [name for name in bundles[0] if bundles[0][name] != bundles[1][name]] == []
    assert (tmp_path / "again" / "export.json").read_bytes() == (tiny_model / "export.json").read_bytes()


def test_bundle_contains_no_path_of_the_machine(tiny_model: Path, tiny_bundle: Path) -> None:
    for file in tiny_bundle.iterdir():
        content = file.read_bytes()
        for place in (f"{tiny_model}/", f"{ROOT}/", f"{sys.prefix}/", f"{Path(os.__file__).parent}/", "site-packages", ".py"):
            assert place.encode() not in content, file


def test_bundle_has_the_lineage_of_the_model(tiny_model: Path, tiny_bundle: Path) -> None:
    lineage = read_bundle(tiny_bundle).lineage
    assert lineage == {**read_json(tiny_model / "final" / "lineage.json"), "model_sha256": lineage["model_sha256"]}
    assert lineage["model_sha256"] == file_sha256(tiny_model / "final" / "model.safetensors")
    assert lineage["train"] == file_sha256(tiny_model / "train.csv")


def test_bundle_has_64_reference_texts_with_the_answers_of_each_engine(tiny_model: Path, tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    known = {*splits.read_split(tiny_model / "validation.csv")["text"], *splits.read_split(tiny_model / "train.csv")["text"]}
    assert len(set(bundle.reference_texts)) == 64
    assert set(bundle.reference_texts) <= known
    for engine in bundle.engines:
        probabilities = np.array(bundle.reference_probabilities[engine.name])
        assert probabilities.shape == (64, 2)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_metrics_name_the_served_engine_and_its_distance_from_torch(tiny_model: Path, tiny_bundle: Path) -> None:
    metrics = read_json(tiny_model / "export.json")
    bundle = read_bundle(tiny_bundle)
    assert metrics["checked_texts"] == 96
    assert metrics["accuracy_texts"] == 12
    assert metrics["accuracy_decides"] is False
    assert metrics["served"] == bundle.engines[0].name
    assert [engine.name for engine in bundle.engines] == [name for name in bundle_order() if metrics["engines"][name]["kept"]]
    for spec in bundle.engines:
        figures = metrics["engines"][spec.name]
        assert figures["temperature"] == spec.temperature
        assert figures["bytes"] == sum((tiny_bundle / file).stat().st_size for file in spec.files)
        assert figures["flip_share"] <= 0.02
        assert not {"texts_per_second", "seconds"} & figures.keys()
    assert metrics["engines"][PORTABLE]["largest_shift"] <= 1e-5
    assert metrics["torch"]["accuracy"] == metrics["engines"][PORTABLE]["accuracy"]


def bundle_order() -> list[str]:
    """Return the engines of params.yaml that work here, in order of preference."""
    return export.possible_engines(params.load(ROOT / "params.yaml", "export", export.ExportParams).engines)


def settings(**changes: object) -> export.ExportParams:
    """Return the params of export, with some values changed."""
    return params.load(ROOT / "params.yaml", "export", export.ExportParams).model_copy(update=changes)


def portable_engine(bundle: Bundle) -> EngineSpec:
    """Return the portable engine of a bundle."""
    return next(engine for engine in bundle.engines if engine.name == PORTABLE)


@pytest.fixture
def check_set(expected: np.ndarray) -> CheckSet:
    """TEXTS with the answers of torch as labels."""
    return CheckSet(TEXTS, expected.argmax(axis=1), expected, len(TEXTS))


def candidate(bundle: Bundle, check_set: CheckSet, name: str, probabilities: np.ndarray) -> Candidate:
    """Return a candidate with this name that gives these answers."""
    measured = compare_with_torch(portable_engine(bundle), bundle, check_set)
    shift = np.abs(probabilities - check_set.expected).max(axis=1)
    flips = float((probabilities.argmax(axis=1) != check_set.expected.argmax(axis=1)).mean())
    figures = measured.figures | check_set.accuracy_and_f1(probabilities)
    figures |= {"flip_share": flips, "largest_shift": float(shift.max()), "mean_shift": float(shift.mean())}
    return replace(measured, spec=replace(measured.spec, name=name), probabilities=probabilities, figures=figures)


def test_engine_that_changes_too_many_answers_is_left_out_and_reported(
    bundle: Bundle, check_set: CheckSet, caplog: pytest.LogCaptureFixture
) -> None:
    turned = check_set.expected.copy()
    turned[0] = turned[0, ::-1]
    candidates = [candidate(bundle, check_set, "openvino-int8", turned), candidate(bundle, check_set, PORTABLE, check_set.expected)]
    with caplog.at_level("INFO"):
        kept, report = export.keep_faithful(bundle, candidates, check_set, settings(max_flip_share=0.16))
    assert [engine.name for engine in kept.engines] == [PORTABLE]
    assert set(kept.reference_probabilities) == {PORTABLE}
    assert not report["openvino-int8"]["kept"]
    assert report["openvino-int8"]["left_out"] == "changes 16.67% of torch's answers (export.max_flip_share allows 16.00%)"
    assert "openvino-int8: accuracy 83.33%, 1 of 6 answers changed" in caplog.text
    kept, report = export.keep_faithful(bundle, candidates, check_set, settings(max_flip_share=0.17))
    assert [engine.name for engine in kept.engines] == ["openvino-int8", PORTABLE]


def test_accuracy_decides_only_if_one_text_weighs_no_more_than_the_limit(bundle: Bundle, check_set: CheckSet) -> None:
    turned = check_set.expected.copy()
    turned[0] = turned[0, ::-1]
    candidates = [candidate(bundle, check_set, "openvino-int8", turned), candidate(bundle, check_set, PORTABLE, check_set.expected)]
    _, report = export.keep_faithful(bundle, candidates, check_set, settings(max_flip_share=0.5, max_accuracy_drop=0.16))
    assert report["openvino-int8"]["kept"], "one of six texts weighs more than 0.16"
    large = CheckSet(TEXTS * 2, np.tile(check_set.labels, 2), np.tile(check_set.expected, (2, 1)), 2 * len(TEXTS))
    twice = [replace(one, probabilities=np.tile(one.probabilities, (2, 1))) for one in candidates]
    _, report = export.keep_faithful(bundle, twice, large, settings(max_flip_share=0.5, max_accuracy_drop=0.16))
    assert report["openvino-int8"]["left_out"] == "loses 16.67 points of accuracy (export.max_accuracy_drop allows 16.00)"


@pytest.mark.parametrize(("right", "allowed"), [(957, True), (956, False)])
def test_accuracy_may_drop_by_just_the_limit(bundle: Bundle, check_set: CheckSet, right: int, allowed: bool) -> None:
    torch_answers = np.eye(2)[(np.arange(1000) >= 960).astype(int)]
    large = CheckSet(TEXTS, np.zeros(1000, dtype=np.int64), torch_answers, 1000)
    measured = candidate(bundle, check_set, "openvino-int8", check_set.expected)
    measured.figures["accuracy"] = right / 1000
    assert (export.refusal(measured, large, settings(max_accuracy_drop=0.003)) is None) == allowed


def test_folder_without_a_model_is_an_error_message(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="contains no model: run `dvc repro train`"):
        export.load_model(tmp_path)


def test_engine_that_answers_nan_is_refused(bundle: Bundle, check_set: CheckSet) -> None:
    nothing = np.full_like(check_set.expected, np.nan)
    for name in ("openvino-int8", "openvino-fp32"):
        assert export.refusal(candidate(bundle, check_set, name, nothing), check_set, settings(max_flip_share=0.999))


def test_portable_engine_that_differs_fails_the_stage(bundle: Bundle, check_set: CheckSet) -> None:
    moved = check_set.expected + np.array([2e-4, -2e-4])
    with pytest.raises(StageError, match=r"onnxruntime-fp32 differs from torch by 2\.0e-04"):
        export.keep_faithful(bundle, [candidate(bundle, check_set, PORTABLE, moved)], check_set, settings())


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="OpenVINO's engines are for x86")
def test_int8_that_changes_an_answer_is_left_out_if_no_change_is_allowed(tiny_model: Path, tmp_path: Path) -> None:
    code, said = run_export(tiny_model, tmp_path / "strict", engines=["openvino-int8", PORTABLE], max_flip_share=0.0)
    assert code == 0, said
    figures = read_json(tmp_path / "strict/export.json")["engines"]["openvino-int8"]
    shipped = {file.name for file in (tmp_path / "strict/serving").iterdir()}
    assert figures["kept"] == (figures["flip_share"] == 0)
    assert ({"model_int8.xml", "model_int8.bin"} <= shipped) == figures["kept"]


def test_exported_file_with_other_weights_is_refused(tiny_model: Path, tmp_path: Path, check_set: CheckSet) -> None:
    model, tokenizer = export.load_model(tiny_model / "final")
    model.classifier.bias.data += model.classifier.bias.new_tensor([1.0, -1.0])
    write_onnx(model, tokenizer.model_max_length, tmp_path / export.MODEL)
    assert (tmp_path / export.MODEL).read_bytes() != (tiny_model / "serving" / export.MODEL).read_bytes()
    shutil.copy(tiny_model / "serving" / "tokenizer.json", tmp_path)
    moved = replace(read_bundle(tiny_model / "serving"), folder=tmp_path)
    with pytest.raises(StageError, match="differs from torch"):
        export.keep_faithful(moved, [compare_with_torch(portable_engine(moved), moved, check_set)], check_set, settings())


@pytest.mark.parametrize("has_int8", [True, False])
def test_int8_comes_first_only_on_a_cpu_with_its_instructions(monkeypatch: pytest.MonkeyPatch, has_int8: bool) -> None:
    monkeypatch.setattr(export, "multiplies_int8", lambda: has_int8)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    wanted = ("openvino-int8", "openvino-bf16", PORTABLE)
    assert export.possible_engines(wanted) == list(wanted if has_int8 else (*wanted[1:], wanted[0]))
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert export.possible_engines(wanted) == [PORTABLE]


@pytest.mark.parametrize("engines", [["openvino-int8"], [], [PORTABLE, PORTABLE], [PORTABLE, "tensorrt"]])
def test_params_must_name_each_engine_once_and_the_portable_engine(engines: list[str]) -> None:
    with pytest.raises(ValidationError):
        export.ExportParams.model_validate(settings().model_dump() | {"engines": engines})


def test_full_disk_is_an_error_message_and_leaves_nothing_half_written(
    large_model: Path, small_disk: dict[str, str], tmp_path: Path
) -> None:
    code, said = run_export(large_model, tmp_path / "full", small_disk)
    assert code == 1, said
    assert "ERROR: cannot write" in said
    assert "Traceback" not in said
    assert sorted(file.name for file in (tmp_path / "full").iterdir() if not file.name.startswith((".mlflow", "mlflow"))) == ["params.yaml"]
