"""OpenTelemetry: if an OTEL_* variable is set, FastAPI traces requests and exports the spans as these variables say."""

import os
from importlib import import_module
from typing import Any

from opentelemetry import trace
from starlette.types import ASGIApp, Receive, Scope, Send


def telemetry_settings() -> dict[str, Any]:
    """Return the telemetry settings of FastAPI; end the process with an error message if the exporter is missing."""
    tracing = any(name.startswith("OTEL_") for name in os.environ) and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
    exported = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT") for signal in ("", "TRACES_"))
    if tracing and exported:
        try:
            import_module("opentelemetry.exporter.otlp.proto.http")
        except ModuleNotFoundError:
            raise SystemExit(
                "ERROR: OTEL_* is set, but the exporter is missing: pip install opentelemetry-exporter-otlp-proto-http"
            ) from None
    return {"tracing": tracing, "auto_configure": tracing, "metrics": False, "logs": False, "operation_spans": False}


class TracingMiddleware:
    """Adds the id of the request to its span, and removes path and query, which may contain a text. `http.route` stays."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            trace.get_current_span().set_attributes({"request.id": scope["state"]["request_id"], "url.path": "", "url.query": ""})
        await self.app(scope, receive, send)
