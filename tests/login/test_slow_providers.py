"""A provider that is slow, asked by many, or away for a while: nobody waits for ever, and it is asked once."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from redrush.config.login_file import OidcTerms
from redrush.http.small_server import Asked, Reply, SmallServer
from redrush.http.sockets import Reserved
from redrush.login import oidc
from redrush.login.oidc import Begun, Provider, ProviderAway

BACK = "http://127.0.0.1/back"


class Discovery:
    """A provider as far as it says something of itself."""

    def __init__(self) -> None:
        self.heard: list[Asked] = []
        self.issuer = ""
        self.reply = Reply(200)
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def handle(self, asked: Asked) -> Reply:
        self.heard.append(asked)
        await self.go_on.wait()
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        said = {"issuer": self.issuer, **{name: f"{self.issuer}/{name}" for name in names}}
        return self.reply if self.reply.body or self.reply.status != 200 else Reply(200, json.dumps(said).encode())


def play(story: Callable[[Provider, Discovery], Awaitable[None]]) -> None:
    async def run() -> None:
        discovery = Discovery()
        server = SmallServer(discovery.handle)
        discovery.issuer = f"http://127.0.0.1:{await server.serve(Reserved.at('127.0.0.1', 0))}"
        try:
            await story(Provider(OidcTerms(issuer=discovery.issuer, client_id="hongbao")), discovery)
        finally:
            await server.stop()

    asyncio.run(run())


def test_an_answer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "DEADLINE_S", 1.2)  # a byte comes each second: no single one is late

    async def story(provider: Provider, discovery: Discovery) -> None:
        discovery.reply = Reply(200, b'{"a"', drips=True)
        with pytest.raises(ProviderAway, match=r"no answer within 1\.2 s"):
            await provider.begin(BACK)

    play(story)


def test_many_at_once_ask_once() -> None:
    async def story(provider: Provider, discovery: Discovery) -> None:
        discovery.go_on.clear()
        waiting = [asyncio.create_task(provider.begin(BACK)) for _ in range(20)]
        while not discovery.heard:
            await asyncio.sleep(0)
        waiting.pop().cancel()
        await asyncio.sleep(0.05)  # whoever would ask, too, has asked by then
        discovery.go_on.set()
        assert {type(one) for one in await asyncio.gather(*waiting)} == {Begun}
        assert len(discovery.heard) == 1

    play(story)


def test_many_at_once_are_told_of_one_failure() -> None:
    async def story(provider: Provider, discovery: Discovery) -> None:
        discovery.reply = Reply(503)
        said = await asyncio.gather(*(provider.begin(BACK) for _ in range(20)), return_exceptions=True)
        assert {type(one) for one in said} == {ProviderAway}
        assert len(discovery.heard) == 1
        discovery.reply = Reply(200)
        assert isinstance(await provider.begin(BACK), Begun), "and it is asked again"

    play(story)


@pytest.mark.parametrize("reply", [Reply(503), Reply(200, b'{"issuer": "http://evil.example"}')], ids=["away", "other"])
def test_what_a_provider_said_before_counts_while_it_says_nothing_of_use(reply: Reply) -> None:
    async def story(provider: Provider, discovery: Discovery) -> None:
        before = await provider.metadata()
        provider._metadata_until = time.monotonic()  # an hour later
        discovery.reply = reply
        assert isinstance(await provider.begin(BACK), Begun)
        assert await provider.metadata() == before
        assert len(discovery.heard) == 2, "it is not asked by everybody meanwhile"
        provider._metadata_until = time.monotonic()
        discovery.reply = msgspec.structs.replace(reply, status=200, body=b"")
        await provider.metadata()
        assert provider._metadata_until > time.monotonic() + oidc.METADATA_AGAIN_S

    play(story)


@pytest.mark.parametrize("body", [b"{}", b'{"keys": 3}', b'{"keys": [{}]}', b'{"keys": [{"kty": "RSA"}]}'])
def test_what_is_no_set_of_keys_is_told_as_the_provider_s_fault(body: bytes) -> None:
    async def story(provider: Provider, discovery: Discovery) -> None:
        await provider.metadata()
        discovery.reply = Reply(200, body)
        with pytest.raises(ProviderAway, match="/jwks_uri is not answered as a provider does: that is no set of keys"):
            await provider._key_set()

    play(story)
