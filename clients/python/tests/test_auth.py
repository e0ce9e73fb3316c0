"""Signatures, against vectors that every implementation here is tested with, and as a server sees them."""

import asyncio
import base64
import importlib
import json
import os
import pathlib
import sys
import tempfile
import unittest

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
VECTORS = json.loads((PACKAGE.parents[1] / "verifier/signatures/testdata/requests.json").read_text(encoding="utf-8"))
sys.path.insert(0, str(PACKAGE))

try:
    import countersign_auth as auth
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
except ModuleNotFoundError as missing:  # said, not passed over: see `setUpModule`
    auth, MISSING = None, missing


def setUpModule():
    if auth is None:
        raise RuntimeError(f"{MISSING.name} is not there; run these tests with the Python of tests/python/setup")


def key():
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["seed"]))


class Vectors(unittest.TestCase):
    def test_a_key_has_the_name_that_others_compute(self):
        self.assertEqual(auth.public_bytes(key()).hex(), VECTORS["public"])
        self.assertEqual(auth.key_id(key()), VECTORS["key_id"])

    def test_every_signature_is_that_of_its_vector(self):
        self.assertGreaterEqual(len(VECTORS["requests"]), 6)
        for vector in VECTORS["requests"]:
            with self.subTest(vector["name"]):
                fixed = auth.Fixed(vector["created"], vector["nonce"])
                signed = auth.sign(
                    key(), vector["method"], vector["url"], vector["headers"], vector["body"].encode(), fixed
                )
                self.assertEqual(signed, vector["signed"])


class Signing(unittest.TestCase):
    def test_no_two_signatures_have_one_nonce(self):
        one, two = (auth.sign(key(), "GET", "https://a.example/") for _ in range(2))
        self.assertNotEqual(one["signature-input"], two["signature-input"])

    def test_what_is_signed_already_is_not_signed_again(self):
        with self.assertRaises(auth.SignError):
            auth.sign(key(), "GET", "https://a.example/", {"Signature": "sig1=::"})

    def test_what_cannot_be_signed_is_refused_and_not_shown(self):
        for url, headers in [
            ("ftp://a.example/", {}),
            ("https://a.example/", {"Authorization": "Bearer süß"}),
            ("https://a.example/", {"Authorization": "Bearer a\nb"}),
            ("https://a.example/", {"mcp-session-id": "a", "MCP-Session-Id": "b"}),
        ]:
            with self.assertRaises(auth.SignError) as caught:
                auth.sign(key(), "GET", url, headers)
            self.assertNotIn("Bearer", str(caught.exception))


class KeyFiles(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name) / "agent.key"

    def write(self, text, mode=0o600):
        self.path.write_text(text, encoding="ascii")
        self.path.chmod(mode)

    def test_a_key_file_is_read(self):
        self.write(VECTORS["seed"] + "\n")
        self.assertEqual(auth.key_id(auth.load_key(self.path)), VECTORS["key_id"])

    @unittest.skipUnless(os.name == "posix", "permissions are of POSIX systems")
    def test_a_key_file_that_others_can_read_is_refused(self):
        for mode in (0o640, 0o604, 0o660, 0o622):
            self.write(VECTORS["seed"], mode)
            with self.assertRaises(auth.ExposedKey):
                auth.load_key(self.path)

    def test_a_file_that_is_no_key_is_refused_and_not_shown(self):
        for text in ("", "zz" * 32, "ab" * 31, "ab" * 33, "ab" * 2000):
            self.write(text)
            with self.assertRaises(auth.NotAKey) as caught:
                auth.load_key(self.path)
            self.assertNotIn("abab", str(caught.exception))


def clients():
    """Those of `httpx` and its successor that are installed; one has to be."""
    found = []
    for name in ("httpx", "httpx2"):
        try:
            found.append((importlib.import_module(name), importlib.import_module(f"countersign_auth.for_{name}")))
        except ModuleNotFoundError:
            continue
    return found


class Clients(unittest.TestCase):
    def test_a_client_signs_each_request_with_its_body(self):
        self.assertTrue(clients(), "neither httpx nor httpx2 is installed")
        for library, module in clients():
            with self.subTest(library.__name__):
                seen = []

                def server(request, library=library, seen=seen):
                    seen.append(request)
                    return library.Response(200)

                signing = module.SigningAuth(key())
                with library.Client(transport=library.MockTransport(server), auth=signing) as client:
                    client.post("https://a.example/v1/calls?x=1", json={"a": 1}, headers={"MCP-Session-Id": "s"})
                    client.get("https://a.example/v1/approvals")
                asyncio.run(self.once(library, server, signing))
                self.assertEqual(len(seen), 3)
                for request in seen:
                    self.holds(request)
                self.assertIn('"mcp-session-id"', seen[0].headers["signature-input"])

    @staticmethod
    async def once(library, server, signing):
        async with library.AsyncClient(transport=library.MockTransport(server), auth=signing) as client:
            await client.post("https://a.example/mcp/x", content=b"{}")

    def holds(self, request):
        """Rebuilds what was signed from what arrived."""
        parameters = request.headers["signature-input"].removeprefix("sig1=")
        names = [name.strip('"') for name in parameters[1 : parameters.index(")")].split(" ")]
        values = {
            "@method": request.method,
            "@authority": request.url.netloc.decode(),
            "@path": request.url.path,
            "@query": f"?{request.url.query.decode()}",
            **request.headers,
        }
        base = "\n".join([*(f'"{name}": {values[name]}' for name in names), f'"@signature-params": {parameters}'])
        signature = base64.b64decode(request.headers["signature"].removeprefix("sig1=:").removesuffix(":"))
        key().public_key().verify(signature, base.encode())


if __name__ == "__main__":
    unittest.main()
