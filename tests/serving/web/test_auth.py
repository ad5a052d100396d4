"""Which requests the keys admit: roles, rates, and that no answer or log shows a key."""

import json
from pathlib import Path

import httpx2 as httpx
import pytest
from fastapi import HTTPException, Request
from hypothesis import given
from hypothesis import strategies as st

from serving.app import create_app
from serving.keys import digest
from serving.settings import Role, Settings
from serving.web.auth import Keys
from tests.serving.http import assert_refused, server

PREDICT, ADMIN = "the key of a client", "the key of an admin"
BOTH: dict[str, Role] = {digest(PREDICT): "predict", digest(ADMIN): "admin"}
BODY = {"text": "the film was very good"}


class Clock:
    """A clock that a test sets, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def request(**headers: str) -> Request:
    return Request(
        {"type": "http", "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]}
    )


def status(keys: Keys, role: Role, **headers: str) -> int:
    try:
        keys.admit(request(**headers), role)
    except HTTPException as error:
        return error.status_code
    return 200


@pytest.mark.parametrize(
    ("roles", "key", "predict", "admin"),
    [
        ({}, None, 200, 403),
        ({}, ADMIN, 200, 403),
        ({digest(PREDICT): "predict"}, None, 401, 403),
        ({digest(PREDICT): "predict"}, PREDICT, 200, 403),
        ({digest(ADMIN): "admin"}, None, 401, 401),
        (BOTH, PREDICT, 200, 403),
        (BOTH, ADMIN, 200, 200),
        (BOTH, "another", 401, 401),
        (BOTH, "", 401, 401),
        (BOTH, digest(ADMIN), 401, 401),
        (BOTH, "cl\u00e9 \u00ff\x7f", 401, 401),
        ({digest(""): "admin"}, "", 401, 401),
        ({digest(""): "admin"}, None, 401, 401),
    ],
)
def test_role_of_a_key_decides_what_it_may_do(roles: dict[str, Role], key: str | None, predict: int, admin: int) -> None:
    for headers in [{}] if key is None else [{"authorization": f"Bearer {key}"}, {"x_api_key": key}, {"authorization": f"bEARER   {key} "}]:
        keys = Keys(roles, None, 1)
        assert (status(keys, "predict", **headers), status(keys, "admin", **headers)) == (predict, admin)


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", f"Basic {ADMIN}", f"Bearer{ADMIN}", ADMIN, f"Bearer {ADMIN}x", "\xff"])
def test_header_without_a_key_is_refused_with_an_error_message_on_how_to_send_it(value: str) -> None:
    with pytest.raises(HTTPException) as refused:
        Keys(BOTH, None, 1).admit(request(authorization=value), "predict")
    assert refused.value.status_code == 401
    assert refused.value.headers == {"WWW-Authenticate": "Bearer"}
    assert "Bearer" in refused.value.detail


def retry_after(keys: Keys) -> int | None:
    """Send a request with the client's key; return the seconds to wait if it is refused."""
    try:
        keys.admit(request(x_api_key=PREDICT), "predict")
    except HTTPException as error:
        return int((error.headers or {})["Retry-After"])
    return None


@given(
    per_second=st.floats(1e-6, 1000),
    burst=st.integers(1, 20),
    waits=st.lists(st.floats(0, 100) | st.just(0.0), min_size=1, max_size=60),
)
def test_no_key_gets_more_than_its_limit_and_retry_after_is_long_enough(per_second: float, burst: int, waits: list[float]) -> None:
    clock = Clock()
    keys, start = Keys(BOTH, per_second, burst, clock), clock.now
    for admitted, wait in enumerate(waits, start=1):
        clock.now += wait
        if seconds := retry_after(keys):
            clock.now += seconds
            assert retry_after(keys) is None
        assert admitted <= burst + (clock.now - start) * per_second + 1e-6
    assert status(keys, "predict", x_api_key=ADMIN) == 200  # each key has its own limit


def test_burst_is_admitted_at_once_and_refused_requests_cost_nothing() -> None:
    clock = Clock()
    keys = Keys(BOTH, 0.5, 3, clock)
    assert [status(keys, "predict", x_api_key=PREDICT) for _ in range(5)] == [200, 200, 200, 429, 429]
    assert status(keys, "admin", x_api_key=PREDICT) == 403
    clock.now += 2
    assert [status(keys, "predict", x_api_key=PREDICT) for _ in range(2)] == [200, 429]
    clock.now += 1000
    assert [status(keys, "predict", x_api_key=PREDICT) for _ in range(4)] == [200, 200, 200, 429]


def test_default_has_no_rate_limit() -> None:
    keys = Keys(BOTH, Settings().rate_limit, Settings().rate_burst)
    assert {status(keys, "predict", x_api_key=PREDICT) for _ in range(1000)} == {200}


def test_server_needs_a_key_limits_its_rate_and_shows_no_key(tiny_bundle: Path, tmp_path: Path) -> None:
    settings = {"SENTIMENT_API_KEYS": json.dumps(BOTH), "SENTIMENT_RATE_LIMIT": "0.001", "SENTIMENT_RATE_BURST": "2"}
    with (tmp_path / "log").open("wb") as log, server(tiny_bundle, output=log, **settings) as (client, _):
        assert client.get("/health").status_code == client.get("/metrics").status_code == 200
        for route in ("/predict", "/predict/batch", "/predict/file"):
            missing = client.post(route, content=b"{" * 3_000_000)  # the server does not read the body
            assert_refused(missing, 401, "Authorization: Bearer")
            assert missing.headers["www-authenticate"] == "Bearer"
        answers = [client.post("/predict", json=BODY, headers={"authorization": f"Bearer {PREDICT}"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 900 < int(answers[2].headers["retry-after"]) <= 1001
        assert client.post("/predict", json=BODY, headers={"x-api-key": ADMIN}).status_code == 200
        assert_refused(client.post("/predict", json=BODY, headers={"x-api-key": "not this one"}), 401)
        shown = "".join(answer.text for answer in [*answers, missing])
    shown += (tmp_path / "log").read_text("utf-8")
    assert "NO API KEY" not in shown
    for key in (PREDICT, ADMIN, *BOTH):
        assert key not in shown


def test_admin_routes_are_closed_without_an_admin_key(client: httpx.Client) -> None:
    for route in ("/admin/reload", "/admin/rollback"):
        answer = client.post(route, content=b"{", headers={"authorization": f"Bearer {ADMIN}"})
        assert_refused(answer, 403, "SENTIMENT_API_KEYS")


@pytest.mark.parametrize("keys", [{}, BOTH], ids=["open", "with keys"])
def test_document_names_the_routes_that_need_a_key(keys: dict[str, Role]) -> None:
    document = create_app(Settings(api_keys=keys)).openapi()
    needed = {path for path, routes in document["paths"].items() if any("security" in route for route in routes.values())}
    predictions = {path for path in document["paths"] if path.startswith("/predict")}
    assert needed == {"/admin/reload", "/admin/rollback"} | (predictions if keys else set())
    assert {scheme["type"] for scheme in document["components"]["securitySchemes"].values()} == {"http", "apiKey"}
