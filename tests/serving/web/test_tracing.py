"""That the span of each request reaches the collector that OTEL_* names, and that no span contains a text."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from serving.web.tracing import telemetry_settings
from tests.running import run_command
from tests.serving.http import SECRET, server

TRACE = "0af7651916cd43dd8448eb211c80319c"


@contextmanager
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """Give the address of a collector, and the path and body of each request that it receives."""
    received: list[tuple[str, bytes]] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}", received
        listening.shutdown()


def test_span_of_a_request_arrives_in_the_clients_trace_with_the_requests_id_and_without_its_text(tiny_bundle: Path) -> None:
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "x-request-id": "mine.1"}
    with collector() as (address, received):
        with server(tiny_bundle, OTEL_EXPORTER_OTLP_ENDPOINT=address, OTEL_SERVICE_NAME="sentiment-tests") as (client, _):
            assert client.post("/predict", json={"text": f"{SECRET} good"}, headers=headers).headers["x-request-id"] == "mine.1"
            client.post(f"/predict?text={SECRET}&detail=true", json={"text": SECRET})
            client.post("/predict", json={"text": f"\0{SECRET}"})
            client.post("/predict/batch", json={"texts": [SECRET, f"\0{SECRET}"]})
            client.get(f"/{SECRET}")
        assert {path for path, _ in received} == {"/v1/traces"}  # the server sent the last spans when it stopped
    exported = [ExportTraceServiceRequest.FromString(body).resource_spans for _, body in received]
    spans = [span for batch in exported for resource in batch for scope in resource.scope_spans for span in scope.spans]
    (span,) = [span for span in spans if span.trace_id.hex() == TRACE]
    attributes = {attribute.key: attribute.value.string_value or attribute.value.int_value for attribute in span.attributes}
    assert span.name == "POST /predict"
    assert span.parent_span_id.hex() == "b7ad6b7169203331"
    assert attributes["request.id"] == "mine.1"
    assert attributes["http.route"] == "/predict"
    assert attributes["http.response.status_code"] == 200
    assert len([span for span in spans if span.name.startswith("POST")]) == 4
    assert all(SECRET.encode() not in body for _, body in received)
    assert all(b"sentiment-tests" in body for _, body in received)


def test_nothing_is_sent_if_telemetry_is_switched_off(tiny_bundle: Path) -> None:
    with collector() as (address, received):
        with server(tiny_bundle, OTEL_EXPORTER_OTLP_ENDPOINT=address, OTEL_SDK_DISABLED="true") as (client, _):
            assert client.post("/predict", json={"text": "good"}).status_code == 200
        assert received == []


def test_nothing_is_traced_without_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(telemetry_settings().values())
    monkeypatch.setenv("OTEL_SERVICE_NAME", "sentiment")
    assert telemetry_settings()["tracing"] is True


def test_missing_exporter_ends_the_start_with_the_command_that_installs_it(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['opentelemetry.exporter.otlp.proto.http'] = None\n", "utf-8")
    done = run_command(
        "uvicorn", "serving.app:app", "--port", "0", PYTHONPATH=str(tmp_path), OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1"
    )
    assert done.returncode == 1
    assert done.stderr == "ERROR: OTEL_* is set, but the exporter is missing: pip install opentelemetry-exporter-otlp-proto-http\n"
    assert not done.stdout
