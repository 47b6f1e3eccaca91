"""The providers that pass the suite, each with somebody who pays and confirms at the other end, and a clock."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from redrush.http.fetch import Fetcher
from redrush.http.small_server import SmallServer
from redrush.http.sockets import Reserved
from redrush.ports.provider import DailyBills, PayIn, PayOut
from redrush.providers.alipay.adapters import AlipayPayIn, AlipayPayOut
from redrush.providers.alipay.bills import AlipayBills
from redrush.providers.alipay.keys import App
from redrush.providers.alipay.keys import KeyRing as KeyRingOfAlipay
from redrush.providers.alipay.link import AlipayLink
from redrush.providers.sandbox.bank import Bank, BankTerms
from redrush.providers.sandbox.direct import DirectBills, DirectPayIn, DirectPayOut
from redrush.providers.sandbox.remote import SECRET, SandboxBills, SandboxLink, SandboxPayIn, SandboxPayOut
from redrush.providers.stripe.adapters import LINGERS_S, StripePayIn, StripePayOut
from redrush.providers.stripe.link import StripeLink
from redrush.providers.wechat.adapters import WeChatPayIn, WeChatPayOut
from redrush.providers.wechat.bills import WeChatBills
from redrush.providers.wechat.keys import KeyRing, Merchant
from redrush.providers.wechat.link import WeChatLink
from redrush.sandbox.alipay import AlipaySandbox
from redrush.sandbox.server import Sandbox
from redrush.sandbox.stripe import StripeSandbox
from redrush.sandbox.wechat import SERIAL, WeChatSandbox

NOON_US = 1_800_000_000_000_000
DAY = "2027-01-15"
"""The day of NOON_US, in UTC."""


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.us = NOON_US

    def __call__(self) -> int:
        return self.us


async def nobody(_number: str) -> object:
    """Nobody does that here."""
    return None


class World(msgspec.Struct):
    """A provider, and what goes on at its other end."""

    pay_in: PayIn
    pay_out: PayOut
    bills: DailyBills | None
    clock: Clock
    pay: Callable[[str], Awaitable[object]]
    """Somebody pays the order of this number."""
    confirm: Callable[[str], Awaitable[object]] = nobody
    """The receiver of this number confirms."""
    begin: Callable[[str], Awaitable[object]] = nobody
    """Somebody begins to pay the order of this number: where orders open late, it is there from now on."""
    tells_fees: bool = True
    """Whether a query says what was kept for the work."""
    gives_fees_back: bool = False
    """Whether a refund gives back its share of the fee."""
    lingers_us: int = 0
    """So much longer an order stays open there than was asked for, unless it is closed."""


Opens = Callable[[BankTerms], AbstractAsyncContextManager[World]]


@asynccontextmanager
async def direct(terms: BankTerms) -> AsyncIterator[World]:
    clock = Clock()
    bank = Bank(terms=terms)

    async def pay(number: str) -> object:
        return bank.pay(number, clock())

    async def confirm(number: str) -> object:
        return bank.confirm(number, clock())

    yield World(DirectPayIn(bank, clock), DirectPayOut(bank, clock), DirectBills(bank), clock, pay, confirm)
    bank.close()


@asynccontextmanager
async def over_http(terms: BankTerms) -> AsyncIterator[World]:
    """The sandbox as a server on loopback, with the same clock."""
    clock = Clock()
    bank = Bank(terms=terms)
    sandbox = Sandbox(bank, clock)
    url = f"http://127.0.0.1:{await sandbox.serve(Reserved.at('127.0.0.1', 0))}"
    link, people = SandboxLink(url, [SECRET], clock), Fetcher()

    async def pay(number: str) -> object:
        return await people.fetch("POST", f"{url}/wallet/pay/{number}")

    async def confirm(number: str) -> object:
        return await people.fetch("POST", f"{url}/wallet/confirm/{number}")

    try:
        yield World(SandboxPayIn(link), SandboxPayOut(link), SandboxBills(link), clock, pay, confirm)
    finally:
        link.close()
        people.close()
        await sandbox.stop()
        bank.close()


PLATFORM_KEY = rsa.generate_private_key(65_537, 2_048)
MERCHANT_KEY = rsa.generate_private_key(65_537, 2_048)
API_KEY = b"an APIv3 key has thirty-two sign"
MCHID = "1900000001"


def wechat_link(url: str, clock: Clock, **more: Any) -> WeChatLink:
    """Return the link of a merchant to a sandbox that has the keys above."""
    merchant = Merchant(MCHID, "5157F09EFDC096DE15EBE81A47057A7232F1B8E1", MERCHANT_KEY, API_KEY)
    ring = KeyRing({SERIAL: PLATFORM_KEY.public_key()})
    return WeChatLink(merchant, ring, "wx8888888888888888", clock, url=url, notify_url="https://n.example/", **more)


def wechat_sandbox(bank: Bank, clock: Clock) -> WeChatSandbox:
    """Return WeChat's API over the bank, with the keys above."""
    return WeChatSandbox(
        bank, clock, mchid=MCHID, merchant=MERCHANT_KEY.public_key(), platform=PLATFORM_KEY, api_key=API_KEY
    )


@asynccontextmanager
async def wechat(terms: BankTerms) -> AsyncIterator[World]:
    """WeChat Pay's adapter, against its API over the sandbox's bank."""
    clock = Clock()
    bank = Bank(terms=terms)
    server = SmallServer(wechat_sandbox(bank, clock).handle)
    link = wechat_link(f"http://127.0.0.1:{await server.serve(Reserved.at('127.0.0.1', 0))}", clock)

    async def pay(number: str) -> object:
        return bank.pay(number, clock())

    async def confirm(number: str) -> object:
        return bank.confirm(number, clock())

    pay_out = WeChatPayOut(link, scene="1000", reports={"活动名称": "gala", "奖励说明": "red packet"})
    try:
        pay_in = WeChatPayIn(link, ways=("qr", "jsapi", "redirect"))
        bills = WeChatBills(link)
        yield World(pay_in, pay_out, bills, clock, pay, confirm, tells_fees=False, gives_fees_back=True)
    finally:
        link.close()
        await server.stop()
        bank.close()


APP_KEY, ALIPAY_KEY = (rsa.generate_private_key(65_537, 2_048) for _ in range(2))
APPID, SELLER = "2021000000000001", "2088000000000001"
APP = App(APPID, SELLER, APP_KEY)


def alipay_link(url: str, clock: Clock, **more: Any) -> AlipayLink:
    """Return the link of an app to a gateway that has the keys above."""
    return AlipayLink(APP, KeyRingOfAlipay({"": ALIPAY_KEY.public_key()}), clock, url=url, **more)


def alipay_sandbox(bank: Bank, clock: Clock) -> AlipaySandbox:
    """Return Alipay's gateway over the bank, with the keys above."""
    return AlipaySandbox(bank, clock, appid=APPID, seller=SELLER, app=APP_KEY.public_key(), alipay=ALIPAY_KEY)


@asynccontextmanager
async def alipay(terms: BankTerms) -> AsyncIterator[World]:
    """Alipay's adapter, against its gateway over the sandbox's bank."""
    clock = Clock()
    bank = Bank(terms=terms)
    sandbox = alipay_sandbox(bank, clock)
    server = SmallServer(sandbox.handle)
    link = alipay_link(f"http://127.0.0.1:{await server.serve(Reserved.at('127.0.0.1', 0))}/gateway.do", clock)

    async def begin(number: str) -> object:
        sandbox.scan(number)
        return None

    async def pay(number: str) -> object:
        sandbox.scan(number)
        return bank.pay(number, clock())

    try:
        pay_in, pay_out, bills = AlipayPayIn(link, ways=("qr", "redirect")), AlipayPayOut(link), AlipayBills(link)
        yield World(pay_in, pay_out, bills, clock, pay, nobody, begin, tells_fees=False, gives_fees_back=True)
    finally:
        link.close()
        await server.stop()
        bank.close()


STRIPE_KEY, STRIPE_SECRET = "sk_test_sandbox", "whsec_of_the_endpoint"


def stripe_sandbox(bank: Bank, clock: Clock) -> StripeSandbox:
    """Return Stripe's API over the bank, with the secrets above."""
    return StripeSandbox(bank, clock, key=STRIPE_KEY, secret=STRIPE_SECRET)


@asynccontextmanager
async def stripe(terms: BankTerms) -> AsyncIterator[World]:
    """Stripe's adapter, through its library, against its API over the sandbox's bank."""
    clock = Clock()
    bank = Bank(terms=terms)
    server = SmallServer(stripe_sandbox(bank, clock).handle)
    url = f"http://127.0.0.1:{await server.serve(Reserved.at('127.0.0.1', 0))}"
    link = StripeLink(STRIPE_KEY, url=url, back="https://rush.example/")

    async def pay(number: str) -> object:
        return bank.pay(number, clock())

    try:
        yield World(StripePayIn(link), StripePayOut(link), None, clock, pay, lingers_us=LINGERS_S * 1_000_000)
    finally:
        link.close()
        await server.stop()
        bank.close()


ADAPTERS: dict[str, Opens] = {
    "direct": direct, "sandbox": over_http, "wechat": wechat, "alipay": alipay, "stripe": stripe,
}  # fmt: skip
PENDING = ("direct", "sandbox", "wechat", "alipay")
"""Those whose transfers may take a while."""

CONFIRMING = ("direct", "sandbox", "wechat")
"""Those whose receivers may have to confirm."""
WITH_BILLS = ("direct", "sandbox", "wechat", "alipay")
"""Those whose daily bill can be fetched."""
