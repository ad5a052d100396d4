"""`POST /predict` and `POST /predict/batch`: texts come in, labels and scores go out."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from serving.inference.labels import label_name
from serving.runtime.batching import Answers, Overloaded
from serving.web.auth import predict_key
from serving.web.bodies import read_text, read_texts, text_problem
from serving.web.errors import BAD_KEY, BAD_TEXT, BUSY, RETRY_AFTER
from serving.web.schemas import (
    BatchPrediction,
    BatchRequest,
    DetailedPrediction,
    Prediction,
    PredictRequest,
    answer_examples,
    request_body,
)
from serving.web.state import server_of

CONTENT_TYPES = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
Detail = Annotated[bool, Query(description="add class name, all scores, uncertain, truncated, request id and model")]

routes = APIRouter(prefix="/predict", dependencies=[Depends(predict_key)], responses=BAD_TEXT | BUSY | BAD_KEY)


@routes.post(
    "",
    response_model=DetailedPrediction | Prediction,
    responses=answer_examples({"by default": Prediction, "with detail=true": DetailedPrediction}),
    openapi_extra=request_body(*CONTENT_TYPES, model=PredictRequest),
    summary="Classify one text",
)
async def predict(request: Request, *, detail: Detail = False) -> Response:
    """Answer with `LABEL_<class id>` and the probability of that class."""
    answers = await _classify(request, [await read_text(request)])
    return JSONResponse(_result(request, answers, 0, detail=detail))


@routes.post(
    "/batch",
    response_model=BatchPrediction,
    openapi_extra=request_body("application/json", model=BatchRequest),
    summary="Classify several texts",
)
async def predict_batch(request: Request, *, detail: Detail = False) -> Response:
    """Answer each text of `texts` in order. A text that cannot be classified gets an `error` at its index; the others get answers."""
    texts = await read_texts(request)
    problems = [text_problem(text, server_of(request).settings.max_characters) for text in texts]
    answers = await _classify(request, [text for text, problem in zip(texts, problems, strict=True) if problem is None])
    rows = iter(range(len(answers.predictions.label_ids)))
    results = [{"error": problem} if problem else _result(request, answers, next(rows), detail=detail) for problem in problems]
    return JSONResponse({"results": results})


async def _classify(request: Request, texts: list[Any]) -> Answers:
    """Wait for the answers; raise 503 if the queue is full or the time is up."""
    server = server_of(request)
    try:
        async with asyncio.timeout(server.settings.request_timeout):
            return await server.batcher.predict(texts)
    except Overloaded:
        raise HTTPException(503, "too many texts wait for an answer: try again later", RETRY_AFTER) from None
    except TimeoutError:
        raise HTTPException(503, "the server could not answer in time: try again later", RETRY_AFTER) from None


def _result(request: Request, answers: Answers, row: int, *, detail: bool) -> dict[str, Any]:
    predictions, loaded = answers
    names = loaded.classifier.bundle.class_names
    label_id = int(predictions.label_ids[row])
    scores = predictions.probabilities[row].tolist()
    result: dict[str, Any] = {"label": label_name(label_id), "score": scores[label_id]}
    if detail:
        result |= {
            "class_name": names[label_id],
            "scores": dict(zip(names, scores, strict=True)),
            "uncertain": bool(predictions.uncertain[row]),
            "truncated": bool(predictions.truncated[row]),
            "request_id": request.state.request_id,
            "model": loaded.sha256,
        }
    return result
