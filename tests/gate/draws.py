"""A gate with one draw over a store in memory, a clock that the test sets, and plays that come as the test says."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from redrush.core.rush.campaign import Campaign, Kind, Leftover, Round, Slots
from redrush.core.rush.draw import DrawTerms, Floor, Lots, Prize, PrizeKind, draw_key
from redrush.core.rush.holding import SlotTable, parts_of
from redrush.gate.assembly import build_gate
from redrush.gate.campaign import Event
from redrush.gate.manners import Home
from redrush.gate.rush.draw import Draw
from redrush.http.reader import Limits
from redrush.ports.store import Store
from redrush.stores.memory import MemoryStore
from tests.gate.world import RECEIPT_RING, TICKET_RING

OPENS_US = 1_800_000_000_000_000
SECOND_US = 1_000_000
KEY = draw_key(b"a seed of the tests, 32 bytes ...")


def prize(
    name: str,
    count: int,
    odds: tuple[int, int] | None = None,
    *,
    spread: bool = False,
    pace: float | None = None,
    each_minor: int = 0,
    limit: int = 1,
    otherwise: str | None = None,
) -> Prize:
    return Prize(
        id=name,
        name=name,
        holds=PrizeKind.MONEY if each_minor else PrizeKind.GOODS,
        count=count,
        each_minor=each_minor,
        limit_per_user=limit,
        odds=odds,
        spread=spread,
        per_second=pace,
        otherwise=otherwise,
    )


def draw_campaign(
    prizes: Sequence[Prize],
    per_user: int | None = 10,
    per_day: int | None = None,
    lasts_s: int = 3_600,
    floor: Floor | None = None,
    zone: str = "UTC",
) -> Campaign:
    terms = DrawTerms(prizes=tuple(prizes), per_user=per_user, per_day=per_day, floor=floor, zone=zone)
    round_ = Round(
        id="d",
        opens_us=OPENS_US,
        closes_us=OPENS_US + lasts_s * SECOND_US,
        kind=Kind.DRAW,
        total_minor=sum(one.count * one.each_minor for one in prizes),
        min_minor=0,
        max_minor=0,
        slots=Slots(0, sum(one.count for one in prizes)),
        leftover=Leftover.RETURN,
        draw=terms,
    )
    return Campaign(id="c", name="n", currency="CNY", rounds=(round_,))


def table_for(campaign: Campaign) -> SlotTable:
    amounts = []
    for round_ in campaign.rounds:
        assert round_.draw is not None
        for one in round_.draw.prizes:
            amounts += [one.each_minor] * one.count
    return SlotTable(amounts, parts_of(campaign))


class Waiting:
    """Somebody who waits for the answer to one play."""

    waiting = True
    address = b""

    def __init__(self) -> None:
        self.answered = asyncio.get_running_loop().create_future()

    def send(self, answer: bytes) -> None:
        self.answered.set_result(answer)


class Gone:
    """Somebody who went away before the answer."""

    waiting = False
    address = b""

    def send(self, answer: bytes) -> None:
        """Nobody hears it."""


class DrawGate:
    """See the module. `start` it first."""

    def __init__(self, campaign: Campaign, store: Store | None = None, audience: frozenset[str] | None = None) -> None:
        self.store = store or MemoryStore()
        self.now_us = OPENS_US
        self.campaign = campaign
        draw = campaign.rounds[0].draw
        assert draw is not None
        self.lots = Lots(draw, KEY)
        event = Event(campaign, table_for(campaign), TICKET_RING, RECEIPT_RING, audience, draw_keys={"d": KEY})
        self.gate = build_gate(
            event, Limits(), lambda pot: [Home("only", self.store, pot.slots)], now_us=lambda: self.now_us, failed=print
        )
        rush = self.gate.rounds["d"]
        assert isinstance(rush, Draw)
        self.rush = rush

    async def start(self) -> "DrawGate":
        await self.rush.warm_up()
        return self

    async def play(self, user: str, play: int | None = None) -> dict[str, Any]:
        """Return what the play comes to."""
        body = b"" if play is None else json.dumps({"play": play}).encode()
        return await self._asked(self.rush.reads(body), user)

    async def _asked(self, route: Any, user: str) -> dict[str, Any]:
        waiter = Waiting()
        answer = route.serve(waiter, user)
        return body_of(await waiter.answered if answer is None else answer)

    async def grants(self, user: str) -> list[dict[str, Any]]:
        found = await self.rush.grants_of(user)
        assert isinstance(found, list)
        return [json.loads(one) for one in found]

    def instants(self, name: str) -> list[int]:
        """Return when the slots of a prize that is spread are released."""
        round_ = self.campaign.rounds[0]
        assert round_.draw is not None
        one = round_.draw.prize(name)
        assert one is not None
        return self.lots.instants(one, round_.opens_us, round_.closes_us)

    def user_who(self, play: int, number: int | None) -> str:
        """Return somebody whose play of this number comes to the prize by its lot."""
        return next(user for n in range(100_000) if self.lots.result(user := f"u{n}", play) == number)


def body_of(answer: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found
