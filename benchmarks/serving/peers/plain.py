"""The plain recipe: FastAPI, a form field, a pipeline."""

from typing import Annotated, Any

from fastapi import FastAPI, Form

from benchmarks.serving.peers.engine import start

app = FastAPI()
classify = start()


@app.post("/predict")
def predict(text: Annotated[str, Form()]) -> dict[str, Any]:
    return classify(text)[0]
