"""A genuine answer about another number, as whoever stands between could give again, tells nothing of the one asked."""

import asyncio
from typing import Any

import pytest

from redrush.http.small_server import Asked, Reply, SmallServer
from redrush.http.sockets import Reserved
from redrush.ports.provider import Bill, Done, Order, Paid, Refund, Unknown
from redrush.providers.alipay.adapters import AlipayPayIn, AlipayPayOut
from redrush.providers.sandbox.bank import Bank
from redrush.providers.wechat.adapters import WeChatPayIn, WeChatPayOut
from tests.conformance.providers import Clock, alipay_link, alipay_sandbox, wechat_link, wechat_sandbox

ANOTHERS = Unknown("the answer is about another number")


@pytest.mark.parametrize("kind", ["wechat", "alipay"])
def test_a_genuine_answer_about_another_number_is_no_answer(kind: str) -> None:
    async def story() -> None:
        clock, bank = Clock(), Bank()
        for name in ("1", "2"):
            order = Order(number=f"O{name}", amount_minor=500, currency="CNY", subject="s", expires_us=clock() + 10**9)
            bank.order(order, clock())
            bank.pay(order.number, clock())
            bank.transfer(Bill(number=f"T{name}", amount_minor=888, currency="CNY", to="u", subject="s"), clock())
        for number, of in (("R1", "O1"), ("R2", "O1"), ("R1B", "O2")):
            bank.refund(
                Refund(number=number, of=of, amount_minor=2, paid_minor=500, currency="CNY", reason="s"), clock()
            )
        sandbox: Any = (wechat_sandbox if kind == "wechat" else alipay_sandbox)(bank, clock)
        kept: list[Reply] = []

        async def handle(asked: Asked) -> Reply:
            """Give the answer before once more, where one is kept."""
            if kept:
                return kept.pop()
            heard.append(await sandbox.handle(asked))
            return heard[-1]

        heard: list[Reply] = []
        server = SmallServer(handle)
        url = f"http://127.0.0.1:{await server.serve(Reserved.at('127.0.0.1', 0))}"
        link: Any = wechat_link(url, clock) if kind == "wechat" else alipay_link(f"{url}/gateway.do", clock)
        pay_in: Any = (WeChatPayIn if kind == "wechat" else AlipayPayIn)(link)
        pay_out: Any = WeChatPayOut(link, scene="1000", reports={"a": "b"}) if kind == "wechat" else AlipayPayOut(link)
        for find, right, others, state in (
            (pay_in.find, ("O1",), [("O2",)], Paid),
            (pay_out.find, ("T1",), [("T2",)], Done),
            (pay_in.find_refund, ("R1", "O1"), [("R2", "O1"), ("R1", "O2")], Done),
        ):
            assert isinstance(await find(*right), state)
            for other in others:
                kept.append(heard[-1])
                assert await find(*other) == ANOTHERS
            kept.append(heard[-1])
            assert isinstance(await find(*right), state), "the same answer, to the question it is about"
        link.close()
        await server.stop()
        bank.close()

    asyncio.run(story())
