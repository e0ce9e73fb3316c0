"""Signs each request of an `httpx2` client, synchronous or not."""

from __future__ import annotations

from collections.abc import Generator

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import OURS, sign


class SigningAuth(httpx2.Auth):
    """`httpx2.Client(auth=SigningAuth(key))`. A request that is sent again, after a redirect too, is signed anew."""

    requires_request_body = True

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Adds the three headers."""
        for name in OURS:
            request.headers.pop(name, None)
        headers = dict(request.headers)
        request.headers.update(sign(self._key, request.method, str(request.url), headers, request.content))
        yield request
