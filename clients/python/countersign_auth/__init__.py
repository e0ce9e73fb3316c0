"""Signs HTTP requests for a Countersign gateway (RFC 9421, Ed25519), so that a call carries its caller's signature.

In: a key and a request. Out: the headers `content-digest`, `signature-input` and `signature`, as the gateway's profile
asks (`docs/http.md`): method, authority, path, query and the digest of the body are covered, and each header that
changes what is done. What is signed is one request; sent twice, it counts once.

    from countersign_auth import load_key
    from countersign_auth.for_httpx import SigningAuth

    client = httpx.AsyncClient(auth=SigningAuth(load_key("agent.key")))

[`sign`] does it for any other client.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import stat
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

__all__ = ["COVERED_WHEN_PRESENT", "ExposedKey", "Fixed", "NotAKey", "SignError", "key_id", "load_key", "sign"]

TAG = "countersign"
LABEL = "sig1"

# Headers that are signed if the request has them, because they change what is done.
COVERED_WHEN_PRESENT = ("authorization", "idempotency-key", "mcp-protocol-version", "mcp-session-id")

# Headers that only this code writes.
OURS = ("content-digest", "signature-input", "signature")

DEFAULT_PORTS = {"http": 80, "https": 443}


class SignError(ValueError):
    """The request cannot be signed as the gateway asks. The message shows no value of it."""


class NotAKey(ValueError):
    """The file is not one line of 64 hexadecimal digits. The message shows nothing of it."""


class ExposedKey(PermissionError):
    """Others on this machine could read the key."""


@dataclass(frozen=True)
class Fixed:
    """Time and nonce of a signature, for tests; without it they are those of the moment."""

    created: int
    nonce: str


def load_key(path: str | os.PathLike[str]) -> Ed25519PrivateKey:
    """Reads a key file as `countersign bridge keygen` makes it: nobody else may be able to read it."""
    with open(path, encoding="ascii", errors="replace") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if os.name == "posix" and mode & 0o077:
            raise ExposedKey(f"{os.fspath(path)} is readable by others (mode {mode:o}); expected mode 600")
        text = file.read(1024).strip()
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise NotAKey(f"{os.fspath(path)} is not one line of 64 hexadecimal digits")
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The public half, 32 bytes."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(key: Ed25519PrivateKey) -> str:
    """The name under which the gateway knows a key: SHA-256 of its public half."""
    return hashlib.sha256(public_bytes(key)).hexdigest()


def _sf_bytes(value: bytes) -> str:
    return f":{base64.b64encode(value).decode('ascii')}:"


def _components(method: str, url: str, headers: Mapping[str, str]) -> dict[str, str]:
    """The values that may be signed. SPEC: RFC 9421, 2.1 and 2.2."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise SignError("the address is not of http or https")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.port not in (None, DEFAULT_PORTS[parts.scheme]):
        host = f"{host}:{parts.port}"
    found = {"@method": method, "@authority": host.lower(), "@path": parts.path or "/"}
    if "?" in url.partition("#")[0]:
        found["@query"] = f"?{parts.query}"
    for name, value in headers.items():
        lower = name.lower()
        if lower in found:
            raise SignError(f"header {lower} stands twice")
        found[lower] = value.strip(" \t")
    return found


def signature_base(values: Mapping[str, str], names: list[str], parameters: str) -> bytes:
    """What is signed. SPEC: RFC 9421, 2.5."""
    lines = [f'"{name}": {values[name]}' for name in names]
    text = "\n".join([*lines, f'"@signature-params": {parameters}'])
    for name in names:
        if not all(" " <= letter <= "~" for letter in values[name]):
            raise SignError(f"{name} is not printable ASCII")
    return text.encode("ascii")


def sign(
    key: Ed25519PrivateKey,
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    fixed: Fixed | None = None,
) -> dict[str, str]:
    """The headers that make this request a signed one."""
    given = dict(headers or {})
    if any(name.lower() in OURS for name in given):
        raise SignError("the request is signed already")
    digest = f"sha-256={_sf_bytes(hashlib.sha256(body).digest())}"
    values = _components(method, url, {**given, "content-digest": digest})
    names = ["@method", "@authority", "@path"]
    names += ["@query"] if "@query" in values else []
    names += ["content-digest"]
    names += [name for name in COVERED_WHEN_PRESENT if name in values]
    # The coming second: a gateway refuses signatures that are not later than the second its epoch opened in.
    fixed = fixed or Fixed(created=int(time.time()) + 1, nonce=secrets.token_urlsafe(18))
    listed = " ".join(f'"{name}"' for name in names)
    parameters = (
        f'({listed});created={fixed.created};keyid="{key_id(key)}"'
        f';nonce="{fixed.nonce}";alg="ed25519";tag="{TAG}"'
    )
    signature = key.sign(signature_base(values, names, parameters))
    return {
        "content-digest": digest,
        "signature-input": f"{LABEL}={parameters}",
        "signature": f"{LABEL}={_sf_bytes(signature)}",
    }
