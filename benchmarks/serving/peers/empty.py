"""The server without its model: same middleware, log and reading of the form, a constant answer."""

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from serving.access import Access, set_up_log
from serving.bodies import read_text
from serving.monitoring import Monitor
from serving.settings import settings_of_environment

app = FastAPI()
app.state.settings = settings_of_environment()
app.add_middleware(Access, monitor=Monitor())
set_up_log(lines=True)


@app.post("/predict")
async def predict(request: Request) -> Response:
    await read_text(request)
    return JSONResponse({"label": "LABEL_1", "score": 0.9876})
