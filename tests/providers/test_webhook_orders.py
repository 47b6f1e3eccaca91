"""Orders handed to a shop by webhook: the shop is the sandbox's, over real HTTP."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from redrush.config import ProviderSpec
from redrush.config.secret import Secret
from redrush.http.fetch import Fetcher
from redrush.http.small_server import Asked, Reply, SmallServer
from redrush.http.sockets import Reserved
from redrush.ports.provider import Accepted, HandOver, Rejected, Terms, Unknown
from redrush.providers import signing
from redrush.providers.sandbox.bank import Bank
from redrush.providers.sandbox.remote import SECRET
from redrush.providers.signing_ed25519 import new_pair
from redrush.providers.webhook import WebhookOrders
from redrush.sandbox.server import Sandbox
from redrush.wiring.providers import connected

TERMS = Terms(currency="CNY", deadline_s=2.0)
SOLD = HandOver(
    number="c-s-7#3",
    event="order.paid",
    user="张伟",
    at_us=1_800_000_000_123_456,
    fields={"grant": "c-s-7", "amount_minor": 499_900, "currency": "CNY", "address": None},
)


def now_us() -> int:
    return time.time_ns() // 1_000


@asynccontextmanager
async def shop() -> AsyncIterator[tuple[Sandbox, WebhookOrders, str]]:
    bank = Bank()
    sandbox = Sandbox(bank, now_us)
    port = await sandbox.serve(Reserved.at("127.0.0.1", 0))
    url = f"http://127.0.0.1:{port}/shop/orders"
    orders = WebhookOrders(url, SECRET, now_us, TERMS, public_only=False)
    try:
        yield sandbox, orders, url
    finally:
        orders.close()
        await sandbox.stop()
        bank.close()


async def listed(url: str) -> list[dict[str, object]]:
    fetcher = Fetcher()
    answer = await fetcher.fetch("GET", url)
    fetcher.close()
    found: list[dict[str, object]] = json.loads(answer.body)["orders"]
    return found


async def test_an_order_is_there_once_however_often_it_is_told() -> None:
    async with shop() as (_, orders, url):
        assert [await orders.hand_over(SOLD) for _ in range(3)] == [Accepted(SOLD.number)] * 3
        [order] = await listed(url)
        assert (order["id"], order["taken"], order["told"]) == ("c-s-7#3", True, 3)
        assert (order["user"], order["grant"], order["address"]) == ("张伟", "c-s-7", None)


async def test_a_refusal_is_for_good_and_an_absence_is_not() -> None:
    async with shop() as (sandbox, orders, _):
        sandbox.faults.set({"shop_down": 1.0})
        assert isinstance(await orders.hand_over(SOLD), Unknown)
        sandbox.faults.set({"shop_down": 0.0, "shop_refuses": 1.0})
        refused = await orders.hand_over(SOLD)
        assert refused == Rejected('{"detail":"no stock of that in this shop"}', final=True)
        sandbox.faults.set({"shop_refuses": 0.0})
        assert await orders.hand_over(SOLD) == refused


async def test_an_answer_that_was_lost_is_unknown_and_the_order_is_there() -> None:
    async with shop() as (sandbox, orders, url):
        sandbox.faults.set({"shop_answer_lost": 1.0})
        assert isinstance(await orders.hand_over(SOLD), Unknown)
        sandbox.faults.set({"shop_answer_lost": 0.0})
        assert await orders.hand_over(SOLD) == Accepted(SOLD.number)
        assert len(await listed(url)) == 1


async def test_an_order_that_somebody_else_has_signed_is_none() -> None:
    async with shop() as (_, _, url):
        forger = WebhookOrders(url, signing.secret_of(b"x" * 32), now_us, TERMS, public_only=False)
        late = WebhookOrders(url, SECRET, lambda: now_us() - 301_000_000, TERMS, public_only=False)
        assert isinstance(await forger.hand_over(SOLD), Unknown)
        assert isinstance(await late.hand_over(SOLD), Unknown)
        assert await listed(url) == []
        forger.close()
        late.close()


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (Reply(202), Accepted(SOLD.number)),
        (Reply(409), Accepted(SOLD.number)),
        (Reply(404, b"where?"), Unknown("the shop answered 404: where?")),
        (Reply(410), Unknown("the shop answered 410: ")),
        (Reply(429, headers=(("Retry-After", "7"),)), Unknown("the shop answered 429: ", 7.0)),
        (Reply(302, headers=(("Location", "http://127.0.0.1:1/"),)), Unknown("the shop answered 302: ")),
        (Reply(422, b"\xff" * 900), Rejected("\ufffd" * 200, final=True)),
    ],
)
async def test_what_each_answer_of_a_shop_means(reply: Reply, answer: object) -> None:
    heard: list[Asked] = []

    async def handle(asked: Asked) -> Reply:
        heard.append(asked)
        return reply

    server = SmallServer(handle)
    port = await server.serve(Reserved.at("127.0.0.1", 0))
    orders = WebhookOrders(f"http://127.0.0.1:{port}/hook", SECRET, now_us, TERMS, public_only=False)
    assert await orders.hand_over(SOLD) == answer
    assert heard[0].headers["webhook-id"] == SOLD.number
    assert json.loads(heard[0].body)["timestamp"] == "2027-01-15T08:00:00.123456Z"
    orders.close()
    await server.stop()


async def test_a_shop_that_hangs_is_given_up() -> None:
    async def handle(_asked: Asked) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    server = SmallServer(handle)
    port = await server.serve(Reserved.at("127.0.0.1", 0))
    orders = WebhookOrders(
        f"http://127.0.0.1:{port}/", SECRET, now_us, Terms(currency="CNY", deadline_s=0.05), public_only=False
    )
    assert isinstance(await orders.hand_over(SOLD), Unknown)
    orders.close()
    await server.stop()


async def test_a_shop_that_can_only_check_takes_what_is_signed_with_the_other_half() -> None:
    signs, checks = new_pair()
    bank = Bank()
    sandbox = Sandbox(bank, now_us, shop_keys=checks)
    url = f"http://127.0.0.1:{await sandbox.serve(Reserved.at('127.0.0.1', 0))}/shop/orders"
    both = WebhookOrders(url, f"{SECRET}\n{signs}", now_us, TERMS, public_only=False)
    other = WebhookOrders(url, f"{SECRET} {new_pair()[0]}", now_us, TERMS, public_only=False)
    assert await both.hand_over(SOLD) == Accepted(SOLD.number)
    assert isinstance(await other.hand_over(SOLD), Unknown)
    assert len(await listed(url)) == 1
    for one in (both, other):
        one.close()
    await sandbox.stop()
    bank.close()


async def test_a_shop_in_a_private_network_is_told_nothing_unless_that_is_meant() -> None:
    async with shop() as (_, _, url):
        spec = ProviderSpec(name="store", kind="webhook", url=url, secrets={"secret": Secret("t", text=SECRET)})
        for private in (False, True):
            one = connected(msgspec.structs.replace(spec, private=private), now_us, "CNY")
            assert one.orders is not None
            said = await one.orders.hand_over(SOLD)
            one.close()
            assert len(await listed(url)) == private
            assert private or "private network" in getattr(said, "why", "")
