"""The official Python SDK, which finds the issuer by itself.

    python python_sdk.py URL person CLIENT       a client that the issuer knows; a person signs in
    python python_sdk.py URL person              one that registers itself with the issuer
    COUNTERSIGN_SECRET=… python python_sdk.py URL alone CLIENT ISSUER     one that acts for nobody
"""

import asyncio
import hashlib
import os
import pathlib
import sys
import urllib.parse

from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients"))
from steps import step  # noqa: E402

# Nobody listens there: the person's browser brings the answer by hand.
CALLBACK = "http://127.0.0.1/callback"


class Storage:
    """What the SDK has to remember, in memory."""

    def __init__(self, client: OAuthClientInformationFull | None):
        self.client, self.tokens = client, None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


async def to_the_person(url: str) -> None:
    step("authorize", url)


async def from_the_person() -> AuthorizationCodeResult:
    query = urllib.parse.urlsplit(await asyncio.to_thread(input)).query
    found = dict(urllib.parse.parse_qsl(query))
    return AuthorizationCodeResult(code=found["code"], state=found.get("state"), iss=found.get("iss"))


def for_a_person(url: str, client: str | None = None) -> OAuthClientProvider:
    about = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
    known = OAuthClientInformationFull(client_id=client, **about) if client else None
    metadata = OAuthClientMetadata(client_name="Notes", application_type="native", **about)
    return OAuthClientProvider(url, metadata, Storage(known), to_the_person, from_the_person)


def alone(url: str, client: str, issuer: str) -> OAuthClientProvider:
    secret = os.environ["COUNTERSIGN_SECRET"]
    return ClientCredentialsOAuthProvider(url, Storage(None), client, secret, issuer=issuer)


async def main(url: str, how: str, *more: str) -> None:
    provider = {"person": for_a_person, "alone": alone}[how](url, *more)
    async with (
        create_mcp_http_client(auth=provider) as http,
        Client(streamable_http_client(url, http_client=http), mode="2026-07-28") as client,
    ):

        async def call(tool: str, **arguments) -> str:
            result = await client.call_tool(tool, arguments)
            return result.content[0].text

        step("list", sorted(tool.name for tool in (await client.list_tools()).tools))
        step("call", await call("read_note", name="plan"))
        step("refused", await call("read_note", name="salaries"))
    # What the records of these calls name it by.
    step("token", hashlib.sha256(provider.context.current_tokens.access_token.encode()).hexdigest())


asyncio.run(main(*sys.argv[1:]))
