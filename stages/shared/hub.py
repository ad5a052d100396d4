"""The Hugging Face Hub: whether it can be reached, found out by one connection and not by a minute of retries."""

import os
import socket
import urllib.request
from urllib.parse import urlsplit

from stages.shared.errors import Unavailable

CONNECT_SECONDS = 2.0
HUB = "https://huggingface.co"


def require_hub(what: str, remedy: str) -> None:
    """Raise Unavailable if the Hub (HF_ENDPOINT, or the proxy in front of it) does not take connections.

    what: the thing to fetch. remedy: what to do without the Hub.
    """
    endpoint = os.environ.get("HF_ENDPOINT") or HUB
    proxies = urllib.request.getproxies()
    scheme = urlsplit(endpoint).scheme
    host = urlsplit(endpoint).hostname or ""
    if not host:
        raise Unavailable(f"HF_ENDPOINT is {endpoint!r}, which is not a URL: set it to one such as {HUB}")
    use_proxy = scheme in proxies and not urllib.request.proxy_bypass(host)
    target = urlsplit(proxies[scheme] if use_proxy else endpoint)
    port = target.port or (443 if target.scheme == "https" else 80)
    if os.environ.get("HF_HUB_OFFLINE") in ("1", "true", "True", "ON", "YES"):
        raise Unavailable(f"{what} is not in the Hugging Face cache and HF_HUB_OFFLINE is set. {remedy}")
    try:
        socket.create_connection((target.hostname or "", port), CONNECT_SECONDS).close()
    except OSError as error:
        raise Unavailable(f"{what} needs {target.hostname}:{port}, which cannot be reached ({error}). {remedy}") from None
