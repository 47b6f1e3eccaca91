"""A sale over real HTTP: what is held, held out, limited, locked and admitted. The store is a real one, in memory."""

import asyncio
import json
from collections.abc import AsyncIterator, Container, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from redrush.core.identity.receipts import verify_receipt
from redrush.core.identity.tickets import sign_ticket
from redrush.core.rush.campaign import Campaign, Kind, Leftover, Round, Slots
from redrush.core.rush.holding import SlotTable, parts_of
from redrush.core.rush.instants import rfc3339
from redrush.core.rush.sale import SaleTerms
from redrush.gate.assembly import build_gate
from redrush.gate.campaign import Event
from redrush.gate.manners import Home
from redrush.gate.rush.sale import Sale
from redrush.http.reader import Limits
from redrush.http.server import Server
from redrush.ports.store import Claim, ClaimResult, Grant, Held, HoldState
from redrush.stores.memory import MemoryStore
from tests import openapi
from tests.gate.world import RECEIPT_RING, TICKET_RING, Answer, read_answer, request

OPENS_US = 1_800_000_000_000_000
SECOND_US = 1_000_000
HOLD_US = 60 * SECOND_US
EVERY_US = 30 * SECOND_US
TERMS = SaleTerms(price_minor=4_999, hold_us=HOLD_US, return_every_us=EVERY_US)


class SaleGate:
    """A gate with one sale, and its clock."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def __init__(self, terms: SaleTerms, units: int, audience: Container[str] | None) -> None:
        sale = Round(
            id="s",
            opens_us=OPENS_US,
            closes_us=OPENS_US + 600 * SECOND_US,
            kind=Kind.SALE,
            total_minor=0,
            min_minor=0,
            max_minor=0,
            slots=Slots(0, units),
            leftover=Leftover.RETURN,
            sale=terms,
        )
        campaign = Campaign(id="c", name="n", currency="CNY", rounds=(sale,))
        table = SlotTable([0] * units, parts_of(campaign))
        self.now_us = OPENS_US
        self.store = MemoryStore()
        self.gate = build_gate(
            Event(campaign, table, TICKET_RING, RECEIPT_RING, audience),
            Limits(),
            lambda pot: [Home("only", self.store, pot.slots)],
            now_us=lambda: self.now_us,
            failed=print,
        )
        rush = self.gate.rounds["s"]
        assert isinstance(rush, Sale)
        self.rush = rush
        self.server = Server([self.gate.tick])

    async def ask(self, method: str, path: str, user: str | None = None, body: bytes = b"") -> Answer:
        ticket = None if user is None else sign_ticket(TICKET_RING, user, self.now_us // SECOND_US + 3_600)
        headers = ("Content-Type: application/json",) if body else ()
        self.writer.write(request(method, path, ticket, body, headers))
        received = b""
        while (found := read_answer(received)) is None:
            more = await self.reader.read(65_536)
            assert more, received
            received += more
        assert not found[1]
        if openapi.operation_of(method, path) is not None:
            openapi.check(method, path, found[0])
        return found[0]

    async def grab(self, user: str, key: str = "", unit: int | None = None) -> Any:
        body = b"" if unit is None else json.dumps({"unit": unit}).encode()
        answer = await self.ask("POST", f"/v1/rounds/s/grab{key}", user, body)
        assert answer.status == 200, answer
        return answer.json

    async def outcomes(self, *users: str) -> list[str]:
        return [(await self.grab(user))["outcome"] for user in users]

    async def state(self) -> Any:
        self.now_us += 10_000  # the state is as fresh as this
        return (await self.ask("GET", "/v1/rounds/s")).json

    async def hold_of(self, user: str) -> Grant:
        held = await self.store.find("s", user)
        assert isinstance(held, Held)
        return Grant("s", user, held.slot, "", held.number)

    async def release(self, user: str) -> None:
        assert await self.store.release([await self.hold_of(user)], self.now_us) == [HoldState.RELEASED]

    async def confirm(self, user: str) -> None:
        assert await self.store.confirm([await self.hold_of(user)], self.now_us) == [HoldState.CONFIRMED]


@asynccontextmanager
async def sale_gate(
    terms: SaleTerms = TERMS, units: int = 2, audience: Container[str] | None = None
) -> AsyncIterator[SaleGate]:
    sale = SaleGate(terms, units, audience)
    await sale.rush.warm_up()
    port = await sale.server.listen(sale.gate.site, "127.0.0.1", 0)
    sale.reader, sale.writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield sale
    finally:
        sale.writer.close()
        await sale.server.stop()


async def test_what_is_granted_is_held_until_an_instant_and_has_no_receipt_yet() -> None:
    async with sale_gate() as sale:
        first = await sale.grab("ann")
        hold = {"expires_at": rfc3339(OPENS_US + HOLD_US)}
        grant = {"id": "c-s-0", "round": "s", "slot": 0, "holds": "unit", "granted_at": rfc3339(OPENS_US), "hold": hold}
        assert first == {"outcome": "granted", "grant": grant, "hold": hold, "repeat": False}
        sale.now_us += SECOND_US
        assert await sale.grab("ann") == first | {"repeat": True}
        assert (await sale.ask("GET", "/v1/grants", "ann")).json == {"grants": [grant]}
        assert (await sale.ask("GET", "/v1/grants", "bob")).json == {"grants": []}


async def test_what_is_sold_is_the_buyers_for_good_with_a_receipt() -> None:
    async with sale_gate() as sale:
        await sale.grab("ann")
        await sale.confirm("ann")
        told = await sale.grab("ann")
        assert "hold" not in told
        receipt = verify_receipt(RECEIPT_RING, told["grant"]["receipt"])
        assert receipt is not None
        assert (receipt.round, receipt.slot, receipt.holds, receipt.user) == ("s", 0, "unit", "ann")


async def test_listed_items_are_named() -> None:
    async with sale_gate(msgspec.structs.replace(TERMS, items=("A-1", "厅 2"))) as sale:
        assert [(await sale.grab(user))["grant"]["holds"] for user in ("ann", "bob")] == ["item:A-1", "item:厅 2"]


async def test_while_all_is_held_there_is_an_instant_to_come_back_at_and_the_store_is_left_alone() -> None:
    async with sale_gate() as sale:
        assert await sale.outcomes("ann", "bob") == ["granted", "granted"]
        sale.now_us += 5 * SECOND_US
        told = await sale.grab("cat")
        assert told == {"outcome": "held_out", "next_chance_at": rfc3339(OPENS_US + EVERY_US)}
        batches = sale.gate.lanes["only"].batches
        await sale.release("ann")  # it waits for its instant
        assert await sale.outcomes("cat", "dan", "cat") == ["held_out"] * 3
        assert sale.gate.lanes["only"].batches == batches
        assert (await sale.state())["next_chance_at"] == told["next_chance_at"]
        assert (await sale.state())["state"] == "open"
        assert (await sale.ask("GET", "/state/c.json")).json["left"] == "held"
        sale.now_us = OPENS_US + EVERY_US
        assert (await sale.grab("dan"))["next_chance_at"] == rfc3339(sale.now_us + 200_000), "the offer is under way"
        await sale.store.offer(["s"])
        sale.rush.offered()
        assert await sale.outcomes("dan", "cat") == ["granted", "held_out"]


async def test_a_claim_that_finds_nothing_while_units_come_back_keeps_nobody_from_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with sale_gate(units=1) as sale:
        assert await sale.outcomes("ann") == ["granted"]
        decided, told, claim = asyncio.Event(), asyncio.Event(), sale.store.claim

        async def slowly(claims: Sequence[Claim], at_us: int) -> list[ClaimResult]:
            results = await claim(claims, at_us)
            decided.set()
            await told.wait()
            return results

        monkeypatch.setattr(sale.store, "claim", slowly)
        bob = asyncio.create_task(sale.grab("bob"))
        await decided.wait()
        await sale.release("ann")
        assert await sale.store.offer(["s"]) == 1
        sale.rush.offered()
        told.set()
        assert (await bob)["outcome"] == "missed", "they may ask again at once"
        assert await sale.outcomes("cid") == ["granted"]


async def test_sold_out_is_said_when_every_unit_is_somebodys_for_good() -> None:
    async with sale_gate() as sale:
        await sale.outcomes("ann", "bob")
        await sale.confirm("ann")
        assert await sale.outcomes("cat") == ["held_out"]
        await sale.confirm("bob")
        sale.now_us += EVERY_US + 3 * SECOND_US
        assert await sale.outcomes("cat", "dan", "ann") == ["empty", "empty", "granted"]
        assert (await sale.state())["state"] == "sold_out"


async def test_who_gave_back_may_claim_again() -> None:
    async with sale_gate(units=3) as sale:
        first = await sale.grab("ann")
        await sale.release("ann")
        second = await sale.grab("ann")
        assert (first["grant"]["slot"], second["grant"]["slot"], second["repeat"]) == (0, 1, False)


async def test_a_user_may_have_so_many_and_names_each() -> None:
    async with sale_gate(msgspec.structs.replace(TERMS, limit_per_user=2), units=5) as sale:
        one, two, again = [await sale.grab("ann", unit=unit) for unit in (1, 2, 2)]
        assert [told["grant"]["slot"] for told in (one, two, again)] == [0, 1, 1]
        assert again["repeat"]
        assert (await sale.grab("ann", unit=3)) == {"outcome": "limit"}
        assert (await sale.ask("POST", "/v1/rounds/s/grab", "ann", b'{"unit":0}')).status == 400
        grants = (await sale.ask("GET", "/v1/grants", "ann")).json["grants"]
        assert [grant["slot"] for grant in grants] == [0, 1]


async def test_nobody_gets_in_without_the_key_and_it_is_told_only_while_the_sale_is_open() -> None:
    async with sale_gate(msgspec.structs.replace(TERMS, secret_url=True)) as sale:
        key = "k" * 22
        sale.now_us = OPENS_US - SECOND_US
        assert "key" not in await sale.state()
        assert (await sale.ask("GET", "/state/c.json")).json["key"] is None
        sale.now_us = OPENS_US
        assert (await sale.grab("ann", f"/{key}"))["outcome"] == "not_open", "it was not drawn yet"
        sale.gate.unlock("c", {"s": key})
        assert (await sale.state())["key"] == key
        assert (await sale.ask("GET", "/state/c.json")).json["key"] == key
        assert [(await sale.grab("ann", part))["outcome"] for part in ("", "/wrong", f"/{key[:-1]}")] == [
            "not_open"
        ] * 3
        assert (await sale.ask("POST", f"/v1/rounds/s/grab/{key}/more", "ann")).status == 404
        assert (await sale.grab("ann", f"/{key}"))["outcome"] == "granted"
        assert (await sale.ask("POST", f"/v1/campaigns/c/rounds/s/grab/{key}", "bob")).json["outcome"] == "granted"
        sale.now_us = OPENS_US + 600 * SECOND_US
        assert "key" not in await sale.state()
        assert (await sale.grab("cat", f"/{key}"))["outcome"] == "closed"
        assert (await sale.grab("ann", f"/{key}"))["outcome"] == "granted"


async def test_a_sale_without_a_key_has_no_paths_below() -> None:
    async with sale_gate() as sale:
        assert (await sale.ask("POST", "/v1/rounds/s/grab/key", "ann")).status == 404


async def test_only_the_first_are_let_through_and_all_others_hear_that_it_is_over() -> None:
    async with sale_gate(msgspec.structs.replace(TERMS, admit_first=2), units=2) as sale:
        assert await sale.outcomes("ann", "bob", "cat", "ann", "dan") == [
            "granted", "granted", "closed", "granted", "closed",
        ]  # fmt: skip
        await sale.release("ann")
        await sale.store.offer(["s"])
        sale.rush.offered()
        assert await sale.outcomes("cat", "ann") == ["closed", "granted"]


async def test_gates_share_how_many_are_let_through() -> None:
    async with sale_gate(msgspec.structs.replace(TERMS, admit_first=5), units=9) as sale:
        sale.gate.switches.share_with(2)
        assert await sale.outcomes("a", "b", "c", "d") == ["granted", "granted", "granted", "closed"]


async def test_who_is_not_on_the_list_holds_nothing() -> None:
    async with sale_gate(audience={"ann"}) as sale:
        assert await sale.outcomes("ann", "bob") == ["granted", "not_eligible"]


@pytest.mark.parametrize("seconds", [-1, 600])
async def test_before_and_after_nothing_is_granted(seconds: int) -> None:
    async with sale_gate() as sale:
        sale.now_us = OPENS_US + seconds * SECOND_US
        assert await sale.outcomes("ann") == ["not_open" if seconds < 0 else "closed"]
