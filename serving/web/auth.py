"""Who may ask for what, and how often: checks a request's API key. The server knows only digests of keys."""

import hmac
import time
from collections.abc import Callable, Mapping

from fastapi import HTTPException, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from serving.keys import digest
from serving.settings import Role
from serving.web.state import server_of

KEY_HEADER = "X-API-Key"
KEY_SCHEMES = [Security(HTTPBearer(auto_error=False)), Security(APIKeyHeader(name=KEY_HEADER, auto_error=False))]  # for OpenAPI
ASK_FOR_A_KEY = {"WWW-Authenticate": "Bearer"}


class Keys:
    """The keys that are valid, and how much each has asked. Limits hold per process.

    roles: role by digest. per_second: requests a key may make in the long run; None for any number. burst: at once.
    """

    def __init__(
        self, roles: Mapping[str, Role], per_second: float | None, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._roles = roles
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._left = dict.fromkeys(roles, float(burst))
        self._seen = dict.fromkeys(roles, clock())

    def admit(self, request: Request, role: Role) -> None:
        """Let a request through, or raise 401, 403 or 429. An admin's key is good for predictions too."""
        if role == "predict" and not self._roles:
            return
        if role == "admin" and "admin" not in self._roles.values():
            raise HTTPException(403, "no admin key is set up: see SENTIMENT_API_KEYS")
        known = self._known(_key_of(request))
        if known is None:
            raise HTTPException(401, "a valid API key is needed: send it as Authorization: Bearer <key>", ASK_FOR_A_KEY)
        if role == "admin" and self._roles[known] != "admin":
            raise HTTPException(403, "this key is no admin key")
        self._take(known)

    def _known(self, key: str) -> str | None:
        """Return the digest of a valid key, after the same comparisons for any key. No key is none, whatever digest is set up."""
        asked, found = digest(key), None
        for each in self._roles:
            if hmac.compare_digest(each, asked):
                found = each
        return found if key else None

    def _take(self, known: str) -> None:
        if self._per_second is None:
            return
        now = self._clock()
        left = min(self._burst, self._left[known] + (now - self._seen[known]) * self._per_second)
        self._seen[known] = now
        if left < 1:
            self._left[known] = left
            wait = int((1 - left) / self._per_second) + 1  # whole seconds, and no less than it takes
            raise HTTPException(429, "this key has asked too often: try again later", {"Retry-After": str(wait)})
        self._left[known] = left - 1


def _key_of(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else request.headers.get(KEY_HEADER, "")


async def predict_key(request: Request) -> None:
    """Let through who may have texts classified."""
    server_of(request).keys.admit(request, "predict")


async def admin_key(request: Request) -> None:
    """Let through who may change the model."""
    server_of(request).keys.admit(request, "admin")
