"""`GET /`: what this server is and where to go on, as a page for browsers and as JSON for other clients."""

from html import escape
from pathlib import Path
from string import Template

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.responses import Response

from serving.web.schemas import PredictRequest, example_of
from serving.web.state import server_of

PAGE = Template(Path(__file__).with_suffix(".html").read_text("utf-8"))
LOADS_NOTHING = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
LINKS = {
    "docs": "all routes, with a form to try each",
    "model": "the model and what it was made of",
    "health": "whether the process is alive",
    "ready": "whether the server can classify texts",
    "metrics": "metrics for Prometheus",
    "openapi.json": "the OpenAPI document",
}

routes = APIRouter()


@routes.head("/", include_in_schema=False)
@routes.get("/", responses={200: {"content": {"text/html": {}, "application/json": {}}}}, summary="Say what this server is")
async def home(request: Request) -> Response:
    """Name the model, an example and the other pages: as a page if `Accept` has `text/html`, otherwise as JSON."""
    server = server_of(request)
    loaded, needs_key = server.slot.current, bool(server.settings.api_keys)
    facts = {
        "description": request.app.description,
        "example": _example(request, needs_key=needs_key),
        "classes": list(loaded.classifier.bundle.class_names),
        "engine": loaded.classifier.spec.name,
        "sha256": loaded.sha256,
    }
    vary = {"Vary": "Accept"}
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse(facts | {"links": {f"/{path}": purpose for path, purpose in LINKS.items()}}, headers=vary)
    words = facts | {"classes": ", ".join(facts["classes"]), "key": "This server needs an API key. " if needs_key else ""}
    links = "\n".join(f'<dt><a href="{path}">/{path}</a></dt><dd>{purpose}</dd>' for path, purpose in LINKS.items())
    page = PAGE.substitute({name: escape(word) for name, word in words.items()}, links=links)
    return HTMLResponse(page, headers=vary | {"Content-Security-Policy": LOADS_NOTHING})


def _example(request: Request, *, needs_key: bool) -> str:
    """Return a command that classifies a text, for the address under which the client knows this server."""
    key = "-H 'Authorization: Bearer <key>' " if needs_key else ""
    return f'curl {key}-d "text={example_of(PredictRequest)["text"]}" {request.base_url}predict'
