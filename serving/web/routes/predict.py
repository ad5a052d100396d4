"""`POST /predict` and `POST /predict/batch`: texts come in, and labels with their scores go out."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from serving.inference.labels import label_name
from serving.runtime.batching import Answered, Overloaded
from serving.web.auth import predict_key
from serving.web.bodies import read_text, read_texts, why_not
from serving.web.errors import BAD_BODY, BUSY, NO_KEY, RETRY_AFTER
from serving.web.schemas import BatchPrediction, BatchRequest, DetailedPrediction, Prediction, PredictRequest, request_body
from serving.web.state import server_of

FORMS = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")

Detail = Annotated[bool, Query(description="add class name, all scores, uncertain, truncated, request id, model")]


routes = APIRouter(prefix="/predict", dependencies=[Depends(predict_key)], responses=BAD_BODY | BUSY | NO_KEY)


@routes.post(
    "",
    response_model=DetailedPrediction | Prediction,
    openapi_extra=request_body(*FORMS, model=PredictRequest),
    summary="Classify one text",
)
async def predict(request: Request, *, detail: Detail = False) -> Response:
    """Answer with `LABEL_<class id>` and the probability of that class."""
    answered = await _answer(request, [await read_text(request)])
    return JSONResponse(_result(request, answered, 0, detail=detail))


@routes.post(
    "/batch",
    response_model=BatchPrediction,
    openapi_extra=request_body("application/json", model=BatchRequest),
    summary="Classify several texts",
)
async def predict_batch(request: Request, *, detail: Detail = False) -> Response:
    """Answer each text of `texts` in order; one that cannot be classified is reported at its place, the others are answered."""
    texts = await read_texts(request)
    problems = [why_not(text, server_of(request).settings.max_characters) for text in texts]
    answered = await _answer(request, [text for text, problem in zip(texts, problems, strict=True) if problem is None])
    rows = iter(range(len(answered.predictions.label_ids)))
    results = [{"error": problem} if problem else _result(request, answered, next(rows), detail=detail) for problem in problems]
    return JSONResponse({"results": results})


async def _answer(request: Request, texts: list[Any]) -> Answered:
    """Wait for the answers; raise 503 where the queue is full or the time is up."""
    server = server_of(request)
    try:
        async with asyncio.timeout(server.settings.request_timeout):
            return await server.batcher.predict(texts)
    except Overloaded:
        raise HTTPException(503, "too many texts wait for an answer: try again", RETRY_AFTER) from None
    except TimeoutError:
        raise HTTPException(503, "no answer in time: try again", RETRY_AFTER) from None


def _result(request: Request, answered: Answered, row: int, *, detail: bool) -> dict[str, Any]:
    predictions, served = answered
    names = served.classifier.bundle.class_names
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
            "model": served.sha256,
        }
    return result
