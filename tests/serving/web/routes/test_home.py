"""`GET /` says what the server is and leads on, in the form that the client wants, and its page loads nothing."""

import asyncio
from types import SimpleNamespace
from typing import Any, Literal

import httpx2 as httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi import Request
from playwright.sync_api import sync_playwright

from commands.pictures import browser as chromium
from serving.web.routes.home import LINKS, home
from tests.running import run_command
from tests.serving.http import ADMIN_KEYS, server

PAGE = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}  # as browsers send it


def test_page_names_the_model_and_leads_to_every_page(client: httpx.Client) -> None:
    answer = client.get("/", headers=PAGE)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["vary"] == "Accept"
    assert "negative, positive" in answer.text
    assert client.get("/model").json()["sha256"] in answer.text
    for path in LINKS:
        assert f'<a href="{path}">' in answer.text
        assert client.get(f"/{path}").status_code == 200


def test_other_clients_get_the_same_as_json_with_an_example_that_works(client: httpx.Client) -> None:
    answer = client.get("/")
    facts = answer.json()
    assert facts["classes"] == ["negative", "positive"]
    assert set(facts["links"]) == {f"/{path}" for path in LINKS}
    done = run_command("bash", "-c", facts["example"])
    assert done.stdout.startswith('{"label":"LABEL_'), done.stderr
    head = client.head("/")
    assert (head.status_code, head.content) == (200, b"")


def test_page_is_open_to_all_and_its_example_names_the_key_where_one_is_needed(tiny_bundle, client: httpx.Client) -> None:
    with server(tiny_bundle, SENTIMENT_API_KEYS=ADMIN_KEYS) as (closed, _):
        page, facts = closed.get("/", headers=PAGE).text, closed.get("/").json()
    assert "This server needs an API key." in page
    assert "-H 'Authorization: Bearer <key>'" in facts["example"]
    assert "API key" not in client.get("/", headers=PAGE).text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_page_loads_nothing_passes_axe_and_fits_its_window(client: httpx.Client, scheme: Literal["light", "dark"], width: int) -> None:
    requests: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        tab = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(str(client.base_url))
        loaded, wide = [url for url in requests if not url.startswith("data:")], tab.evaluate("document.documentElement.scrollWidth")
        policy = client.get("/", headers=PAGE).headers["content-security-policy"]
        tab.route("**/*", lambda route: route.fulfill(response=route.fetch(), headers={"content-type": "text/html"}))
        tab.reload()  # without its policy, which keeps axe out too
        found = Axe().run(tab)
        browser.close()
    assert loaded == [f"{str(client.base_url).rstrip('/')}/"]
    assert policy.startswith("default-src 'none';")
    assert wide == width
    assert found.violations_count == 0, found.generate_report()


def test_names_of_classes_are_never_run_as_code() -> None:
    bundle = SimpleNamespace(class_names=("<script>alert(1)</script>", "a & b"))
    loaded = SimpleNamespace(sha256="9a1b", classifier=SimpleNamespace(bundle=bundle, spec=SimpleNamespace(name="onnxruntime-fp32")))
    state = SimpleNamespace(server=SimpleNamespace(slot=SimpleNamespace(current=loaded), settings=SimpleNamespace(api_keys={})))
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "server": ("127.0.0.1", 80),
        "query_string": b"",
    }
    scope |= {"app": SimpleNamespace(state=state, description="It classifies."), "headers": [(b"accept", b"text/html")]}
    page = bytes(asyncio.run(home(Request(scope))).body).decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;, a &amp; b" in page
    assert "<script" not in page
