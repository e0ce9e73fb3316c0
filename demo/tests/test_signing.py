"""Signatures, against the RFC's own example, and as a server sees them."""

import base64
import hashlib
import re
import unittest

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import signing

# RFC 9421 B.1.4: the private key of test-key-ed25519.
RFC_KEY = Ed25519PrivateKey.from_private_bytes(base64.b64decode("n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU="))
RFC_PUBLIC = base64.b64decode("JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=")

# RFC 9421 B.2: the request; B.2.6: parameters and signature.
RFC_URL = "https://example.com/foo?param=Value&Pet=dog"
RFC_HEADERS = {
    "Host": "example.com",
    "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
    "Content-Type": "application/json",
    "Content-Length": "18",
}
RFC_BODY = b'{"hello": "world"}'
RFC_NAMES = ["date", "@method", "@path", "@authority", "content-type", "content-length"]
RFC_PARAMETERS = (
    '("date" "@method" "@path" "@authority" "content-type" "content-length")'
    ';created=1618884473;keyid="test-key-ed25519"'
)
RFC_SIGNATURE = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def verify(public, method: str, url: str, headers: dict, body: bytes) -> str:
    """Rebuilds the base from what arrived; the parameters. Raises, if anything is not as it was signed."""
    label, parameters = headers["signature-input"].split("=", 1)
    names = re.findall(r'"([^"]+)"', parameters.split(")", 1)[0])
    signature = re.fullmatch(rf"{label}=:(.+):", headers["signature"]).group(1)
    values = signing.components(method, url, headers)
    public.verify(base64.b64decode(signature), signing.signature_base(values, names, parameters))
    assert headers["content-digest"] == signing.content_digest(body)
    return parameters


class Rfc9421(unittest.TestCase):
    def test_the_key_of_the_example_has_its_public_half(self):
        self.assertEqual(signing.public_bytes(RFC_KEY), RFC_PUBLIC)

    def test_the_signature_of_appendix_b_2_6_comes_out(self):
        values = signing.components("POST", RFC_URL, RFC_HEADERS)
        base = signing.signature_base(values, RFC_NAMES, RFC_PARAMETERS)
        self.assertEqual(base64.b64encode(RFC_KEY.sign(base)).decode(), RFC_SIGNATURE)

    def test_the_query_is_taken_as_it_was_sent(self):
        self.assertEqual(signing.components("POST", RFC_URL, {})["@query"], "?param=Value&Pet=dog")
        self.assertNotIn("@query", signing.components("POST", "https://example.com/foo", {}))

    def test_a_default_port_is_left_out_and_another_is_kept(self):
        for url, authority in [
            ("https://Example.com:443/", "example.com"),
            ("http://127.0.0.1:8443/", "127.0.0.1:8443"),
            ("http://[::1]:80/", "[::1]"),
        ]:
            self.assertEqual(signing.components("GET", url, {})["@authority"], authority)


class Profile(unittest.TestCase):
    url = "http://127.0.0.1:8700/v1/calls"
    body = '{"query":"…"}'.encode()

    def signed(self, **extra) -> dict:
        headers = {"content-type": "application/json", **extra}
        return {**headers, **signing.sign(KEY, "POST", self.url, headers, self.body)}

    def test_a_signed_request_verifies(self):
        parameters = verify(KEY.public_key(), "POST", self.url, self.signed(), self.body)
        self.assertRegex(
            parameters,
            r'^\("@method" "@authority" "@path" "content-digest"\);created=\d+;keyid="[0-9a-f]{64}"'
            r';nonce="[A-Za-z0-9_-]{24}";alg="ed25519";tag="countersign"$',
        )

    def test_headers_that_change_what_is_done_are_covered(self):
        for name in signing.COVERED_WHEN_PRESENT:
            parameters = verify(KEY.public_key(), "POST", self.url, self.signed(**{name: "x"}), self.body)
            self.assertIn(f'"{name}")', parameters)

    def test_another_method_path_or_header_does_not_verify(self):
        headers = self.signed(**{"idempotency-key": "a"})
        for method, url, changed in [
            ("PUT", self.url, headers),
            ("POST", self.url + "x", headers),
            ("POST", self.url, {**headers, "idempotency-key": "b"}),
        ]:
            with self.assertRaises(Exception):
                verify(KEY.public_key(), method, url, changed, self.body)

    def test_a_key_is_known_by_the_digest_of_its_public_half(self):
        self.assertEqual(signing.key_id(KEY), hashlib.sha256(signing.public_bytes(KEY)).hexdigest())

    def test_two_signatures_have_different_nonces(self):
        self.assertNotEqual(self.signed()["signature-input"], self.signed()["signature-input"])

    def test_an_http_client_signs_what_it_sends(self):
        def server(request: httpx.Request) -> httpx.Response:
            verify(KEY.public_key(), request.method, str(request.url), dict(request.headers), request.content)
            return httpx.Response(200, json={"seen": request.content.decode()})

        with httpx.Client(transport=httpx.MockTransport(server), auth=signing.SigningAuth(KEY)) as client:
            answer = client.post(f"{self.url}?a=b", json={"x": 1}, headers={"mcp-session-id": "s"})
        self.assertEqual(answer.json(), {"seen": '{"x":1}'})
