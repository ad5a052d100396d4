"""A Hub that cannot be reached is an error message with a remedy, found out by one connection."""

import socket

import pytest

from stages.shared.errors import Unavailable
from stages.shared.hub import require_hub


@pytest.fixture
def port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_hub_that_listens_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        server.settimeout(10)
        require_hub("the model", "Take another.")
        assert server.accept()


def test_hub_that_does_not_listen_is_an_error_message_with_the_remedy(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    with pytest.raises(Unavailable, match=rf"the model needs 127\.0\.0\.1:{port}, which cannot be reached .* Take another\."):
        require_hub("the model", "Take another.")


def test_proxy_in_front_of_the_hub_is_what_counts(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    with pytest.raises(Unavailable, match=rf"needs 127\.0\.0\.1:{port}"):
        require_hub("the model", "Take another.")


def test_endpoint_that_is_not_a_url_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "huggingface.co")
    with pytest.raises(Unavailable, match=r"HF_ENDPOINT is 'huggingface\.co', which is not a URL"):
        require_hub("the model", "Take another.")


def test_offline_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE is set"):
        require_hub("the model", "Take another.")
