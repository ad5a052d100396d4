"""Turn the trained model into the bundle that is evaluated and served, and prove that it answers the same.

Reads: models/final, train and validation splits, the export section of params.yaml. Writes: models/serving (format in
serving/inference/bundle.py) and metrics/export.json. An engine that differs from torch by more than the params allow is
left out; ONNX Runtime in fp32, the portable one, must pass.
"""

import json
import logging
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from serving.inference.bundle import TOKENIZER, Bundle, EngineSpec, write_manifest
from serving.inference.hashing import file_sha256
from stages.shared import command, params, tables, tracking
from stages.shared.errors import StageError
from stages.shared.outputs import whole_folder, write_metrics

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger("export")

MODEL = "model.onnx"
OPSET = 20
CHECKED_TEXTS = 2_000  # validation texts first, then training texts
REFERENCE_TEXTS = 64
LOAD_TOLERANCE = 1e-3  # of a probability, between two machines of the same engine and precision
PORTABLE = "onnxruntime"


def _with_portable(engines: tuple[str, ...]) -> tuple[str, ...]:
    if PORTABLE not in engines or len(set(engines)) < len(engines):
        raise ValueError(f"must name each engine once, and {PORTABLE} among them")
    return engines


class ExportParams(params.Section):
    engines: Annotated[tuple[Literal["openvino", "onnxruntime"], ...], AfterValidator(_with_portable)]
    max_difference: Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Paths(command.Paths):
    model: Annotated[Path, "folder of the trained model"]
    train: Annotated[Path, "split, for texts to compare on"]
    validation: Annotated[Path, "split, for texts to compare on"]
    bundle: Annotated[Path, "folder to write"]
    metrics: Annotated[Path, "JSON to write"]


def run(settings: ExportParams, paths: Paths, store: tracking.Store) -> None:
    """Export to ONNX, compare each engine with torch, write the bundle with the engines that pass."""
    model, tokenizer = load_model(paths.model)
    texts = checked_texts(paths.validation, paths.train)
    expected = torch_probabilities(model, tokenizer, texts)
    with whole_folder(paths.bundle) as draft_dir:
        write_onnx(model, tokenizer.model_max_length, draft_dir / MODEL)
        shutil.copyfile(paths.model / TOKENIZER, draft_dir / TOKENIZER)
        bundle = describe(draft_dir, model, tokenizer, settings, paths)
        bundle, report = keep_equal_engines(bundle, texts, expected, settings.max_difference)
        write_manifest(bundle)
    write_metrics(paths.metrics, {"checked_texts": len(texts), "served": bundle.engines[0].name, "engines": report})
    tracking.add_to_model(store, "export", bundle.lineage["model_sha256"], paths.metrics)


def load_model(model_dir: Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load the trained model for inference in fp32, and its tokenizer."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(model_dir, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(model_dir)


def checked_texts(validation_file: Path, train_file: Path) -> list[str]:
    """Return the texts on which engines are compared with torch."""
    texts = [*tables.read_split(validation_file)["text"], *tables.read_split(train_file)["text"]]
    return texts[:CHECKED_TEXTS]


def torch_probabilities(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> "np.ndarray":
    """Return torch's probabilities in fp32, (texts, classes)."""
    import numpy as np
    import torch

    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    probabilities = np.zeros((len(texts), model.config.num_labels))
    for start in range(0, len(order), 32):
        rows = order[start : start + 32]
        encoded = tokenizer(
            [texts[row] for row in rows],
            truncation=True,
            max_length=tokenizer.model_max_length,
            padding=True,
            return_tensors="pt",
            return_token_type_ids=False,
        )
        with torch.inference_mode():
            probabilities[rows] = model(**encoded).logits.double().softmax(dim=-1).numpy()
    return probabilities


def write_onnx(model: "PreTrainedModel", max_length: int, file: Path) -> None:
    """Export to one fp32 file with dynamic batch and length; equal weights give equal bytes, with no path of this machine in it."""
    import onnx
    import torch

    logging.getLogger("torch.onnx._internal.exporter").setLevel(logging.ERROR)  # speaks of torchvision, which we have not

    class LogitsOnly(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
            return logits

    # Two tensors: one for both inputs would be traced as one input.
    example = (torch.ones((2, 8), dtype=torch.int64), torch.ones((2, 8), dtype=torch.int64))
    dynamic = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=max_length)}
    traced = torch.export.export(
        LogitsOnly().eval(), example, dynamic_shapes={"input_ids": dynamic, "attention_mask": dynamic}, strict=False
    )
    torch.onnx.export(
        traced,
        (),
        file,
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        opset_version=OPSET,
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    graph = onnx.load(file)
    for part in (
        graph,
        graph.graph,
        *graph.graph.node,
        *graph.functions,
        *(node for function in graph.functions for node in function.node),
    ):
        del part.metadata_props[:]  # stack traces
    for node in graph.graph.node:
        node.doc_string = ""
    del graph.graph.value_info[:]
    onnx.save(graph, file)


def describe(folder: Path, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", settings: ExportParams, paths: Paths) -> Bundle:
    """Describe the bundle with all engines that the params name and this kind of CPU can have."""
    names = [name for name in settings.engines if name != "openvino" or platform.machine() in ("x86_64", "AMD64")]
    origin = json.loads((paths.model / "lineage.json").read_text("utf-8"))
    return Bundle(
        folder=folder,
        class_names=tuple(model.config.id2label[number] for number in range(model.config.num_labels)),
        max_length=tokenizer.model_max_length,
        pad_token_id=tokenizer.pad_token_id,
        engines=tuple(EngineSpec(f"{name}-fp32", name, MODEL, "f32", 1.0, LOAD_TOLERANCE) for name in names),
        lineage={**origin, "model_sha256": file_sha256(paths.model / "model.safetensors")},
        reference_texts=(),
        reference_probabilities={},
    )


def keep_equal_engines(bundle: Bundle, texts: list[str], expected: "np.ndarray", limit: float) -> tuple[Bundle, dict[str, Any]]:
    """Compare each engine with torch; return the bundle with those within the limit, and the figures of all."""
    from dataclasses import replace

    import numpy as np

    from serving.inference.classifier import Classifier
    from serving.inference.engines import start_engine

    chosen = np.linspace(0, len(texts) - 1, min(REFERENCE_TEXTS, len(texts))).round().astype(int)
    report: dict[str, Any] = {}
    kept, reference = [], {}
    for spec in bundle.engines:
        actual = Classifier(bundle, spec, start_engine(spec, bundle.folder, None)).predict(texts).probabilities
        difference = float(np.abs(actual - expected).max())
        flips = int((actual.argmax(axis=1) != expected.argmax(axis=1)).sum())
        passed = difference <= limit
        report[spec.name] = {"largest_difference": difference, "flips": flips, "kept": passed}
        log.info("%s: largest difference from torch %.1e, %d flips, %s", spec.name, difference, flips, "kept" if passed else "left out")
        if passed:
            kept.append(spec)
            reference[spec.name] = actual[chosen].round(6).tolist()
    if not any(spec.runtime == PORTABLE for spec in kept):
        raise StageError(f"the exported model differs from torch by more than {limit:g} (export.max_difference): {report}")
    return replace(
        bundle, engines=tuple(kept), reference_texts=tuple(texts[row] for row in chosen), reference_probabilities=reference
    ), report


def main() -> None:
    """Wire flags and params."""
    with command.stage(__doc__, Paths) as paths:
        settings = params.load(paths.params, "export", ExportParams)
        run(settings, paths, tracking.open_store())


if __name__ == "__main__":
    main()
