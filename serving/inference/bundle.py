"""The bundle: the one folder that `evaluate` scores and the server loads.

It holds the tokenizer, the model files of each engine, and the manifest bundle.json. The manifest has a sha256 of each file, the class
names, and reference texts with the probabilities of each engine. Each load classifies these texts again and compares the probabilities.
`write_manifest` takes a Bundle, and `read_bundle` checks a folder and returns one.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, ValidationError
from pydantic.dataclasses import dataclass

from serving.inference.errors import BundleBroken
from serving.inference.hashing import file_sha256
from serving.inference.redaction import Kind

FORMAT = 3
PORTABLE = "onnxruntime-fp32"  # the engine of every bundle: it works on any machine, and `export` proves that it equals torch
MANIFEST = "bundle.json"
TOKENIZER = "tokenizer.json"
RESTORE = "run `dvc repro`"
REBUILD = "build the bundle again with `dvc repro train && dvc repro -f -s export`"  # where DVC sees no change
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, config={"extra": "forbid"})
class EngineSpec:
    """Say how to start one engine.

    files: the runtime opens the first one, which refers to the others. precision: hint for the runtime (f32, bf16).
    temperature: divides the logits. tolerance: limit of a load for the difference of a probability from the reference answers.
    batch_bound: estimate of how much a probability may differ between a text alone and the same text in a batch.
    """

    name: str
    runtime: str
    files: Annotated[tuple[str, ...], Field(min_length=1)]
    precision: str
    temperature: Positive
    tolerance: NonNegative
    batch_bound: NonNegative


@dataclass(frozen=True, config={"extra": "forbid"})
class Bundle:
    """The content of bundle.json, and its folder.

    redact: kinds of personal data that are replaced in every text. uncertain_below: an answer with a lower score is uncertain.
    engines: in order of preference. reference_probabilities: of the reference texts, (texts, classes) for each engine.
    """

    folder: Path
    class_names: Annotated[tuple[str, ...], Field(min_length=2)]
    max_length: Annotated[int, Field(ge=3)]  # tokens: the first, the last, and at least one of the text
    pad_token_id: NonNegativeInt
    redact: tuple[Kind, ...]
    uncertain_below: NonNegative
    engines: tuple[EngineSpec, ...]
    lineage: dict[str, str]
    reference_texts: tuple[str, ...]
    reference_probabilities: dict[str, list[list[float]]]

    @property
    def sha256(self) -> str:
        """The hash of the bundle: of its manifest, which has the hashes of all files."""
        return file_sha256(self.folder / MANIFEST)


def write_manifest(bundle: Bundle) -> None:
    """Write bundle.json into the folder, where the other files exist already."""
    names = sorted({TOKENIZER, *(file for engine in bundle.engines for file in engine.files)})
    manifest = {
        "format": FORMAT,
        "class_names": bundle.class_names,
        "max_length": bundle.max_length,
        "pad_token_id": bundle.pad_token_id,
        "redact": bundle.redact,
        "uncertain_below": bundle.uncertain_below,
        "engines": [asdict(engine) for engine in bundle.engines],
        "files": {name: file_sha256(bundle.folder / name) for name in names},
        "lineage": bundle.lineage,
        "reference_texts": bundle.reference_texts,
        "reference_probabilities": bundle.reference_probabilities,
    }
    (bundle.folder / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n", "utf-8")


def read_bundle(folder: Path) -> Bundle:
    """Read and check a bundle. Raise BundleBroken if it is missing or damaged, or has another format."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        raise BundleBroken(f"{folder} holds no model bundle: {RESTORE}, or name the right folder in SENTIMENT_MODEL") from None
    except (OSError, ValueError) as error:
        raise BundleBroken(f"{folder / MANIFEST} cannot be read ({error}): {RESTORE}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleBroken(f"{folder} does not have bundle format {FORMAT}: {RESTORE}")
    try:
        _check_files(folder, manifest["files"])
        bundle = Bundle(folder=folder, **{name: value for name, value in manifest.items() if name not in ("format", "files")})
        _check_complete(bundle, manifest["files"])
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleBroken(f"{folder / MANIFEST} is damaged ({error}): {RESTORE}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise BundleBroken(f"{folder / MANIFEST} is damaged ({key}: {first['msg']}): {RESTORE}") from None
    return bundle


def _check_complete(bundle: Bundle, files: dict[str, str]) -> None:
    for name in (TOKENIZER, *(file for engine in bundle.engines for file in engine.files)):
        if name not in files:
            raise BundleBroken(f"{bundle.folder / MANIFEST} has no sha256 of {name!r}: {RESTORE}")
    for engine in bundle.engines:
        if engine.name not in bundle.reference_probabilities:
            raise BundleBroken(f"{bundle.folder / MANIFEST} has no reference answers of {engine.name}: {RESTORE}")


def _check_files(folder: Path, files: dict[str, str]) -> None:
    for name, expected in files.items():
        if Path(name).name != name:
            raise BundleBroken(f"{folder / MANIFEST} names {name!r}, which is outside the folder: {RESTORE}")
        if not (folder / name).is_file():
            raise BundleBroken(f"{folder / name} is missing: {RESTORE}")
        if file_sha256(folder / name) != expected:
            raise BundleBroken(f"{folder / name} is not the file that was evaluated (its sha256 differs): {RESTORE}")
