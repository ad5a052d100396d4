"""The stage export: turn the trained model into the bundle that `evaluate` scores and the server loads.

Reads: models/final, the train and validation splits, and the export section of params.yaml.
Writes: models/serving, whose format serving/inference/bundle.py describes, and metrics/export.json; all figures in data/engines.json.

The portable engine, ONNX Runtime in fp32, must equal torch. `export` leaves out any other engine that changes too many answers of torch
or loses too much accuracy. Speeds go to the log and to MLflow only, because in a metrics file they would differ from run to run.
"""

import json
import logging
import platform
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from serving.inference.bundle import PORTABLE, TOKENIZER, Bundle, EngineSpec, write_manifest
from serving.inference.cpu import multiplies_int8
from serving.inference.hashing import file_sha256
from serving.inference.redaction import Kind
from stages.shared import command, mlflow_store, params, tracking
from stages.shared.engines.check_set import CheckSet, read_check_set
from stages.shared.engines.onnx_file import write_onnx
from stages.shared.engines.parity import FP32_BATCH_BOUND, LOAD_TOLERANCE, Candidate, compare_with_torch
from stages.shared.errors import StageError
from stages.shared.outputs import atomic_folder, write_metrics
from stages.shared.splits import read_split

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger("export")

COMPARED = ("served", "served_accuracy", "served_flip_share")
MODEL, INT8 = "model.onnx", "model_int8.xml"
FP32_MAX_SHIFT = 1e-4  # largest difference of a probability at which an fp32 engine equals torch
CALIBRATION_TEXTS = 300
REFERENCE_TEXTS = 64

EngineName = Literal["openvino-int8", "openvino-bf16", "openvino-fp32", "onnxruntime-fp32"]


def _with_portable(engines: tuple[str, ...]) -> tuple[str, ...]:
    if PORTABLE not in engines or len(set(engines)) < len(engines):
        raise ValueError(f"must name each engine once, and must contain {PORTABLE}")
    return engines


class ExportParams(params.Section):
    """The params of export."""

    engines: Annotated[tuple[EngineName, ...], AfterValidator(_with_portable)]
    """Engines of the bundle, in order of preference. OpenVINO is for x86 CPUs. On a CPU without VNNI or AMX, INT8 comes last.
    `onnxruntime-fp32` is the portable engine, which every bundle must have."""
    max_accuracy_drop: Annotated[float, Field(ge=0, lt=1)]
    """Largest loss of validation accuracy against torch; the bundle leaves out an engine that loses more. It decides only if one text
    weighs no more than this share."""
    max_flip_share: Annotated[float, Field(ge=0, lt=1)]
    """Largest share of torch's answers that an engine may change; the bundle leaves out an engine that changes more."""
    smooth_quant_alphas: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=1)]
    """Candidates for the strength of smooth-quant in INT8. `export` tries all and keeps the one that changes the fewest answers."""
    uncertain_below: Annotated[float, Field(ge=0, le=1)]
    """Score below which an answer is marked uncertain."""


class RedactParams(params.Section):
    """The param of preprocess that the bundle also needs."""

    model_config = ConfigDict(extra="ignore")

    redact: tuple[Kind, ...]


@dataclass(frozen=True)
class Paths(command.Paths):
    model: Annotated[Path, "folder of the trained model"]
    train: Annotated[Path, "train split: texts to compare with torch and to calibrate INT8 on"]
    validation: Annotated[Path, "validation split: texts to compare with torch and to fit the temperature on"]
    bundle: Annotated[Path, "folder to write"]
    metrics: Annotated[Path, "JSON to write: the figures that one compares"]
    details: Annotated[Path, "JSON to write: all figures"]


def run(settings: ExportParams, redact: tuple[Kind, ...], paths: Paths, store: mlflow_store.Store) -> None:
    """Export to ONNX, compress, compare each engine with torch, and write a bundle with the engines that pass.

    redact: kinds of personal data that `preprocess` has replaced in the texts, and that the server will replace.
    """
    model, tokenizer = load_model(paths.model)
    check_set = read_check_set(model, tokenizer, paths.train, paths.validation)
    with atomic_folder(paths.bundle) as draft_dir:
        write_onnx(model, tokenizer.model_max_length, draft_dir / MODEL)
        shutil.copyfile(paths.model / TOKENIZER, draft_dir / TOKENIZER)
        bundle = describe(draft_dir, model, tokenizer, settings, redact, paths)
        candidates = [make_candidate(name, bundle, check_set, settings, paths.train) for name in possible_engines(settings.engines)]
        bundle, report = keep_faithful(bundle, candidates, check_set, settings)
        write_manifest(bundle)
    served = bundle.engines[0].name
    metrics = {
        "checked_texts": len(check_set.texts),
        "accuracy_texts": check_set.validation,
        "accuracy_decides": can_resolve_drop(check_set, settings),
        "served": served,
        "served_accuracy": report[served]["accuracy"],
        "served_flip_share": report[served]["flip_share"],
        "torch": check_set.accuracy_and_f1(check_set.expected),
        "engines": report,
    }
    write_metrics(paths.metrics, paths.details, metrics, COMPARED)
    speeds = {f"export.texts_per_second.{candidate.spec.name}": candidate.texts_per_second for candidate in candidates}
    tracking.add_to_model(store, "export", bundle.lineage["model_sha256"], paths.params, paths.details, measured=speeds)


def load_model(model_dir: Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load the trained model for inference in fp32, and its tokenizer. Raises StageError for a folder without a model."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    if not (model_dir / "config.json").is_file():
        raise StageError(f"{model_dir} contains no model: run `dvc repro train`")
    # OpenVINO fuses the operations of eager attention only.
    model = AutoModelForSequenceClassification.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="eager")
    return model.eval(), AutoTokenizer.from_pretrained(model_dir)


def describe(
    folder: Path,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    settings: ExportParams,
    redact: tuple[Kind, ...],
    paths: Paths,
) -> Bundle:
    """Return the bundle in the folder, without engines and reference texts."""
    origin = json.loads((paths.model / "lineage.json").read_text("utf-8"))
    return Bundle(
        folder=folder,
        class_names=tuple(model.config.id2label[number] for number in range(model.config.num_labels)),
        max_length=tokenizer.model_max_length,
        pad_token_id=tokenizer.pad_token_id,
        redact=redact,
        uncertain_below=settings.uncertain_below,
        engines=(),
        lineage={**origin, "model_sha256": file_sha256(paths.model / "model.safetensors")},
        reference_texts=(),
        reference_probabilities={},
    )


def possible_engines(wanted: tuple[str, ...]) -> list[str]:
    """Return the engines that work on this kind of CPU, in order of preference. INT8 comes last on a CPU without its instructions."""
    possible = [name for name in wanted if not name.startswith("openvino") or platform.machine() in ("x86_64", "AMD64")]
    ordered = possible if multiplies_int8() else sorted(possible, key=lambda name: name.endswith("int8"))
    if ordered != possible:
        log.info("this CPU has no INT8 instructions (VNNI, AMX), so INT8 is slower than fp32: it is the last choice")
    return ordered


def make_candidate(name: str, bundle: Bundle, check_set: CheckSet, settings: ExportParams, train_file: Path) -> Candidate:
    """Build the engine in the folder of the bundle, and compare it with torch."""
    runtime, _, precision = name.partition("-")
    if precision == "int8":
        return quantized_candidate(name, bundle, check_set, settings, train_file)
    hint = {"fp32": "f32", "bf16": "bf16"}[precision]
    spec = EngineSpec(name, runtime, (MODEL,), hint, 1.0, LOAD_TOLERANCE, FP32_BATCH_BOUND)
    return compare_with_torch(spec, bundle, check_set)


def quantized_candidate(name: str, bundle: Bundle, check_set: CheckSet, settings: ExportParams, train_file: Path) -> Candidate:
    """Quantize with each smooth-quant alpha. Keep the one that changes the fewest answers, and among equals has the least mean shift."""
    from serving.inference.tokens import BundleTokenizer
    from stages.shared.engines.int8 import quantize

    texts = read_split(train_file)["text"][-CALIBRATION_TEXTS:].tolist()  # the last ones, because the check set takes the first ones
    token_ids = BundleTokenizer(bundle).tokenize(texts).token_ids
    weights = Path(INT8).with_suffix(".bin").name
    best: Candidate | None = None
    for alpha in settings.smooth_quant_alphas:
        trial = replace(bundle, folder=bundle.folder / "trial")
        trial.folder.mkdir()
        shutil.copyfile(bundle.folder / TOKENIZER, trial.folder / TOKENIZER)
        quantize(bundle.folder / MODEL, token_ids, alpha, trial.folder / INT8)
        spec = EngineSpec(name, "openvino", (INT8, weights), "f32", 1.0, LOAD_TOLERANCE, FP32_BATCH_BOUND)
        candidate = compare_with_torch(spec, trial, check_set)
        candidate.figures["smooth_quant_alpha"] = alpha
        log.info("smooth-quant alpha %g: %s", alpha, candidate)
        if best is None or _distance(candidate) < _distance(best):
            best = candidate
            for file in candidate.spec.files:
                (trial.folder / file).replace(bundle.folder / file)
        shutil.rmtree(trial.folder)
    assert best is not None
    return best


def _distance(candidate: Candidate) -> tuple[float, float]:
    return candidate.figures["flip_share"], candidate.figures["mean_shift"]


def can_resolve_drop(check_set: CheckSet, settings: ExportParams) -> bool:
    """Return whether one validation text weighs no more than the accuracy limit. In a smaller split the limit means nothing."""
    return check_set.validation * settings.max_accuracy_drop >= 1


def refusal(candidate: Candidate, check_set: CheckSet, settings: ExportParams) -> str | None:
    """Return why the bundle must leave out an engine, or None."""
    figures = candidate.figures
    if candidate.spec.name.endswith("fp32"):
        if not figures["largest_shift"] <= FP32_MAX_SHIFT:  # true for NaN too
            return f"differs from torch by {figures['largest_shift']:.1e} (the limit of an fp32 engine is {FP32_MAX_SHIFT:g})"
        return None
    if not figures["flip_share"] <= settings.max_flip_share or not figures["largest_shift"] <= 1:
        return f"changes {figures['flip_share']:.2%} of torch's answers (export.max_flip_share allows {settings.max_flip_share:.2%})"
    drop = check_set.accuracy_and_f1(check_set.expected)["accuracy"] - figures["accuracy"]
    if can_resolve_drop(check_set, settings) and drop > settings.max_accuracy_drop + 1e-9:  # 1e-9: rounding of a drop of just the limit
        return f"loses {100 * drop:.2f} points of accuracy (export.max_accuracy_drop allows {100 * settings.max_accuracy_drop:.2f})"
    return None


def keep_faithful(
    bundle: Bundle, candidates: list[Candidate], check_set: CheckSet, settings: ExportParams
) -> tuple[Bundle, dict[str, dict[str, Any]]]:
    """Return the bundle with the engines that pass, calibrated, and the figures of all. Raises StageError without the portable engine."""
    import numpy as np

    from stages.shared.calibration import at_temperature

    if not can_resolve_drop(check_set, settings):
        log.info(
            "%d validation texts are too few to measure an accuracy drop of %.2f points: only the share of changed answers decides",
            check_set.validation, 100 * settings.max_accuracy_drop,
        )  # fmt: skip
    chosen = np.linspace(0, len(check_set.texts) - 1, min(REFERENCE_TEXTS, len(check_set.texts))).round().astype(int)
    report: dict[str, dict[str, Any]] = {}
    kept, reference = [], {}
    for candidate in candidates:
        name, reason = candidate.spec.name, refusal(candidate, check_set, settings)
        report[name] = {**candidate.figures, "kept": reason is None}
        log.info("%s: %s, %s", name, candidate, "kept" if reason is None else f"left out because it {reason}")
        if reason is not None:
            report[name]["left_out"] = reason
            continue
        report[name] |= calibrate(candidate, check_set)
        temperature = report[name]["temperature"]
        kept.append(candidate.spec_at(temperature))
        reference[name] = at_temperature(candidate.probabilities[chosen], temperature).round(6).tolist()
    if PORTABLE not in reference:
        reason = report[PORTABLE]["left_out"]
        raise StageError(f"the exported model is not the trained model, because {PORTABLE} {reason}: report this as a bug")
    for file in {file for candidate in candidates for file in candidate.spec.files} - {file for spec in kept for file in spec.files}:
        (bundle.folder / file).unlink()
    texts = tuple(check_set.texts[row] for row in chosen)
    return replace(bundle, engines=tuple(kept), reference_texts=texts, reference_probabilities=reference), report


def calibrate(candidate: Candidate, check_set: CheckSet) -> dict[str, float]:
    """Fit the temperature on the validation texts; return it with the calibration errors (ECE) before and after."""
    from stages.shared.calibration import at_temperature, expected_calibration_error, fit_temperature

    answers, truth = candidate.probabilities[: check_set.validation], check_set.labels[: check_set.validation]
    temperature = float(f"{fit_temperature(answers, truth):.4f}")
    return {
        "temperature": temperature,
        "ece_before": expected_calibration_error(answers, truth),
        "ece_after": expected_calibration_error(at_temperature(answers, temperature), truth),
    }


def main() -> None:
    """Read flags and params, then run the stage."""
    with command.stage(__doc__, Paths) as paths:
        settings = params.load(paths.params, "export", ExportParams)
        redact = params.load(paths.params, "preprocess", RedactParams).redact
        run(settings, redact, paths, mlflow_store.open_store())


if __name__ == "__main__":
    main()
