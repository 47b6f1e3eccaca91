"""Providers that say what no provider should: whoever logs in is told that it failed, and nothing breaks off."""

import asyncio
import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from redrush.config.login_file import OidcTerms
from redrush.http.small_server import Asked, Reply, SmallServer
from redrush.http.sockets import Reserved
from redrush.login.oidc import NotLoggedIn, Provider, ProviderAway, Started

BACK = "http://127.0.0.1/back"
DEEP = b"[" * 200_000


def finish(*, says: dict[str, Any] | None = None, token: bytes = b"{}", keys: bytes = b'{"keys": []}') -> None:
    """Come back from a provider that says this of itself, besides what is right, and answers so."""

    async def story() -> None:
        async def handle(asked: Asked) -> Reply:
            if "well-known" in asked.path:
                names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
                right = {"issuer": issuer} | {name: f"{issuer}/{name}" for name in names}
                return Reply(200, json.dumps(right | (says or {})).encode())
            return Reply(200, keys if "jwks" in asked.path else token)

        server = SmallServer(handle)
        issuer = f"http://127.0.0.1:{await server.serve(Reserved.at('127.0.0.1', 0))}"
        try:
            provider = Provider(OidcTerms(issuer=issuer, client_id="hongbao"))
            await provider.finish(BACK, Started("s", "n", "v" * 48), {"state": "s", "code": "c"})
        finally:
            await server.stop()

    asyncio.run(story())


def token_of(id_token: object, **more: object) -> bytes:
    return json.dumps({"access_token": "a", "token_type": "Bearer", "id_token": id_token} | more).encode()


def signed(head: bytes = b'{"alg":"RS256","kid":"a"}') -> str:
    return f"{urlsafe_b64encode(head).decode().rstrip('=')}.e30.AAAA"


@pytest.mark.parametrize(
    "says",
    [
        {"id_token_signing_alg_values_supported": 3},
        {"id_token_signing_alg_values_supported": "RS256"},
        {"id_token_signing_alg_values_supported": [{}]},
        {"userinfo_endpoint": 3},
        {"userinfo_endpoint": "http://127.0.0.1:99999/"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "http://[x"},
        {"token_endpoint": "http://127.0.0.1:port/"},
        {"token_endpoint": "http://127.0.0.1:99999/"},
        {"token_endpoint": ""},
        {"jwks_uri": "http://[x"},
        {"jwks_uri": "http://127.0.0.1:port/"},
        {"jwks_uri": "http://127.0.0.1:99999/"},
        {"jwks_uri": "http://a\0b/"},
    ],
    ids=str,
)
def test_what_a_provider_says_of_itself_and_cannot_be_is_its_fault(says: dict[str, Any]) -> None:
    with pytest.raises(ProviderAway):
        finish(says=says, token=token_of(signed()))


@pytest.mark.parametrize("token", [b"[]", b"3", b"null", b'"x"', DEEP], ids=["list", "number", "null", "text", "deep"])
def test_an_answer_that_is_no_token_is_the_provider_s_fault(token: bytes) -> None:
    with pytest.raises(ProviderAway):
        finish(token=token)


@pytest.mark.parametrize(
    "token",
    [
        token_of(3),
        token_of(None),
        token_of({}),
        token_of("a.b.c"),
        token_of("é.b.c"),
        token_of(signed(DEEP)),
        token_of(signed(b"3")),
        b'{"error": 3}',
        b'{"error": {}}',
    ],
    ids=["number", "null", "object", "nonsense", "accent", "deep", "head", "error", "error object"],
)
def test_a_token_that_is_none_logs_nobody_in(token: bytes) -> None:
    with pytest.raises((NotLoggedIn, ProviderAway)):
        finish(token=token)


@pytest.mark.parametrize(
    "keys",
    [
        b'{"keys": [null]}',
        b'{"keys": [[]]}',
        b'{"keys": {"a": 1}}',
        b'{"keys": "abc"}',
        b'{"keys": [{"kty": ["RSA"]}]}',
        b'{"keys": [{"kty": "RSA", "n": 3, "e": 4, "kid": "a"}]}',
        b'{"keys": [{"kty": "RSA", "n": "", "e": "AQAB", "kid": "a"}]}',
        b'{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": ["a"]}]}',
        b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "a"}]}',
        b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "a"}]}',
        b'{"keys": [{"kty": "of another time", "kid": "z"}]}',
        b'{"keys": ' + DEEP,
    ],
    ids=range(12),
)
def test_keys_that_are_none_log_nobody_in(keys: bytes) -> None:
    with pytest.raises((NotLoggedIn, ProviderAway)):
        finish(token=token_of(signed()), keys=keys)
