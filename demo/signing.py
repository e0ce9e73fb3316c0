"""Signed HTTP requests (RFC 9421, Ed25519): how an agent's call comes to carry the agent's signature.

In: a key and a request. Out: the headers `content-digest`, `signature-input` and `signature`, as the
gateway's profile asks (`docs/http.md`). [`SigningAuth`] does it for every request of an
`httpx` client, so an existing MCP client needs one argument more.
"""

import base64
import hashlib
import json
import pathlib
import secrets
import time
import urllib.parse
import urllib.request

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TAG = "countersign"
LABEL = "sig1"
# Headers that are signed if the request has them, because they change what is done.
COVERED_WHEN_PRESENT = ["authorization", "idempotency-key", "mcp-protocol-version", "mcp-session-id"]
DEFAULT_PORTS = {"http": 80, "https": 443}


def load_key(path: pathlib.Path) -> Ed25519PrivateKey:
    """Reads a seed of 64 hexadecimal digits."""
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text(encoding="ascii").strip()))


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The public half, 32 bytes."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(key: Ed25519PrivateKey) -> str:
    """The name under which the gateway knows a key: SHA-256 of its public half."""
    return hashlib.sha256(public_bytes(key)).hexdigest()


def content_digest(body: bytes) -> str:
    """RFC 9530."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def components(method: str, url: str, headers: dict) -> dict:
    """The values that may be signed. SPEC: RFC 9421 2.1, 2.2."""
    parts = urllib.parse.urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    if parts.port not in (None, DEFAULT_PORTS.get(parts.scheme)):
        host = f"{host}:{parts.port}"
    found = {"@method": method, "@authority": host, "@path": parts.path or "/"}
    if "?" in url.partition("#")[0]:
        found["@query"] = f"?{parts.query}"
    found.update({name.lower(): value.strip() for name, value in headers.items()})
    return found


def signature_base(values: dict, names: list, parameters: str) -> bytes:
    """What is signed. SPEC: RFC 9421 2.5."""
    lines = [f'"{name}": {values[name]}' for name in names]
    return "\n".join([*lines, f'"@signature-params": {parameters}']).encode("ascii")


def sign(key: Ed25519PrivateKey, method: str, url: str, headers: dict, body: bytes) -> dict:
    """The headers that make this request a signed one."""
    digest = content_digest(body)
    values = components(method, url, {**headers, "content-digest": digest})
    names = ["@method", "@authority", "@path"]
    names += ["@query"] if "@query" in values else []
    names += ["content-digest"]
    names += [name for name in COVERED_WHEN_PRESENT if name in values]
    listed = " ".join(f'"{name}"' for name in names)
    # The coming second: a gateway refuses signatures that are not later than the second its epoch opened in.
    parameters = (
        f'({listed});created={int(time.time()) + 1};keyid="{key_id(key)}"'
        f';nonce="{secrets.token_urlsafe(18)}";alg="ed25519";tag="{TAG}"'
    )
    signature = base64.b64encode(key.sign(signature_base(values, names, parameters))).decode()
    return {
        "content-digest": digest,
        "signature-input": f"{LABEL}={parameters}",
        "signature": f"{LABEL}=:{signature}:",
    }


class SigningAuth(httpx.Auth):
    """Signs each request of an `httpx` client."""

    requires_request_body = True

    def __init__(self, key: Ed25519PrivateKey):
        self._key = key

    def auth_flow(self, request: httpx.Request):
        request.headers.update(
            sign(self._key, request.method, str(request.url), dict(request.headers), request.content)
        )
        yield request


def signed_call(url: str, key: Ed25519PrivateKey, call: dict, headers: dict | None = None) -> tuple[int, dict]:
    """One signed `POST` of JSON with nothing but the standard library: status and answer."""
    body = json.dumps(call, ensure_ascii=False).encode()
    headers = {"content-type": "application/json", **(headers or {})}
    headers.update(sign(key, "POST", url, headers, body))
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read() or b"{}")
