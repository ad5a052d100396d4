"""What goes in and out of the routes, as the OpenAPI document shows it."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from serving.inference.text import require_characters

Text = Annotated[str, StringConstraints(strict=True), AfterValidator(require_characters)]


class PredictRequest(BaseModel):
    """One text to classify."""

    model_config = ConfigDict(json_schema_extra={"example": {"text": "The battery lasts two days and the screen is lovely."}})

    text: Text = Field(description="the text")


class Prediction(BaseModel):
    """The answer: LABEL_<class id> and its probability."""

    model_config = ConfigDict(json_schema_extra={"example": {"label": "LABEL_1", "score": 0.9876}})

    label: str
    score: float = Field(ge=0, le=1)


class Health(BaseModel):
    """That the process is alive."""

    status: str


class Failure(BaseModel):
    """Why there is no answer, in a sentence; never with the text in it."""

    detail: str


PREDICT_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {"schema": PredictRequest.model_json_schema()},
        "application/x-www-form-urlencoded": {"schema": PredictRequest.model_json_schema()},
        "multipart/form-data": {"schema": PredictRequest.model_json_schema()},
    },
}
