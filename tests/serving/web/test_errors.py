"""That every failure has one form."""

import httpx2 as httpx
import pytest

from tests.serving.http import assert_refused


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/predict", 405), ("GET", "/nowhere", 404), ("POST", "/health", 405)])
def test_wrong_route_or_method_gets_an_error_message(client: httpx.Client, method: str, path: str, status: int) -> None:
    assert_refused(client.request(method, path), status)
