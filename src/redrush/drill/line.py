"""The drill `line`: a waiting room over real HTTP, with people who come early, late, or never when they are called.

Half of those whose turn it is do not come; some try to go in before their turn, some to claim without having stood in
line. The server is killed once in the middle, as a machine dies, and started again: a pass is a place, whoever has
forgotten it. The auditor works out every place from the key that is published after the round, by code of its own.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.core.rush.instants import rfc3339
from redrush.drill.audit import Verdict
from redrush.drill.drill_report import DrillReport
from redrush.drill.event_figures import conditions
from redrush.drill.line_audit import AROUND, CLAIM, ENTER, FINAL, JOIN, Heard, Public, audit_line
from redrush.drill.rehearsal import HOST, Rehearsal, RehearsalFailed
from redrush.drill.stage import user_names
from redrush.http.fetch import Fetcher, Unfetched

CONNECTIONS: Final = 60
SEED: Final = 20270206
LEAD_S: Final = 6.0
"""From the start of the server to the opening; the line is open all that time."""
STATE_S: Final = 0.2
"""How often the public state is read, once for everybody."""
RETRY_S: Final = 0.1
ASKED_MAX: Final = 600
PATHS: Final = {JOIN: "/line", ENTER: "/enter", CLAIM: "/grab", AROUND: "/grab"}
LATE: Final = 0.3
"""Of the people, how many come after the start, within its first half."""
STAY_AWAY: Final = 0.5
"""Of those whose turn it is, how many never come."""
PUSH: Final = 0.05
"""How many try to go in at once, before their turn."""
CLAIM_AT_ONCE: Final = 0.05
"""How many try to claim without having stood in line."""


class Shape(msgspec.Struct, frozen=True):
    """How many, how fast, and how long: ten people to a packet."""

    users: int = 4_000
    packets: int = 400
    pace: int = 40
    lasts_s: int = 25


SHORT: Final = Shape(users=500, packets=50, pace=20, lasts_s=10)
"""The same in small."""


def line_drill(directory: Path, redrush: Sequence[str], short: bool, tell: Callable[[str], None]) -> DrillReport:
    """Play the drill; see the module."""
    shape, begun_s = SHORT if short else Shape(), time.monotonic()
    conditions_ = conditions(directory, shape.users, CONNECTIONS)
    with Rehearsal(directory, redrush) as event:
        heard, rows, verdicts = _play(event, shape, tell)
    ended = Counter(one.outcome for one in heard if one.outcome in FINAL)
    return DrillReport(
        drill="line",
        title=f"A waiting room: {shape.users:,} people, {shape.packets:,} packets, and a server that dies in between",
        method=(
            f"{shape.users:,} people stood in line for {shape.packets:,} packets at {shape.pace} a second; {LATE:.0%} "
            f"came after the start, {STAY_AWAY:.0%} of those called stayed away, some pushed or went around. The "
            "server was killed once and started again. The auditor computes every place from the published key."
        ),
        verdicts=verdicts,
        figures={
            "joined": len({one.user for one in heard if one.outcome == "in_line"}),
            "let_in": sum(one.outcome == "admitted" for one in heard),
            "granted": len(rows),
            **{f"told_{outcome}": count for outcome, count in sorted(ended.items())},
        },
        plots=(),
        conditions=conditions_,
        took_s=time.monotonic() - begun_s,
    )


def _play(
    event: Rehearsal, shape: Shape, tell: Callable[[str], None]
) -> tuple[list[Heard], list[dict[str, Any]], tuple[Verdict, ...]]:
    """Return what people were told, what was written down, and what the auditor says."""
    tell(f"registering {shape.users:,} users and signing their tickets")
    tickets = event.tickets(user_names(0, shape.users))
    opens_us = int((time.time() + LEAD_S) * 1e6)
    path = event.campaign_path(_campaign(shape, opens_us))
    event.serve("serve", str(path))
    tell(f"a line of {LEAD_S + shape.lasts_s:.0f} s; the server is killed once in the middle")
    crowd = _Crowd(event, opens_us, shape)
    asyncio.run(crowd.play(tickets, lambda: event.serve("serve", str(path))))
    event.stop_server()
    tell(f"auditing {len(crowd.heard):,} answers against the export and the published key")
    rows = event.grants()
    verdicts = audit_line(crowd.heard, crowd.public, rows, opens_us, crowd.died_us, shape.packets, shape.pace)
    return crowd.heard, rows, (*verdicts, event.reconcile())


def _campaign(shape: Shape, opens_us: int) -> str:
    return (
        '[campaign]\nid = "linedemo"\nname = "Spring Festival line · 春节排队"\ncurrency = "CNY"\n'
        f'[[round]]\nid = "r"\nkind = "equal"\nopens = {rfc3339(opens_us)}\nlasts = "{shape.lasts_s}s"\n'
        f'total = "{shape.packets}.00"\npackets = {shape.packets}\n'
        f'[round.line]\npace = {shape.pace}\nopens = "1m"\nadmitted = "1m"\n'
        "[limits]\nuser_per_second = 1000\naddress_per_second = 1000000\n"
    )


class _Crowd:
    """The people in line. Whoever is told nothing asks again, as a client does."""

    def __init__(self, event: Rehearsal, opens_us: int, shape: Shape) -> None:
        self.heard: list[Heard] = []
        self.public: list[Public] = []
        self._event = event
        self._opens_s = opens_us / 1e6
        self._shape = shape
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self.died_us = 0
        """When the server was gone."""
        self._served = -1
        """The place up to which people were called."""
        self._over = False
        self._numbers = count()
        self._at_once = asyncio.Semaphore(CONNECTIONS)

    async def play(self, tickets: Sequence[tuple[str, str]], restart: Callable[[], None]) -> None:
        """Come, wait, go in or not, and be told that it is over."""
        self._fetcher = Fetcher()
        lots = random.Random(SEED)  # noqa: S311 - simulated people, replayable by their seed
        try:
            reading = asyncio.create_task(self._read_state())
            people = [
                asyncio.create_task(self._come(user, ticket, random.Random(lots.random())))  # noqa: S311 - as above
                for user, ticket in tickets
            ]
            # While people go in: half of the packets are taken then, at that pace.
            await asyncio.sleep(self._opens_s + self._shape.packets / self._shape.pace / 2 - time.time())
            self._event.end_server()
            self.died_us = _now_us()
            await asyncio.to_thread(restart)
            await asyncio.gather(*people)
            await reading
        finally:
            self._fetcher.close()

    async def _read_state(self) -> None:
        """Read what is public until the key is in it, and call those whose turn it is."""
        while True:
            asked_us, _, state = await self._ask("GET", "")
            line = state["line"]
            public = Public(asked_us, line["serving"], line.get("commitment"), line.get("key"))
            self.public.append(public)
            self._call(public.serving)
            if public.key is not None:
                self._end()
                return
            await asyncio.sleep(STATE_S)

    def _call(self, serving: int) -> None:
        self._served = max(self._served, serving)
        while self._waiting and self._waiting[0][0] <= self._served:
            turn = heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)

    def _end(self) -> None:
        """Nothing is left, or it is closed: everybody asks what became of them."""
        self._over = True
        self._call(1 << 62)

    async def _come(self, user: str, ticket: str, lots: random.Random) -> None:
        """Come, and do as this one does."""
        first_s, last_s = self._opens_s - LEAD_S * 0.6, self._opens_s - 0.5
        if lots.random() < LATE:
            first_s, last_s = self._opens_s + 0.2, self._opens_s + self._shape.lasts_s / 2
        await asyncio.sleep(max(0.0, lots.uniform(first_s, last_s) - time.time()))
        if lots.random() < CLAIM_AT_ONCE:
            await self._do(user, AROUND, ticket)
        joined = await self._do(user, JOIN, ticket)
        if "pass" not in joined:
            return
        place, body = int(joined["place"]), {"pass": joined["pass"]}
        entered = await self._do(user, ENTER, ticket, body, place) if lots.random() < PUSH else joined
        stays_away = lots.random() < STAY_AWAY
        while entered["outcome"] in {"in_line", "waiting"}:
            await self._turn(place)
            if stays_away and not self._over:
                return
            entered = await self._do(user, ENTER, ticket, body, place)
        if entered["outcome"] == "admitted":
            await self._claim(user, entered["ticket"])

    async def _claim(self, user: str, ticket: str) -> None:
        while (claimed := await self._do(user, CLAIM, ticket))["outcome"] not in FINAL:
            await asyncio.sleep(RETRY_S)
        if claimed["outcome"] == "empty":
            self._end()

    async def _turn(self, place: int) -> None:
        """Wait until it is the turn of this place, as far as the public state says; not shorter than a look at it."""
        if place <= self._served or self._over:
            await asyncio.sleep(RETRY_S)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (place, next(self._numbers), turn))
        await turn

    async def _do(
        self, user: str, what: str, ticket: str, body: Mapping[str, str] | None = None, place: int | None = None
    ) -> dict[str, Any]:
        """Ask for one thing, write down what was answered, and return it."""
        sent_us = _now_us()
        asked_us, status, answer = await self._ask("POST", PATHS[what], ticket, body)
        answer.setdefault("outcome", "")
        self.heard.append(
            Heard(
                user=user,
                what=what,
                sent_us=sent_us,
                asked_us=asked_us,
                heard_us=_now_us(),
                status=status,
                outcome=answer["outcome"],
                place=answer.get("place", place),
                serving=answer.get("serving"),
                grant=answer.get("grant"),
            )
        )
        return answer

    async def _ask(
        self, method: str, path: str, ticket: str | None = None, fields: Mapping[str, str] | None = None
    ) -> tuple[int, int, dict[str, Any]]:
        """Return when it was asked for, the status and the answer; asked for again while the server is away or asks for
        patience."""
        url, headers = f"http://{HOST}:{self._event.port}/v1/rounds/r{path}", {"Content-Type": "application/json"}
        if ticket is not None:
            headers["Authorization"] = f"Bearer {ticket}"
        body = b"" if fields is None else json.dumps(fields).encode()
        for _ in range(ASKED_MAX):
            try:
                async with self._at_once:
                    asked_us = _now_us()
                    answer = await self._fetcher.fetch(method, url, headers=headers, body=body)
                if answer.status not in {429, 500, 503}:
                    told: dict[str, Any] = json.loads(answer.body)
                    return asked_us, answer.status, told
            except (Unfetched, ValueError):
                pass
            await asyncio.sleep(RETRY_S)
        raise RehearsalFailed(f"{method} {url} got no answer in {ASKED_MAX} tries")


def _now_us() -> int:
    return time.time_ns() // 1_000
