"""The server without its model: same middleware, log and reading of the form, a constant answer."""

import asyncio

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from serving.monitoring.metrics import Monitor
from serving.settings import settings_of_environment
from serving.web.access import Access, set_up_log
from serving.web.auth import Keys
from serving.web.bodies import read_text
from serving.web.state import Server

app = FastAPI()
settings, monitor = settings_of_environment(), Monitor()
app.state.server = Server(settings, monitor, Keys({}, None, 1), asyncio.Semaphore(settings.max_files))
app.add_middleware(Access, monitor=monitor)
set_up_log(lines=True)


@app.post("/predict")
async def predict(request: Request) -> Response:
    await read_text(request)
    return JSONResponse({"label": "LABEL_1", "score": 0.9876})
