"""Turn the trained model into the bundle that is evaluated and served: compressed, gated against torch, calibrated.

Reads: models/final, train and validation splits, the export section of params.yaml. Writes: models/serving (format in
serving/inference/bundle.py) and metrics/export.json. An engine that changes too many of torch's answers, or loses too much
accuracy, is left out and reported; ONNX Runtime in fp32, the portable one, must equal torch. Speeds are printed and go to
MLflow only: they decide nothing, and in a metrics file they would differ from run to run.
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
from stages.shared import command, params, tracking
from stages.shared.engines.onnx_file import write_onnx
from stages.shared.engines.parity import LOAD_TOLERANCE, SAME, Candidate, Checked, compare
from stages.shared.errors import StageError
from stages.shared.outputs import atomic_folder, write_metrics
from stages.shared.splits import read_split

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger("export")

MODEL, INT8 = "model.onnx", "model_int8.xml"
PARITY = 1e-4  # largest difference of a probability at which an fp32 engine equals torch
CHECKED_TEXTS = 2_000
CALIBRATION_TEXTS = 300
REFERENCE_TEXTS = 64

Name = Literal["openvino-int8", "openvino-bf16", "openvino-fp32", "onnxruntime-fp32"]


def _with_portable(engines: tuple[str, ...]) -> tuple[str, ...]:
    if PORTABLE not in engines or len(set(engines)) < len(engines):
        raise ValueError(f"must name each engine once, and {PORTABLE} among them")
    return engines


class ExportParams(params.Section):
    engines: Annotated[tuple[Name, ...], AfterValidator(_with_portable)]
    max_accuracy_drop: Annotated[float, Field(ge=0, lt=1)]
    max_flip_share: Annotated[float, Field(ge=0, lt=1)]
    smooth_quant_alphas: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=1)]
    uncertain_below: Annotated[float, Field(ge=0, le=1)]


class RedactParams(params.Section):
    """The param of preprocess that the service has to follow."""

    model_config = ConfigDict(extra="ignore")

    redact: tuple[Kind, ...]


@dataclass(frozen=True)
class Paths(command.Paths):
    model: Annotated[Path, "folder of the trained model"]
    train: Annotated[Path, "split, for texts to compare and to calibrate on"]
    validation: Annotated[Path, "split, for texts to compare on and to fit the temperature"]
    bundle: Annotated[Path, "folder to write"]
    metrics: Annotated[Path, "JSON to write"]


def run(settings: ExportParams, redact: tuple[Kind, ...], paths: Paths, store: tracking.Store) -> None:
    """Export to ONNX, compress, compare each engine with torch, write the bundle with those that pass.

    redact: the kinds of personal data that preprocess has taken out of the texts, and the service will.
    """
    model, tokenizer = load_model(paths.model)
    checked = checked_texts(model, tokenizer, paths)
    with atomic_folder(paths.bundle) as draft_dir:
        write_onnx(model, tokenizer.model_max_length, draft_dir / MODEL)
        shutil.copyfile(paths.model / TOKENIZER, draft_dir / TOKENIZER)
        bundle = describe(draft_dir, model, tokenizer, settings, redact, paths)
        candidates = [make_candidate(name, bundle, checked, settings, paths.train) for name in engines_here(settings.engines)]
        bundle, report = keep_faithful(bundle, candidates, checked, settings)
        write_manifest(bundle)
    metrics = {
        "checked_texts": len(checked.texts),
        "accuracy_texts": checked.validation,
        "accuracy_decides": resolves(checked, settings),
        "served": bundle.engines[0].name,
        "torch": checked.accuracy_and_f1(checked.expected),
        "engines": report,
    }
    write_metrics(paths.metrics, metrics)
    speeds = {f"export.texts_per_second.{candidate.spec.name}": candidate.texts_per_second for candidate in candidates}
    tracking.add_to_model(store, "export", bundle.lineage["model_sha256"], paths.metrics, measured=speeds)


def load_model(model_dir: Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load the trained model for inference in fp32, and its tokenizer. Raises StageError for a folder without one."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    if not (model_dir / "config.json").is_file():
        raise StageError(f"{model_dir} holds no model: run dvc repro train")
    # Of the ways to attend, OpenVINO makes one operation of the plain one only.
    model = AutoModelForSequenceClassification.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="eager")
    return model.eval(), AutoTokenizer.from_pretrained(model_dir)


def checked_texts(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", paths: Paths) -> Checked:
    """Read up to 2,000 texts, validation first, and let torch answer them."""
    import pandas as pd

    validation = read_split(paths.validation)[:CHECKED_TEXTS]
    rows = pd.concat([validation, read_split(paths.train)])[:CHECKED_TEXTS]
    texts = rows["text"].tolist()
    return Checked(texts, rows["label"].to_numpy(), torch_probabilities(model, tokenizer, texts), len(validation))


def torch_probabilities(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> "np.ndarray":
    """Return torch's probabilities in fp32, (texts, classes)."""
    import numpy as np
    import torch

    from stages.shared.batches import tokenize

    probabilities = np.zeros((len(texts), model.config.num_labels))
    with torch.inference_mode():
        for batch in tokenize(texts, None, tokenizer).sorted_batches(32, tokenizer.pad_token_id):
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            probabilities[batch["row"]] = logits.double().softmax(dim=-1).numpy()
    return probabilities


def describe(
    folder: Path,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    settings: ExportParams,
    redact: tuple[Kind, ...],
    paths: Paths,
) -> Bundle:
    """Describe the bundle that the folder will be, without engines yet."""
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


def engines_here(wanted: tuple[str, ...]) -> list[str]:
    """Return the wanted engines that this kind of CPU can have; without INT8 instructions fp32 is faster, and INT8 goes last."""
    possible = [name for name in wanted if not name.startswith("openvino") or platform.machine() in ("x86_64", "AMD64")]
    ordered = possible if multiplies_int8() else sorted(possible, key=lambda name: name.endswith("int8"))
    if ordered != possible:
        log.info("this CPU has no INT8 instructions (VNNI, AMX), with which INT8 would be faster than fp32: INT8 is the last choice")
    return ordered


def make_candidate(name: str, bundle: Bundle, checked: Checked, settings: ExportParams, train_file: Path) -> Candidate:
    """Build the engine in the bundle's folder and compare it with torch."""
    runtime, _, precision = name.partition("-")
    if precision == "int8":
        return quantized_candidate(name, bundle, checked, settings, train_file)
    hint = {"fp32": "f32", "bf16": "bf16"}[precision]
    return compare(EngineSpec(name, runtime, (MODEL,), hint, 1.0, LOAD_TOLERANCE, SAME), bundle, checked)


def quantized_candidate(name: str, bundle: Bundle, checked: Checked, settings: ExportParams, train_file: Path) -> Candidate:
    """Quantize with each smooth-quant alpha; keep the one that changes the fewest answers, and of equals the smallest mean shift."""
    from serving.inference.tokens import TextEncoder
    from stages.shared.engines.int8 import quantize

    texts = read_split(train_file)["text"][-CALIBRATION_TEXTS:].tolist()  # the last: the check takes the first
    token_ids = TextEncoder(bundle).encode(texts).token_ids
    weights = Path(INT8).with_suffix(".bin").name
    best: Candidate | None = None
    for alpha in settings.smooth_quant_alphas:
        trial = replace(bundle, folder=bundle.folder / "trial")
        trial.folder.mkdir()
        shutil.copyfile(bundle.folder / TOKENIZER, trial.folder / TOKENIZER)
        quantize(bundle.folder / MODEL, token_ids, alpha, trial.folder / INT8)
        candidate = compare(EngineSpec(name, "openvino", (INT8, weights), "f32", 1.0, LOAD_TOLERANCE, SAME), trial, checked)
        candidate.figures["smooth_quant_alpha"] = alpha
        log.info("smooth-quant alpha %g: %s", alpha, candidate)
        if best is None or _faithfulness(candidate) < _faithfulness(best):
            best = candidate
            for file in candidate.spec.files:
                (trial.folder / file).replace(bundle.folder / file)
        shutil.rmtree(trial.folder)
    assert best is not None
    return best


def _faithfulness(candidate: Candidate) -> tuple[float, float]:
    return candidate.figures["flip_share"], candidate.figures["mean_shift"]


def resolves(checked: Checked, settings: ExportParams) -> bool:
    """Tell whether the validation split is large enough for the accuracy limit to mean anything: one text weighs less than it."""
    return checked.validation * settings.max_accuracy_drop >= 1


def refusal(candidate: Candidate, checked: Checked, settings: ExportParams) -> str | None:
    """Say why an engine is left out, or None."""
    figures = candidate.figures
    if candidate.spec.name.endswith("fp32"):
        if not figures["largest_shift"] <= PARITY:  # also where it is no number
            return f"differs from torch by {figures['largest_shift']:.1e} (an fp32 engine may by {PARITY:g})"
        return None
    if not figures["flip_share"] <= settings.max_flip_share or not figures["largest_shift"] <= 1:
        return f"changes {figures['flip_share']:.2%} of torch's answers (export.max_flip_share {settings.max_flip_share:.2%})"
    drop = checked.accuracy_and_f1(checked.expected)["accuracy"] - figures["accuracy"]
    if resolves(checked, settings) and drop > settings.max_accuracy_drop + 1e-9:  # a float may be more than what it stands for
        return f"loses {100 * drop:.2f} points of accuracy (export.max_accuracy_drop {100 * settings.max_accuracy_drop:.2f})"
    return None


def keep_faithful(
    bundle: Bundle, candidates: list[Candidate], checked: Checked, settings: ExportParams
) -> tuple[Bundle, dict[str, dict[str, Any]]]:
    """Return the bundle with the engines that pass, calibrated, and the figures of all. Raises StageError without the portable one."""
    import numpy as np

    from stages.shared.calibration import at_temperature, expected_calibration_error, fit_temperature

    if not resolves(checked, settings):
        log.info(
            "%d validation texts cannot resolve an accuracy drop of %.2f points: the share of changed answers decides alone",
            checked.validation, 100 * settings.max_accuracy_drop,
        )  # fmt: skip
    chosen = np.linspace(0, len(checked.texts) - 1, min(REFERENCE_TEXTS, len(checked.texts))).round().astype(int)
    truth = checked.labels[: checked.validation]
    report: dict[str, dict[str, Any]] = {}
    kept, reference = [], {}
    for candidate in candidates:
        name, why = candidate.spec.name, refusal(candidate, checked, settings)
        report[name] = {**candidate.figures, "kept": why is None}
        log.info("%s: %s, %s", name, candidate, "kept" if why is None else f"left out, for it {why}")
        if why is not None:
            report[name]["left_out"] = why
            continue
        answers = candidate.probabilities[: checked.validation]
        temperature = float(f"{fit_temperature(answers, truth):.4f}")
        report[name] |= {
            "temperature": temperature,
            "ece_before": expected_calibration_error(answers, truth),
            "ece_after": expected_calibration_error(at_temperature(answers, temperature), truth),
        }
        kept.append(candidate.spec_at(temperature))
        reference[name] = at_temperature(candidate.probabilities[chosen], temperature).round(6).tolist()
    if PORTABLE not in reference:
        raise StageError(f"the exported model is not the trained one: {PORTABLE} {report[PORTABLE]['left_out']}")
    for file in {file for candidate in candidates for file in candidate.spec.files} - {file for spec in kept for file in spec.files}:
        (bundle.folder / file).unlink()
    texts = tuple(checked.texts[row] for row in chosen)
    return replace(bundle, engines=tuple(kept), reference_texts=texts, reference_probabilities=reference), report


def main() -> None:
    """Wire flags and params."""
    with command.stage(__doc__, Paths) as paths:
        settings = params.load(paths.params, "export", ExportParams)
        redact = params.load(paths.params, "preprocess", RedactParams).redact
        run(settings, redact, paths, tracking.open_store())


if __name__ == "__main__":
    main()
