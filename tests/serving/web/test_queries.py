"""That a query parameter which a route does not know is refused, with the ones that it knows."""

import httpx2 as httpx
import pytest

from tests.serving.http import SECRET, SMALL, assert_refused, send_file


@pytest.mark.parametrize(
    ("method", "path", "known"),
    [
        ("POST", "/predict", "knows only detail"),
        ("POST", "/predict/batch", "knows only detail"),
        ("POST", "/predict/file", "knows only column and detail"),
        ("GET", "/health", "takes none"),
        ("GET", "/ready", "takes none"),
        ("GET", "/model", "takes none"),
        ("GET", "/metrics", "takes none"),
        ("POST", "/admin/reload", "takes none"),
        ("POST", "/admin/rollback", "takes none"),
    ],
)
def test_unknown_query_parameter_is_refused_with_the_known_ones(client: httpx.Client, method: str, path: str, known: str) -> None:
    answer = client.request(method, f"{path}?detail{SECRET}=true", json={"text": "good"} if method == "POST" else None)
    assert_refused(answer, 422, f"the query has an unknown parameter, and this route {known}: correct or remove it")


def test_known_parameters_without_the_wrong_one_are_answered(client: httpx.Client) -> None:
    assert client.post("/predict?detail=false", json={"text": "good"}).status_code == 200
    assert send_file(client, "text/csv", SMALL, "?column=text&detail=1").status_code == 200
    assert client.get("/health").status_code == 200
