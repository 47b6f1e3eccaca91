"""The providers that pass the suite, each with somebody who pays and confirms at the other end, and a clock."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec

from redrush.http.fetch import Fetcher
from redrush.http.sockets import Reserved
from redrush.ports.provider import DailyBills, PayIn, PayOut
from redrush.providers.sandbox.bank import Bank, BankTerms
from redrush.providers.sandbox.direct import DirectBills, DirectPayIn, DirectPayOut
from redrush.providers.sandbox.remote import SECRET, SandboxBills, SandboxLink, SandboxPayIn, SandboxPayOut
from redrush.sandbox.server import Sandbox

NOON_US = 1_800_000_000_000_000
DAY = "2027-01-15"
"""The day of NOON_US, in UTC."""


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.us = NOON_US

    def __call__(self) -> int:
        return self.us


class World(msgspec.Struct):
    """A provider, and what goes on at its other end."""

    pay_in: PayIn
    pay_out: PayOut
    bills: DailyBills
    clock: Clock
    pay: Callable[[str], Awaitable[object]]
    """Somebody pays the order of this number."""
    confirm: Callable[[str], Awaitable[object]]
    """The receiver of this number confirms."""


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


ADAPTERS: dict[str, Opens] = {"direct": direct, "sandbox": over_http}
