"""A sale on a server, with a bank and a shop at a sandbox: processes of their own, that may be killed."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys
from redrush.core.identity.tickets import sign_ticket
from redrush.http.fetch import Fetcher, Unfetched
from redrush.processes.loopback import free_port
from tests.acceptance.paying.stage import Bank, Process
from tests.patience import PATIENCE_S

CAMPAIGN: Final = """
[campaign]
id = "flash"
name = "flash"
currency = "CNY"
[[round]]
id = "s"
kind = "sale"
opens = "now"
lasts = "1h"
price = "49.99"
{terms}
[limits]
user_per_second = "off"
"""
PRICE_MINOR: Final = 4_999


class SaleStage:
    """See the module."""

    def __init__(self, root: Path, terms: str, *, sandbox: Sequence[str] = ()) -> None:
        self.data = root / "data"
        taken: set[int] = set()
        self.port = free_port(taken)
        bank = Bank(root, taken=taken, calls_per_s=2_000, options=sandbox)
        self.bank_port, self.payments, self.sandbox = bank.port, bank.payments, bank.process
        file = self.campaign = root / "flash.toml"
        file.write_text(CAMPAIGN.format(terms=terms))
        self.server = Process(
            "serve", str(file), "--data", str(self.data), "--port", str(self.port), "--payments", str(self.payments)
        )
        self._fetcher = Fetcher()
        self._tickets: dict[str, str] = {}

    async def __aenter__(self) -> "SaleStage":
        await asyncio.gather(self.server.start(), self.sandbox.start())
        return self

    async def __aexit__(self, *_fault: object) -> None:
        self._fetcher.close()
        for process in (self.server, self.sandbox):
            if process.runs:
                await process.kill()

    def port_of(self, path: str) -> int:
        """Return where this is asked."""
        del path
        return self.port

    def ticket(self, user: str) -> str:
        if user not in self._tickets:
            keys = load_keys(DataDir(self.data))
            self._tickets[user] = sign_ticket(keys.tickets, user, int(time.time()) + 86_400)
        return self._tickets[user]

    async def ask(
        self, method: str, path: str, user: str | None = None, fields: object | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Return status and fields of an answer; raises Unfetched."""
        headers = {"Content-Type": "application/json"}
        if user is not None:
            headers["Authorization"] = f"Bearer {self.ticket(user)}"
        body = b"" if fields is None else json.dumps(fields).encode()
        url = f"http://127.0.0.1:{self.port_of(path)}{path}"
        answer = await self._fetcher.fetch(method, url, headers=headers, body=body, deadline_s=10)
        return answer.status, json.loads(answer.body)

    async def insist(
        self, method: str, path: str, user: str | None = None, fields: object | None = None
    ) -> tuple[int, dict[str, Any]]:
        """The same, asked again while the server is away or asks for patience."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    status, told = await self.ask(method, path, user, fields)
                    if status not in {429, 500, 503}:
                        return status, told
                except (Unfetched, ValueError):
                    pass
                await asyncio.sleep(0.05)

    async def grab(self, user: str, key: str = "") -> dict[str, Any]:
        status, told = await self.insist("POST", f"/v1/rounds/s/grab{key}", user)
        assert status == 200, (status, told)
        return told

    async def pay(self, user: str, grant: str, fields: object | None = None) -> dict[str, Any]:
        """Begin to pay, and return the order once it says how, or is not to be paid any more."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                status, told = await self.insist("POST", f"/v1/holds/{grant}/pay", user, fields)
                if status != 200 or told["state"] != "paying" or told["pay"] is not None:
                    return {"status": status} | told
                await asyncio.sleep(0.05)

    async def pays_at_the_bank(self, order: dict[str, Any]) -> None:
        """The buyer scans the code and pays."""
        await self.bank("POST", f"/wallet/pay/{order['pay']['payload'].rpartition('/')[2]}")

    async def order(self, user: str, grant: str) -> dict[str, Any]:
        _, told = await self.insist("GET", "/v1/orders", user)
        return next((one for one in told["orders"] if one["grant"] == grant), {"state": "none"})

    async def ends(self, user: str, grant: str, *states: str) -> dict[str, Any]:
        """Return the order once it is in one of these states."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                order = await self.order(user, grant)
                if order["state"] in states:
                    return order
                await asyncio.sleep(0.05)

    async def bank(self, method: str, path: str, fields: object | None = None) -> Any:
        """Ask the sandbox."""
        body = b"" if fields is None else json.dumps(fields).encode()
        answer = await self._fetcher.fetch(method, f"http://127.0.0.1:{self.bank_port}{path}", body=body, deadline_s=10)
        assert answer.status == 200, answer
        return json.loads(answer.body)

    async def bank_sums(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Return count and amount of the bank's bills, by kind and state."""
        book = await self.bank("GET", "/book")
        return {(one["kind"], one["state"]): (one["count"], one["amount_minor"]) for one in book["bills"]}

    async def shop_has(self) -> dict[str, dict[str, Any]]:
        """Return the shop's orders, by id."""
        return {one["id"]: one for one in (await self.bank("GET", "/shop/orders"))["orders"]}
