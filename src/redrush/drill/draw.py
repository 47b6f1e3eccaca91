"""The drill `draw`: a draw over real HTTP, with a crowd that plays and repeats, and an auditor who has the sealed key.

The server is killed once in the middle, as a machine dies, and started again: whoever heard nothing repeats their play.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.core.rush.instants import rfc3339
from redrush.drill.audit import Verdict
from redrush.drill.draw_audit import SealedDraw, Told, audit_draw
from redrush.drill.drill_report import DrillReport
from redrush.drill.event_figures import conditions
from redrush.drill.rehearsal import Rehearsal, RehearsalFailed
from redrush.drill.stage import user_names

HOST: Final = "127.0.0.1"
CONNECTIONS: Final = 60
SEED: Final = 20270206
PLAYS: Final = 5
LEAD_S: Final = 4.0
"""From the start of the demo's server to the opening."""
REPEATS: Final = 0.15
"""Of the plays, how many are asked again at once."""
TRIES_MAX: Final = 200
RETRY_S: Final = 0.1
AFTER_CLOSE_S: Final = 1.5


class Shape(msgspec.Struct, frozen=True):
    """How many, and how long."""

    users: int = 5_000
    lasts_s: int = 20


SHORT: Final = Shape(users=400, lasts_s=5)
"""The same in small."""


def draw_drill(directory: Path, redrush: Sequence[str], short: bool, tell: Callable[[str], None]) -> DrillReport:
    """Play the drill; see the module."""
    shape, begun_s = SHORT if short else Shape(), time.monotonic()
    conditions_ = conditions(directory, shape.users, CONNECTIONS)
    with Rehearsal(directory, redrush) as event:
        told, rows, verdicts = _play(event, shape, tell)
    return DrillReport(
        drill="draw",
        title=f"A draw with {shape.users * PLAYS:,} plays, and a server that dies in the middle",
        method=(
            f"{shape.users:,} people made {PLAYS} plays each within {shape.lasts_s} s over {CONNECTIONS} connections, "
            f"and repeated {REPEATS:.0%} of them; the server was killed once and started again. The auditor works out "
            "every lot and every release from the sealed seed, by code of its own."
        ),
        verdicts=verdicts,
        figures={
            "plays_answered": len(told),
            "granted": len(rows),
            **{f"granted_{prize}": count for prize, count in sorted(Counter(row["prize"] for row in rows).items())},
        },
        plots=(),
        conditions=conditions_,
        took_s=time.monotonic() - begun_s,
    )


def _play(
    event: Rehearsal, shape: Shape, tell: Callable[[str], None]
) -> tuple[list[Told], list[dict[str, Any]], tuple[Verdict, ...]]:
    """Return what the crowd was told, what was written down, and what the auditor says."""
    tell(f"registering {shape.users:,} users and signing their tickets")
    tickets = event.tickets(user_names(0, shape.users))
    opens_us = int((time.time() + LEAD_S) * 1e6)
    path = event.campaign_path(_campaign(shape, opens_us))
    event.serve("serve", str(path))
    tell(f"a draw of {shape.lasts_s} s; the server is killed once in the middle")
    told = asyncio.run(_crowd(event, path, tickets, opens_us, shape))
    time.sleep(max(0.0, opens_us / 1e6 + shape.lasts_s + AFTER_CLOSE_S - time.time()))
    event.stop_server()
    tell(f"auditing {len(told):,} answers against the export and the sealed key")
    rows = event.grants()
    return told, rows, (*audit_draw(told, rows, SealedDraw(event.directory, "draw")), event.reconcile())


def _campaign(shape: Shape, opens_us: int) -> str:
    plays = shape.users * PLAYS
    return (
        '[campaign]\nid = "drawdemo"\nname = "Spring Festival draw · 春节抽奖"\ncurrency = "CNY"\n'
        f'[[round]]\nid = "draw"\nkind = "draw"\nopens = {rfc3339(opens_us)}\nlasts = "{shape.lasts_s}s"\n'
        f"plays = {{ per_user = {PLAYS} }}\n"
        '[[round.prize]]\nid = "phone"\nname = "手机"\nholds = "goods"\ncount = 5\nrelease = "spread"\n'
        f'[[round.prize]]\nid = "lucky"\nholds = "money"\namount = "8.88"\ncount = {plays // 30}\nodds = "1/20"\n'
        'otherwise = "thanks"\n'
        f'[[round.prize]]\nid = "red"\nholds = "money"\namount = "0.88"\ncount = {plays // 20}\n'
        f"release = {{ per_second = {max(1, plays // 20 // shape.lasts_s)} }}\nper_user = 2\n"
        f'[[round.prize]]\nid = "thanks"\nname = "谢谢参与"\nholds = "goods"\ncount = {plays // 200 + 1}\n'
        "[limits]\nuser_per_second = 1000\naddress_per_second = 1000000\n"
    )


# -- the crowd


async def _crowd(
    event: Rehearsal, path: Path, tickets: Sequence[tuple[str, str]], opens_us: int, shape: Shape
) -> list[Told]:
    told: list[Told] = []
    ends_s = opens_us / 1e6 + shape.lasts_s - 0.5
    await asyncio.sleep(max(0.0, opens_us / 1e6 - time.time()))
    people = []
    for first in range(CONNECTIONS):
        rng = random.Random(SEED + first)  # noqa: S311 - simulated people, replayable by their seed
        people.append(asyncio.create_task(_people(event, tickets[first::CONNECTIONS], told, ends_s, rng)))
    await asyncio.sleep(shape.lasts_s * 0.4)
    event.end_server()
    await asyncio.to_thread(event.serve, "serve", str(path))
    await asyncio.gather(*people)
    return told


async def _people(
    event: Rehearsal, tickets: Sequence[tuple[str, str]], told: list[Told], ends_s: float, rng: random.Random
) -> None:
    """Let these people play, one play after the other in the order of chance, until the round is nearly over."""
    plays = [(user, ticket, play) for user, ticket in tickets for play in range(1, PLAYS + 1)]
    rng.shuffle(plays)
    line = _Line(event.port)
    begun_s, span_s = time.time(), max(0.1, ends_s - time.time())
    for number, (user, ticket, play) in enumerate(plays):
        # They come evenly through the round, so that what is spread finds people to its end.
        await asyncio.sleep(max(0.0, begun_s + span_s * number / len(plays) - time.time()))
        for _ in range(1 + (rng.random() < REPEATS)):
            answer = await line.play(ticket, play)
            if answer is not None:
                told.append(Told(user, play, time.time_ns() // 1_000, answer.get("grant")))
    line.close()


class _Line:
    """A connection of the crowd, made anew when it breaks."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def play(self, ticket: str, play: int) -> dict[str, Any] | None:
        """Return the answer to the play, asked again until there is one; None when the round is over."""
        body = json.dumps({"play": play})
        request = (
            f"POST /v1/rounds/draw/grab HTTP/1.1\r\nHost: {HOST}:{self._port}\r\nAuthorization: Bearer {ticket}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        for _ in range(TRIES_MAX):
            try:
                status, answer = await self._ask(request)
            except (OSError, asyncio.IncompleteReadError):
                self.close()
                await asyncio.sleep(RETRY_S)
                continue
            if status == 200 and answer.get("outcome") in {"granted", "missed"} and "ask_again" not in answer:
                return answer
            if status == 200 and answer.get("outcome") == "closed":
                return None
            await asyncio.sleep(RETRY_S)
        raise RehearsalFailed(f"play {play} got no answer in {TRIES_MAX} tries")

    async def _ask(self, request: bytes) -> tuple[int, dict[str, Any]]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self._port)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
        answer: dict[str, Any] = json.loads(await reader.readexactly(length))
        return int(head[9:12]), answer

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
