"""API keys of requests: who may do what, and how often. The server knows only the digests of keys."""

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
CHALLENGE = {"WWW-Authenticate": "Bearer"}


class Keys:
    """The valid keys, and a token bucket for each. Limits hold for each process.

    roles: role by digest. per_second: requests of a key in the long run; None: no limit. burst: requests of a key at once.
    clock: returns seconds.
    """

    def __init__(
        self, roles: Mapping[str, Role], per_second: float | None, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._roles = roles
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._remaining = dict.fromkeys(roles, float(burst))  # requests that a key may make at `_updated`
        self._updated = dict.fromkeys(roles, clock())

    def admit(self, request: Request, role: Role) -> None:
        """Admit a request, or raise 401, 403 or 429. An admin key may classify texts too."""
        if role == "predict" and not self._roles:
            return
        if role == "admin" and "admin" not in self._roles.values():
            raise HTTPException(403, "the server has no admin key: set one in SENTIMENT_API_KEYS")
        valid = self._valid_digest(_key_of(request))
        if valid is None:
            raise HTTPException(401, "a valid API key is needed: send it as Authorization: Bearer <key>", CHALLENGE)
        if role == "admin" and self._roles[valid] != "admin":
            raise HTTPException(403, "this key is not an admin key: use one with the role admin")
        self._limit_rate(valid)

    def _valid_digest(self, key: str) -> str | None:
        """Return the digest of a valid key; None for any other key. An empty key is never valid, even if its digest is in the settings.

        Every call makes the same comparisons, so its duration tells nothing about the keys.
        """
        sent, found = digest(key), None
        for valid in self._roles:
            if hmac.compare_digest(valid, sent):
                found = valid
        return found if key else None

    def _limit_rate(self, valid: str) -> None:
        if self._per_second is None:
            return
        now = self._clock()
        remaining = min(self._burst, self._remaining[valid] + (now - self._updated[valid]) * self._per_second)
        self._updated[valid] = now
        if remaining < 1:
            self._remaining[valid] = remaining
            wait = int((1 - remaining) / self._per_second) + 1  # full seconds, rounded up
            raise HTTPException(429, "this key has sent too many requests: try again later", {"Retry-After": str(wait)})
        self._remaining[valid] = remaining - 1


def _key_of(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else request.headers.get(KEY_HEADER, "")


async def predict_key(request: Request) -> None:
    """Admit a request that classifies texts."""
    server_of(request).keys.admit(request, "predict")


async def admin_key(request: Request) -> None:
    """Admit a request that changes the bundle."""
    server_of(request).keys.admit(request, "admin")
