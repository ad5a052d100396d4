"""OpenTelemetry: where an OTEL_* variable is set, FastAPI traces requests and exports them as these variables say."""

import os
from importlib.util import find_spec
from typing import Any


def telemetry() -> dict[str, Any]:
    """Return FastAPI's telemetry settings. No text of a request is in a trace."""
    wanted = any(name.startswith("OTEL_") for name in os.environ) and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
    if not wanted:
        return {"tracing": False, "metrics": False, "logs": False}
    if find_spec("opentelemetry.exporter") is None:
        raise SystemExit("ERROR: OTEL_* is set, but the exporter is missing: pip install opentelemetry-exporter-otlp-proto-http")
    return {"auto_configure": True, "metrics": False, "logs": False, "operation_spans": False}
