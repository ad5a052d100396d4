"""The server without its model: it has the same middleware and log, reads the same form, and gives a constant answer."""

import asyncio

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from serving.monitoring.metrics import Monitor
from serving.settings import read_settings
from serving.web.access import AccessMiddleware, set_up_log
from serving.web.auth import Keys
from serving.web.bodies import read_text
from serving.web.state import Server

app = FastAPI()
settings, monitor = read_settings(), Monitor()
app.state.server = Server(settings, monitor, Keys({}, None, 1), asyncio.Semaphore(settings.max_files))
app.add_middleware(AccessMiddleware, monitor=monitor)
set_up_log(lines=True)


@app.post("/predict")
async def predict(request: Request) -> Response:
    await read_text(request)
    return JSONResponse({"label": "LABEL_1", "score": 0.9876})
