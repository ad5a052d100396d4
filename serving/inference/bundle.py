"""The bundle: one self-contained, checked folder that is evaluated, served and shipped.

In it: the tokenizer, the model files of each engine, and bundle.json with a sha256 for every file, the class names, and
reference texts with each engine's own answers, by which a load on another machine proves that it answers the same.
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
PORTABLE = "onnxruntime-fp32"  # the engine that every bundle has
MANIFEST = "bundle.json"
TOKENIZER = "tokenizer.json"
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, config={"extra": "forbid"})
class EngineSpec:
    """How to start one engine.

    files: the first is what the runtime opens, the others belong to it. precision: hint for the runtime (f32, bf16).
    temperature: divides the logits. tolerance: largest difference of a probability from the reference answers at a load.
    batch_bound: estimate of how far a probability may differ between a text alone and among others.
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
    """What bundle.json says.

    redact: kinds of personal data that are exchanged for tokens. uncertain_below: a lower score is marked as uncertain. engines: in
    order of preference. reference: texts, and per engine their probabilities.
    """

    folder: Path
    class_names: Annotated[tuple[str, ...], Field(min_length=2)]
    max_length: Annotated[int, Field(ge=3)]  # first and last token, and one of the text
    pad_token_id: NonNegativeInt
    redact: tuple[Kind, ...]
    uncertain_below: NonNegative
    engines: tuple[EngineSpec, ...]
    lineage: dict[str, str]
    reference_texts: tuple[str, ...]
    reference_probabilities: dict[str, list[list[float]]]

    @property
    def portable(self) -> EngineSpec:
        """The fp32 engine that runs everywhere and that export proved equal to torch."""
        return next(engine for engine in self.engines if engine.name == PORTABLE)

    @property
    def sha256(self) -> str:
        """The one hash of the bundle: that of its manifest, which holds those of all files."""
        return file_sha256(self.folder / MANIFEST)


def write_manifest(bundle: Bundle) -> None:
    """Write bundle.json beside the files that are in the folder already."""
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
    """Read and check a bundle; raise BundleBroken where it is missing, damaged, or of another format."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        raise BundleBroken(f"{folder} holds no model bundle: run `dvc repro`, or name the right folder in SENTIMENT_MODEL") from None
    except (OSError, ValueError) as error:
        raise BundleBroken(f"{folder / MANIFEST} cannot be read ({error}): run `dvc checkout` or `dvc repro`") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleBroken(f"{folder} is a bundle of another format than {FORMAT}: build it with this version (`dvc repro export`)")
    try:
        _check_files(folder, manifest["files"])
        bundle = Bundle(folder=folder, **{name: value for name, value in manifest.items() if name not in ("format", "files")})
        _check_complete(bundle, manifest["files"])
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleBroken(f"{folder / MANIFEST} is damaged ({error}): run `dvc checkout` or `dvc repro`") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BundleBroken(f"{folder / MANIFEST} is damaged ({place}: {first['msg']}): run `dvc checkout` or `dvc repro`") from None
    return bundle


def _check_complete(bundle: Bundle, files: dict[str, str]) -> None:
    for name in (TOKENIZER, *(file for engine in bundle.engines for file in engine.files)):
        if name not in files:
            raise BundleBroken(f"{bundle.folder / MANIFEST} has no sha256 of {name!r}: build the bundle again")
    for engine in bundle.engines:
        if engine.name not in bundle.reference_probabilities:
            raise BundleBroken(f"{bundle.folder / MANIFEST} has no reference answers of {engine.name}: build the bundle again")


def _check_files(folder: Path, files: dict[str, str]) -> None:
    for name, expected in files.items():
        if Path(name).name != name:
            raise BundleBroken(f"{folder / MANIFEST} names a file outside the bundle: {name!r}")
        if not (folder / name).is_file():
            raise BundleBroken(f"{folder / name} is missing: run `dvc checkout` or `dvc repro`")
        if file_sha256(folder / name) != expected:
            raise BundleBroken(
                f"{folder / name} is not the file that was evaluated (its sha256 differs): run `dvc checkout` or `dvc repro`"
            )
