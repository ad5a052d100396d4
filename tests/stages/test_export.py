"""That the bundle answers as torch does, is the same whenever it is made, and that an engine which differs is not shipped."""

import os
import platform
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from serving.inference.bundle import PORTABLE, Bundle, read_bundle
from serving.inference.classifier import Classifier
from serving.inference.cpu import multiplies_int8
from serving.inference.engines import OpenVinoEngine
from serving.inference.hashing import file_sha256
from serving.inference.packing import Batch
from stages import export
from stages.shared import params, splits
from stages.shared.calibration import at_temperature
from stages.shared.engines.onnx_file import write_onnx
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


def test_every_engine_answers_as_torch_does(tiny_model: Path, tiny_bundle: Path, expected: np.ndarray) -> None:
    familiar = splits.read_split(tiny_model / "test.csv", ("negative", "positive"))["text"].tolist()
    torch_familiar = export.torch_probabilities(*export.load_model(tiny_model / "final"), familiar)
    bounds = {"fp32": (1e-5, 1e-5), "bf16": (0.05, 0.05), "int8": (0.05, 0.2)}  # 8 bits are fitted to familiar texts
    for spec in read_bundle(tiny_bundle).engines:
        classifier = Classifier.load(tiny_bundle, engine=spec.name)
        for texts, answers, bound in zip((familiar, TEXTS), (torch_familiar, expected), bounds[spec.name[-4:]], strict=True):
            assert np.ptp(answers[:, 0]) > 0.8  # or the bounds would say nothing
            shifts = np.abs(at_temperature(classifier.predict(texts).probabilities, 1 / spec.temperature) - answers)
            if spec.name.endswith("int8") and not multiplies_int8():  # a doubtful text moves far there, and the engine is the last choice
                assert shifts.mean() < 0.08
            else:
                assert shifts.max() < bound, spec.name


def test_torch_answers_a_batch_as_it_does_each_text(tiny_model: Path, expected: np.ndarray) -> None:
    model, tokenizer = export.load_model(tiny_model / "final")
    order = [3, 0, 5, 1, 4, 2]
    actual = export.torch_probabilities(model, tokenizer, [TEXTS[row] for row in order])
    np.testing.assert_allclose(actual, expected[order], atol=1e-5)


@pytest.mark.parametrize("kind", ["distilbert", "bert", "roberta"])
def test_exported_file_answers_as_torch_whatever_the_architecture(kind: str, tmp_path: Path) -> None:
    import onnxruntime
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, set_seed

    set_seed(0)
    sizes = (
        {"dim": 32, "hidden_dim": 64, "n_layers": 3, "n_heads": 2} if kind == "distilbert" else {"hidden_size": 32, "intermediate_size": 64}
    )
    layers = {} if kind == "distilbert" else {"num_hidden_layers": 3, "num_attention_heads": 2}
    config = AutoConfig.for_model(kind, vocab_size=100, max_position_embeddings=64, num_labels=3, **sizes, **layers)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
    write_onnx(model, 32, tmp_path / "model.onnx")
    ids, mask = torch.randint(5, 100, (4, 9)), torch.ones((4, 9), dtype=torch.int64)
    ids[1, 4:], mask[1, 4:] = config.pad_token_id, 0
    ids[2, :3], mask[2, :3] = config.pad_token_id, 0  # as some clients of the portable file may pad
    mask[3, 4:6] = 0
    with torch.inference_mode():
        expected = model(input_ids=ids, attention_mask=mask).logits.numpy()
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (actual,) = session.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    if platform.machine() == "x86_64":
        engine = OpenVinoEngine(tmp_path / "model.onnx", "f32", 1, None)
        assert engine.shares_rows == (kind == "distilbert")
        np.testing.assert_allclose(engine.logits(Batch.of(ids[1, :4].numpy())), expected[1:2], atol=1e-5)


def test_export_again_gives_the_same_bytes(tiny_model: Path, tmp_path: Path) -> None:
    code, said = run_export(tiny_model, tmp_path / "again")
    assert code == 0, said
    bundles = [{file.name: file.read_bytes() for file in (folder / "serving").iterdir()} for folder in (tiny_model, tmp_path / "again")]
    files = {file for engine in read_bundle(tiny_model / "serving").engines for file in engine.files}
    assert set(bundles[0]) == {"bundle.json", "tokenizer.json", *files}
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
    known = {*splits.read_split(tiny_model / "validation.csv")["text"], *splits.read_split(tiny_model / "train.csv")["text"]}
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
    return export.engines_here(params.load(ROOT / "params.yaml", "export", export.ExportParams).engines)


def settings(**changes: object) -> export.ExportParams:
    return params.load(ROOT / "params.yaml", "export", export.ExportParams).model_copy(update=changes)


@pytest.fixture
def checked(expected: np.ndarray) -> export.Checked:
    return export.Checked(TEXTS, expected.argmax(axis=1), expected, len(TEXTS))


def candidate(bundle: Bundle, checked: export.Checked, name: str, probabilities: np.ndarray) -> export.Candidate:
    """A candidate named `name` that gives these answers."""
    measured = export.compare(bundle.portable, bundle, checked)
    shift = np.abs(probabilities - checked.expected).max(axis=1)
    flips = float((probabilities.argmax(axis=1) != checked.expected.argmax(axis=1)).mean())
    figures = measured.figures | checked.accuracy_and_f1(probabilities)
    figures |= {"flip_share": flips, "largest_shift": float(shift.max()), "mean_shift": float(shift.mean())}
    return replace(measured, spec=replace(measured.spec, name=name), probabilities=probabilities, figures=figures)


def test_engine_that_changes_too_many_answers_is_left_out_and_reported(
    bundle: Bundle, checked: export.Checked, caplog: pytest.LogCaptureFixture
) -> None:
    turned = checked.expected.copy()
    turned[0] = turned[0, ::-1]
    candidates = [candidate(bundle, checked, name, answers) for name, answers in (("openvino-int8", turned), (PORTABLE, checked.expected))]
    with caplog.at_level("INFO"):
        kept, report = export.keep_faithful(bundle, candidates, checked, settings(max_flip_share=0.16))
    assert [engine.name for engine in kept.engines] == [PORTABLE]
    assert set(kept.reference_probabilities) == {PORTABLE}
    assert not report["openvino-int8"]["kept"]
    assert report["openvino-int8"]["left_out"] == "changes 16.67% of torch's answers (export.max_flip_share 16.00%)"
    assert "openvino-int8: accuracy 83.33%, 1 of 6 answers changed" in caplog.text
    kept, report = export.keep_faithful(bundle, candidates, checked, settings(max_flip_share=0.17))
    assert [engine.name for engine in kept.engines] == ["openvino-int8", PORTABLE]


def test_accuracy_decides_only_where_one_text_weighs_less_than_the_limit(bundle: Bundle, checked: export.Checked) -> None:
    turned = checked.expected.copy()
    turned[0] = turned[0, ::-1]
    candidates = [candidate(bundle, checked, name, answers) for name, answers in (("openvino-int8", turned), (PORTABLE, checked.expected))]
    _, report = export.keep_faithful(bundle, candidates, checked, settings(max_flip_share=0.5, max_accuracy_drop=0.16))
    assert report["openvino-int8"]["kept"], "one of six texts weighs more than 0.16"
    large = export.Checked(TEXTS * 2, np.tile(checked.labels, 2), np.tile(checked.expected, (2, 1)), 2 * len(TEXTS))
    twice = [replace(one, probabilities=np.tile(one.probabilities, (2, 1))) for one in candidates]
    _, report = export.keep_faithful(bundle, twice, large, settings(max_flip_share=0.5, max_accuracy_drop=0.16))
    assert report["openvino-int8"]["left_out"] == "loses 16.67 points of accuracy (export.max_accuracy_drop 16.00)"


@pytest.mark.parametrize(("right", "allowed"), [(957, True), (956, False)])
def test_accuracy_may_drop_by_just_the_limit(bundle: Bundle, checked: export.Checked, right: int, allowed: bool) -> None:
    torch_answers = np.eye(2)[(np.arange(1000) >= 960).astype(int)]
    large = export.Checked(TEXTS, np.zeros(1000, dtype=np.int64), torch_answers, 1000)
    measured = candidate(bundle, checked, "openvino-int8", checked.expected)
    measured.figures["accuracy"] = right / 1000
    assert (export.refusal(measured, large, settings(max_accuracy_drop=0.003)) is None) == allowed


def test_folder_without_a_model_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="holds no model: run dvc repro train"):
        export.load_model(tmp_path)


def test_answers_that_are_no_numbers_are_not_within_the_limit(bundle: Bundle, checked: export.Checked) -> None:
    nothing = np.full_like(checked.expected, np.nan)
    for name in ("openvino-int8", "openvino-fp32"):
        assert export.refusal(candidate(bundle, checked, name, nothing), checked, settings(max_flip_share=0.999))


def test_portable_engine_that_differs_fails_the_stage(bundle: Bundle, checked: export.Checked) -> None:
    moved = checked.expected + np.array([2e-4, -2e-4])
    with pytest.raises(StageError, match=r"onnxruntime-fp32 differs from torch by 2\.0e-04"):
        export.keep_faithful(bundle, [candidate(bundle, checked, PORTABLE, moved)], checked, settings())


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="OpenVINO's engines are for x86")
def test_no_flips_allowed_leaves_an_int8_that_flips_out_of_the_bundle(tiny_model: Path, tmp_path: Path) -> None:
    code, said = run_export(tiny_model, tmp_path / "strict", engines=["openvino-int8", PORTABLE], max_flip_share=0.0)
    assert code == 0, said
    figures = read_json(tmp_path / "strict/export.json")["engines"]["openvino-int8"]
    shipped = {file.name for file in (tmp_path / "strict/serving").iterdir()}
    assert figures["kept"] == (figures["flip_share"] == 0)
    assert ({"model_int8.xml", "model_int8.bin"} <= shipped) == figures["kept"]


def test_changed_weights_give_another_model_and_other_answers(tiny_model: Path, tmp_path: Path, checked: export.Checked) -> None:
    model, tokenizer = export.load_model(tiny_model / "final")
    model.classifier.bias.data += model.classifier.bias.new_tensor([1.0, -1.0])
    write_onnx(model, tokenizer.model_max_length, tmp_path / export.MODEL)
    assert (tmp_path / export.MODEL).read_bytes() != (tiny_model / "serving" / export.MODEL).read_bytes()
    shutil.copy(tiny_model / "serving" / "tokenizer.json", tmp_path)
    moved = replace(read_bundle(tiny_model / "serving"), folder=tmp_path)
    with pytest.raises(StageError, match="differs from torch"):
        export.keep_faithful(moved, [export.compare(moved.portable, moved, checked)], checked, settings())


@pytest.mark.parametrize("has_int8", [True, False])
def test_int8_is_preferred_only_where_the_cpu_multiplies_it(monkeypatch: pytest.MonkeyPatch, has_int8: bool) -> None:
    monkeypatch.setattr(export, "multiplies_int8", lambda: has_int8)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    wanted = ("openvino-int8", "openvino-bf16", PORTABLE)
    assert export.engines_here(wanted) == list(wanted if has_int8 else (*wanted[1:], wanted[0]))
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert export.engines_here(wanted) == [PORTABLE]


def test_shared_rows_are_answered_as_rows_of_one_text(tiny_bundle: Path) -> None:
    texts = [" ".join(["good", "film", "bad", "food"] * (row % 4))[: 7 * row] for row in range(30)]

    def answers(classifier: Classifier, calls: list[list[str]]) -> np.ndarray:
        probabilities = np.concatenate([classifier.predict(call).probabilities for call in calls])
        return at_temperature(probabilities, 1 / classifier.spec.temperature)

    alone = [[text] for text in texts]
    portable = answers(Classifier.load(tiny_bundle, engine=PORTABLE), alone)
    shared = [Classifier.load(tiny_bundle, engine=spec.name) for spec in read_bundle(tiny_bundle).engines if spec.runtime == "openvino"]
    assert len(shared) == (3 if platform.machine() == "x86_64" else 0)
    for classifier in shared:
        assert classifier._engine.shares_rows
        is_exact = classifier.spec.name.endswith("fp32")
        expected, bound = (portable, 1e-5) if is_exact else (answers(classifier, alone), classifier.spec.batch_bound)
        together = answers(classifier, [texts])
        np.testing.assert_allclose(together, expected, atol=bound, err_msg=classifier.spec.name)
        np.testing.assert_allclose(together, portable, atol=0.2 if classifier.spec.name.endswith("int8") else 0.05)
    assert np.ptp(portable[:, 0]) > 0.3  # or the bounds would say nothing


@pytest.mark.parametrize("engines", [["openvino-int8"], [], [PORTABLE, PORTABLE], [PORTABLE, "tensorrt"]])
def test_params_must_name_the_portable_engine_and_each_once(engines: list[str]) -> None:
    with pytest.raises(ValidationError):
        export.ExportParams.model_validate(settings().model_dump() | {"engines": engines})


def test_full_disk_is_a_sentence_and_leaves_nothing_half_written(large_model: Path, small_disk: dict[str, str], tmp_path: Path) -> None:
    code, said = run_export(large_model, tmp_path / "full", small_disk)
    assert code == 1, said
    assert "ERROR: cannot write" in said
    assert "Traceback" not in said
    assert sorted(file.name for file in (tmp_path / "full").iterdir() if not file.name.startswith((".mlflow", "mlflow"))) == ["params.yaml"]
