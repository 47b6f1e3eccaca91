"""What a participant asks about a unit that is held for them: how to pay, to give it back, how far their orders are.

async with Buyer(["https://hongbao.example"], ticket) as buyer:
    result = await buyer.grab("phone")
    if result.grant is not None:
        print((await buyer.pay(result.grant.id))["pay"])
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from redrush.client.answers import read_retry_after_s
from redrush.client.exchanging import UNREACHABLE
from redrush.client.participant import Participant
from redrush.errors import RedrushError

TRIES_MAX: Final = 20
"""Of one wish: a provider may take seconds to say how to pay."""
AGAIN_S: Final = 0.5
RETRIED: Final = frozenset({429, 500, 502, 503, 504})

Fields = dict[str, Any]
Request = Callable[[str, str, bytes | None], Awaitable[tuple[int, Mapping[str, str], bytes]]]
"""Sends method, path and body with the ticket. Raises one of UNREACHABLE."""


class BuyingRefused(RedrushError):
    """A wish was refused for good, or nobody answered. `status` and `fields` are the answer's; 0 and nothing if none
    came."""

    def __init__(self, status: int, fields: Fields) -> None:
        super().__init__(str(fields.get("detail", "there was no answer")))
        self.status = status
        self.fields = fields


async def ask(request: Request, method: str, path: str, fields: Fields | None = None) -> Fields:
    """Return the answer, asked again where that may help. Every wish is harmless to repeat. Raises BuyingRefused."""
    body = None if fields is None else msgspec.json.encode(fields)
    status, told = 0, Fields()
    for _ in range(TRIES_MAX):
        pause_s = AGAIN_S
        try:
            status, headers, answer = await request(method, path, body)
            told = msgspec.json.decode(answer, type=Fields)
            if status == 200 and not _has_to_ask_again(told):
                return told
            if status != 200 and status not in RETRIED:
                raise BuyingRefused(status, told)
            pause_s = read_retry_after_s(headers.get("Retry-After")) or AGAIN_S
        except (*UNREACHABLE, msgspec.DecodeError):
            pass
        await asyncio.sleep(pause_s)
    if status == 200:
        return told  # nobody has said how to pay yet: it may be asked once more
    raise BuyingRefused(status, told)


def _has_to_ask_again(told: Fields) -> bool:
    return told.get("state") == "paying" and told.get("pay") is None


class Buyer(Participant):
    """A participant of a sale: `grab` finds the key of a secret URL, and comes back when there is a chance again."""

    async def pay(self, grant: str, address: str | None = None) -> Fields:
        """Begin to pay for a unit that is held; return the order, whose `pay` says how. Raises BuyingRefused."""
        fields = None if address is None else {"address": address}
        return await ask(self._buy, "POST", f"/v1/holds/{grant}/pay", fields)

    async def give_back(self, grant: str) -> Fields:
        """Let somebody else have the unit. Raises BuyingRefused: it is paid already, or not theirs any more."""
        return await ask(self._buy, "DELETE", f"/v1/holds/{grant}")

    async def orders(self) -> list[Fields]:
        """Return how far the participant's orders are. Raises BuyingRefused."""
        listed: list[Fields] = (await ask(self._buy, "GET", "/v1/orders"))["orders"]
        return listed

    async def _buy(self, method: str, path: str, body: bytes | None) -> tuple[int, Mapping[str, str], bytes]:
        return await self._request(method, path, self._deadline_s(), body=body, ticket=self._ticket)
