"""What comes into the routes and goes out of them, as the OpenAPI document shows it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from serving.inference.redaction import Kind
from serving.runtime.slot import LoadedBundle
from serving.tables.formats import MEDIA_TYPES


class PredictRequest(BaseModel):
    """One text to classify."""

    model_config = ConfigDict(json_schema_extra={"example": {"text": "The battery lasts two days and the screen is lovely."}})

    text: str = Field(strict=True, description="the text")


class BatchRequest(BaseModel):
    """Several texts to classify."""

    model_config = ConfigDict(json_schema_extra={"example": {"texts": ["Great value.", "It broke after a week."]}})

    texts: list[str]


class Prediction(BaseModel):
    """The answer: LABEL_<class id> and the probability of that class."""

    model_config = ConfigDict(json_schema_extra={"example": {"label": "LABEL_1", "score": 0.9876}})

    label: str
    score: float = Field(ge=0, le=1)


class DetailedPrediction(Prediction):
    """The answer with everything that the server knows about it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "label": "LABEL_1",
                "score": 0.9876,
                "class_name": "positive",
                "scores": {"negative": 0.0124, "positive": 0.9876},
                "uncertain": False,
                "truncated": False,
                "request_id": "5f0c…",
                "model": "9a1b…",
            }
        }
    )

    class_name: str
    scores: dict[str, float] = Field(description="probability of each class")
    uncertain: bool = Field(description="the score is below the threshold of the bundle")
    truncated: bool = Field(description="the text was longer than the model reads")
    request_id: str
    model: str = Field(description="sha256 of the bundle")


class TextFailure(BaseModel):
    """Why one text of several has no answer."""

    error: str


class BatchPrediction(BaseModel):
    """An answer or an error for each text, in the order of the texts."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"results": [{"label": "LABEL_1", "score": 0.9876}, {"error": "text is empty"}]}}
    )

    results: list[DetailedPrediction | Prediction | TextFailure]


class Health(BaseModel):
    """The process is alive, or ready."""

    model_config = ConfigDict(json_schema_extra={"example": {"status": "ok"}})

    status: str


class Model(BaseModel):
    """The bundle in use, and what it was made of."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "sha256": "9a1b…",
                "engine": "openvino-int8",
                "evaluated_engine": "openvino-int8",
                "classes": ["negative", "positive"],
                "max_length": 128,
                "redact": [],
                "uncertain_below": 0.6,
                "lineage": {"base": "41d0…", "train": "c27e…"},
            }
        }
    )

    sha256: str = Field(description="sha256 of the bundle")
    engine: str = Field(description="the engine in use on this machine")
    evaluated_engine: str = Field(description="the engine whose scores are in metrics/evaluate.json")
    classes: list[str] = Field(description="class names in id order")
    max_length: int = Field(description="how many tokens of a text the model reads")
    redact: tuple[Kind, ...] = Field(description="kinds of personal data that the server replaces before it classifies a text")
    uncertain_below: float
    lineage: dict[str, str] = Field(description="sha256 of each thing that the model was made of")


class Reload(BaseModel):
    """Which bundle to serve from now on."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"folder": "models/serving"}})

    folder: Path | None = Field(None, description="bundle folder on the server; without it, the server loads the folder in use again")


class Failure(BaseModel):
    """Why there is no answer. The message never contains the text."""

    detail: str


def request_body(*content_types: str, model: type[BaseModel], required: bool = True) -> dict[str, Any]:
    """Return the OpenAPI requestBody of a model that may have several content types."""
    schema = {"schema": model.model_json_schema()}
    return {"requestBody": {"required": required, "content": dict.fromkeys(content_types, schema)}}


def example_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the example of a model."""
    example: dict[str, Any] = model.model_json_schema()["example"]
    return example


def answer_examples(models: Mapping[str, type[BaseModel]]) -> dict[int | str, dict[str, Any]]:
    """Describe an answer that has several forms by an example of each. models: by a short name of the form."""
    examples = {name: {"summary": name, "value": example_of(model)} for name, model in models.items()}
    return {200: {"description": "the answer", "content": {"application/json": {"examples": examples}}}}


def file_body() -> dict[str, Any]:
    """Return the OpenAPI requestBody of a file, sent as the body or in a form."""
    form = {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}
    examples = {"csv": "text\nGreat value.\n", "tsv": "text\nGreat value.\n", "ndjson": '{"text": "Great value."}\n'}
    content: dict[str, Any] = {
        media_type: {"schema": {"type": "string", "example": examples[name]}} for name, media_type in MEDIA_TYPES.items()
    }
    return {"requestBody": {"required": True, "content": content | {"multipart/form-data": {"schema": form}}}}


def describe_bundle(loaded: LoadedBundle) -> Model:
    """Describe a bundle for a client."""
    bundle = loaded.classifier.bundle
    return Model(
        sha256=loaded.sha256,
        engine=loaded.classifier.spec.name,
        evaluated_engine=bundle.engines[0].name,
        classes=list(bundle.class_names),
        max_length=bundle.max_length,
        redact=bundle.redact,
        uncertain_below=bundle.uncertain_below,
        lineage=bundle.lineage,
    )
