"""The drill `sale`: a flash sale over real HTTP, with buyers of every mood, a bank and a shop that misbehave.

Half of those who get a unit never pay; some give it back, some pay when it is too late, and the bank takes that mostly,
though it has said that nobody could pay any more. The shop refuses some orders and is away now and then. The server is
killed once in the middle, as a machine dies, and started again.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from redrush.core.rush.instants import rfc3339
from redrush.drill.audit import Verdict
from redrush.drill.demo_payments import DemoPayments
from redrush.drill.drill_report import DrillReport
from redrush.drill.event_figures import conditions
from redrush.drill.rehearsal import HOST, Rehearsal, RehearsalFailed
from redrush.drill.sale_audit import audit_sale, open_orders
from redrush.drill.stage import user_names
from redrush.http.fetch import Fetcher, Unfetched

CONNECTIONS: Final = 60
SEED: Final = 20270206
LEAD_S: Final = 4.0
"""From the start of the server to the opening."""
PRICE_MINOR: Final = 4_999
HOLD_S: Final = 2
RETURN_S: Final = 0.5
"""How often units that came back are offered again."""
COMING: Final = 0.6
"""In what part of the sale people come; after that only those are there who were held out."""
RETRY_S: Final = 0.1
ASKED_MAX: Final = 400
SETTLE_MAX_S: Final = 90.0
NEVER_PAY: Final = 0.4
LOOK_AND_LEAVE: Final = 0.5
GIVE_BACK: Final = 0.58
PAY_LATE: Final = 0.70
"""Up to which lot a buyer is of each mood; the others pay at once."""
LATE_S: Final = 1.0
"""Who pays too late comes back between once and twice this long after the end of their hold."""

FAULTS: Final = {
    "answer_lost": 0.03, "error_after": 0.02, "notice_never": 0.2, "notice_twice": 0.2, "paid_during_close": 0.2,
    "paid_after_close": 0.7, "shop_refuses": 0.05, "shop_down": 0.1, "shop_answer_lost": 0.05,
}  # fmt: skip


class Shape(msgspec.Struct, frozen=True):
    """How many, and how long."""

    users: int = 3_000
    units: int = 300
    lasts_s: int = 20


SHORT: Final = Shape(users=300, units=40, lasts_s=6)
"""The same in small."""


class SaleForm(Protocol):
    """Where the sale is: on one server, or on a stack."""

    lead_s: float
    """From its start to the opening."""

    def start(self) -> None:
        """Start it, and return when it serves."""

    def port_of(self, path: str) -> int:
        """Return where this is asked."""

    def break_down(self) -> None:
        """End what sells, as a machine dies; return once it is on its way up again."""

    def open_orders(self) -> list[tuple[str, str]]:
        """Return what is not settled, as name and state."""

    def audit(self, units: int, payers: Mapping[str, str]) -> tuple[tuple[Verdict, ...], dict[str, int]]:
        """Return the verdicts, and the counts of the books. `payers` says whose payment is whose, by the bank's
        number."""

    def stop(self) -> None:
        """End it in order."""


class OneServer:
    """`redrush serve`; the whole of it is killed. Is a `SaleForm`."""

    lead_s = LEAD_S

    def __init__(self, event: Rehearsal, payments: DemoPayments, path: Path) -> None:
        self._event = event
        self._served = ("serve", str(path), "--payments", str(payments.file))

    def start(self) -> None:
        """See the protocol."""
        self._event.serve(*self._served)

    def port_of(self, path: str) -> int:
        """See the protocol: it is all the same."""
        del path
        return self._event.port

    def break_down(self) -> None:
        """See the protocol."""
        self._event.end_server()
        self.start()

    def open_orders(self) -> list[tuple[str, str]]:
        """See the protocol."""
        return open_orders(self._event.directory)

    def audit(self, units: int, payers: Mapping[str, str]) -> tuple[tuple[Verdict, ...], dict[str, int]]:
        """See the protocol."""
        self.stop()
        verdicts, figures = audit_sale(self._event.directory, units, PRICE_MINOR, payers)
        return (*verdicts, self._event.reconcile()), figures

    def stop(self) -> None:
        """See the protocol."""
        self._event.stop_server()


Forms = Callable[[Rehearsal, DemoPayments, Path], SaleForm]


def sale_drill(directory: Path, redrush: Sequence[str], short: bool, tell: Callable[[str], None]) -> DrillReport:
    """Play the drill; see the module."""
    shape = SHORT if short else Shape()
    return play_sale(
        directory,
        redrush,
        shape,
        OneServer,
        tell,
        name="sale",
        title=f"A flash sale: {shape.units:,} units, {shape.users:,} people, and a server that dies in the middle",
        died="the server was killed once and started again. The auditor reads journal, bank and shop",
    )


def play_sale(  # noqa: PLR0913 - where it is played, how large, on what, and how that is called
    directory: Path,
    redrush: Sequence[str],
    shape: Shape,
    form: Forms,
    tell: Callable[[str], None],
    *,
    name: str,
    title: str,
    died: str,
) -> DrillReport:
    """Play a sale on this form of an event and return the report; `died` says what was killed, and who audits."""
    conditions_, begun_s = conditions(directory, shape.users, CONNECTIONS), time.monotonic()
    payments = DemoPayments(directory, redrush, notices=True)
    try:
        with Rehearsal(directory, redrush) as event:
            payments.start()
            told, figures, verdicts = _play(event, payments, shape, form, tell)
    finally:
        payments.end()
    return DrillReport(
        drill=name,
        title=title,
        method=(
            f"{shape.users:,} people came within {shape.lasts_s} s over {CONNECTIONS} connections. Of those who got a "
            f"unit about half never paid, some gave it back or paid after their {HOLD_S} s, and the bank took that "
            f"mostly. It lost answers and notices, the shop refused one order in twenty; {died} with SQL of its own."
        ),
        verdicts=verdicts,
        figures={**{f"told_{outcome}": count for outcome, count in sorted(told.items())}, **figures},
        plots=(),
        conditions=conditions_,
        took_s=time.monotonic() - begun_s,
    )


def _play(
    event: Rehearsal, payments: DemoPayments, shape: Shape, form: Forms, tell: Callable[[str], None]
) -> tuple[Counter[str], dict[str, int], tuple[Verdict, ...]]:
    """Return what the crowd was told, the counts of the books, and what the auditor says."""
    tell(f"registering {shape.users:,} users and signing their tickets")
    tickets = event.tickets(user_names(0, shape.users))
    path = event.directory / "campaign.toml"
    sale = form(event, payments, path)
    opens_us = int((time.time() + sale.lead_s) * 1e6)
    event.campaign_path(_campaign(shape, opens_us))
    sale.start()
    tell(f"a sale of {shape.lasts_s} s; what sells is killed once in the middle")
    crowd = _Crowd(sale, payments)
    asyncio.run(crowd.play(tickets, opens_us, shape))
    tell("auditing log, bank and shop")
    verdicts, figures = sale.audit(shape.units, crowd.payers)
    sale.stop()
    return crowd.told, figures, verdicts


def _campaign(shape: Shape, opens_us: int) -> str:
    return (
        '[campaign]\nid = "saledemo"\nname = "Spring Festival sale · 春节秒杀"\ncurrency = "CNY"\n'
        f'[[round]]\nid = "sale"\nkind = "sale"\nopens = {rfc3339(opens_us)}\nlasts = "{shape.lasts_s}s"\n'
        f'units = {shape.units}\nprice = "{PRICE_MINOR / 100:.2f}"\nhold = "{HOLD_S}s"\n'
        f'return_every = "{RETURN_S * 1000:.0f}ms"\n'
        'secret_url = true\nshop = "sandbox"\n'
        "[limits]\nuser_per_second = 1000\naddress_per_second = 1000000\n"
    )


class _Crowd:
    """The buyers. Whoever is told nothing asks again, as a client does."""

    def __init__(self, sale: SaleForm, payments: DemoPayments) -> None:
        self.told: Counter[str] = Counter()
        self.payers: dict[str, str] = {}
        """Who was asked to pay, by the bank's number of the payment."""
        self._sale = sale
        self._payments = payments

    async def play(self, tickets: Sequence[tuple[str, str]], opens_us: int, shape: Shape) -> None:
        """Come, buy or not, and wait until every order is settled."""
        fetcher = Fetcher()
        self._fetcher = fetcher
        try:
            await self._bank("PUT", "/faults", FAULTS)
            await asyncio.sleep(max(0.0, opens_us / 1e6 - time.time()))
            ends_s = opens_us / 1e6 + shape.lasts_s - 0.5
            people = [
                asyncio.create_task(self._people(tickets[first::CONNECTIONS], ends_s, random.Random(SEED + first)))  # noqa: S311 - simulated people, replayable
                for first in range(CONNECTIONS)
            ]
            await asyncio.sleep(shape.lasts_s * 0.4)
            await asyncio.to_thread(self._sale.break_down)
            await asyncio.gather(*people)
            await self._bank("PUT", "/faults", dict.fromkeys(FAULTS, 0.0))
            await self._settled()
        finally:
            fetcher.close()

    async def _people(self, tickets: Sequence[tuple[str, str]], ends_s: float, rng: random.Random) -> None:
        """Let these come one after the other, evenly until the sale is nearly over."""
        begun_s, span_s = time.time(), max(0.1, (ends_s - time.time()) * COMING)
        there = []
        for number, (user, ticket) in enumerate(tickets):
            await asyncio.sleep(max(0.0, begun_s + span_s * number / len(tickets) - time.time()))
            there.append(asyncio.create_task(self._come(user, ticket, ends_s, rng)))
        await asyncio.gather(*there)

    async def _come(self, user: str, ticket: str, ends_s: float, rng: random.Random) -> None:
        """Ask until there is a final answer: whoever is held out comes back at the next chance."""
        mood = rng.random()
        key = (await self._ask("GET", "/v1/rounds/sale"))[1].get("key", "none")
        while True:
            _, told = await self._ask("POST", f"/v1/rounds/sale/grab/{key}", ticket)
            if told.get("outcome") not in {"held_out", "missed"} or time.time() > ends_s:
                break
            await asyncio.sleep(RETURN_S * (1 + rng.random()))
        self.told[told.get("outcome", "refused")] += 1
        if told.get("outcome") != "granted" or mood < NEVER_PAY:
            return
        grant = told["grant"]["id"]
        order = await self._order(grant, ticket)
        if order is None:
            return
        self.payers[order] = user
        if mood < LOOK_AND_LEAVE:
            return
        if mood < GIVE_BACK:
            await self._ask("DELETE", f"/v1/holds/{grant}", ticket)
        elif mood < PAY_LATE:
            await asyncio.sleep(HOLD_S + LATE_S * (1 + rng.random()))
            await self._pay(order)
        else:
            await self._pay(order)

    async def _order(self, grant: str, ticket: str) -> str | None:
        """Begin to pay; return what the bank calls the payment, None if it is too late for that."""
        for _ in range(ASKED_MAX):
            status, told = await self._ask("POST", f"/v1/holds/{grant}/pay", ticket)
            if status != 200 or told["state"] != "paying":
                return None
            if told["pay"] is not None:
                return str(told["pay"]["payload"]).rpartition("/")[2]
            await asyncio.sleep(RETRY_S)
        raise RehearsalFailed(f"nobody said how to pay for {grant}")

    async def _pay(self, number: str) -> None:
        await self._bank("POST", f"/wallet/pay/{number}")

    async def _settled(self) -> None:
        deadline_s = time.monotonic() + SETTLE_MAX_S
        while left := await asyncio.to_thread(self._sale.open_orders):
            if time.monotonic() > deadline_s:
                raise RehearsalFailed(f"{len(left):,} orders were not settled within {SETTLE_MAX_S:g} s: {left[:3]}")
            await asyncio.sleep(RETRY_S)

    async def _ask(self, method: str, path: str, ticket: str | None = None) -> tuple[int, dict[str, Any]]:
        """Return the answer, asked for again while the server is away or asks for patience."""
        headers = {} if ticket is None else {"Authorization": f"Bearer {ticket}"}
        return await self._insist(method, f"http://{HOST}:{self._sale.port_of(path)}{path}", headers, b"")

    async def _bank(self, method: str, path: str, fields: dict[str, float] | None = None) -> None:
        body = b"" if fields is None else json.dumps(fields).encode()
        await self._insist(method, f"http://{HOST}:{self._payments.port}{path}", {}, body)

    async def _insist(self, method: str, url: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        for _ in range(ASKED_MAX):
            try:
                answer = await self._fetcher.fetch(method, url, headers=headers, body=body)
                if answer.status not in {429, 500, 503}:
                    fields: dict[str, Any] = json.loads(answer.body)
                    return answer.status, fields
            except (Unfetched, ValueError):
                pass
            await asyncio.sleep(RETRY_S)
        raise RehearsalFailed(f"{method} {url} got no answer in {ASKED_MAX} tries")
