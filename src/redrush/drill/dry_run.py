"""A dry run: one's own campaign played on this machine, in seconds, by a crowd of simulated people, before it is real.

It is sealed anew in a directory of its own, with keys and amounts that nobody will see again, and served by
`redrush serve`; what it would do outside is left out (`redrush.drill.rehearsed_text`). Whoever wrote the campaign sees
that it starts, opens when it says, gives what it has to people, and that the books agree with the log.
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

from redrush.config import WrittenFile, load_campaign_file
from redrush.drill.audit import Verdict, verdict
from redrush.drill.demo_payments import DemoPayments
from redrush.drill.drill_report import DrillReport
from redrush.drill.event_figures import conditions
from redrush.drill.rehearsal import HOST, Rehearsal
from redrush.drill.rehearsed_text import Rehearsed, rehearsed
from redrush.drill.stage import user_names
from redrush.errors import ConfigError
from redrush.extras import require

NAME: Final = "dry-run"
CONNECTIONS: Final = 40
SEED: Final = 20270206
LEAD_S: Final = 12
"""From writing the campaign to the first opening: it is sealed, and its server starts."""
BETWEEN_S: Final = 2
EARLY_S: Final = 0.5
"""So long before an opening the first ones ask."""
AFTER_CLOSE_S: Final = 2.0
SLOTS_MAX: Final = 2_000_000
"""Of all rounds: what can be sealed while people wait."""
TRIES_MAX: Final = 30
RETRY_S: Final = 0.2
ANSWER_MAX_S: Final = 10.0
AGAIN: Final = frozenset({"missed", "not_open", "held_out", "wrong_word"})
"""Outcomes after which a person asks once more."""
EARLY: Final = "{early} of {rounds} rounds were open before their time"
IDLE: Final = "{idle} of {rounds} rounds gave nobody anything"
UNANSWERED: Final = "{without} of {people} had no answer"
LOST: Final = "{lost} of {told} grants that people were told of were not written down"


class Shape(msgspec.Struct, frozen=True):
    """How many people, and how long each round is."""

    people: int = 2_000
    lasts_s: int = 10


SHORT: Final = Shape(people=300, lasts_s=4)


def dry_run(
    file: Path, directory: Path, redrush: Sequence[str], short: bool, tell: Callable[[str], None]
) -> DrillReport:
    """Play a campaign file. ConfigError for a file that is not fine, or has too much to be sealed in between;
    RedrushError when it cannot be played."""
    require("console", "redrush drill dry-run")  # for tomlkit, which changes a file and keeps what it does not touch
    shape, begun_s = SHORT if short else Shape(), time.monotonic()
    campaign = load_campaign_file(file)
    slots = sum(one.packets for one in campaign.rounds)
    if slots > SLOTS_MAX:
        raise ConfigError(
            f"{file}: has {slots:,} packets and units; a dry run seals at most {SLOTS_MAX:,}: try a smaller copy"
        )
    conditions_ = conditions(directory, shape.people, CONNECTIONS)
    assert campaign.written is not None
    played, seen, verdicts = _perform(campaign.written, directory, redrush, shape, tell)
    return DrillReport(
        drill=NAME,
        title=f"{campaign.name}: {len(played.rounds)} rounds, {shape.people:,} people",
        method=(
            f"The campaign was sealed anew and played on one server: each round {shape.lasts_s} s, {shape.people:,} "
            f"people over {CONNECTIONS} connections. Left out: {', '.join(played.left_out) or 'nothing'}."
        ),
        verdicts=verdicts,
        figures=_figures(played, seen),
        plots=(),
        conditions=conditions_,
        took_s=time.monotonic() - begun_s,
    )


def _perform(
    written: WrittenFile, directory: Path, redrush: Sequence[str], shape: Shape, tell: Callable[[str], None]
) -> tuple[Rehearsed, "Seen", tuple[Verdict, ...]]:
    """Play it; return what was played, what the crowd has seen, and what is to be said of that."""
    payments = DemoPayments(directory, redrush)
    try:
        with Rehearsal(directory, redrush) as event:
            tell(f"registering {shape.people:,} people")
            tickets = event.tickets(user_names(0, shape.people))
            first_us = int((time.time() + LEAD_S) * 1e6)
            apart_s = shape.lasts_s + BETWEEN_S
            played = rehearsed(written.text, Path(written.directory), first_us, shape.lasts_s, apart_s)
            words = ["serve", str(event.campaign_path(played.text))]
            if played.sells:
                payments.start()
                words += ["--payments", str(payments.file)]
            event.serve(*words)
            tell(f"{len(played.rounds)} rounds of {shape.lasts_s} s each")
            seen = asyncio.run(_play(event.port, played, tickets, shape))
            event.stop_server()
            tell("comparing what people were told with what was written down")
            rows = event.grants()
            return played, seen, (*_judged(played, seen, rows), event.reconcile())
    finally:
        payments.end()


class Seen:
    """What the crowd has seen."""

    def __init__(self) -> None:
        self.told: dict[str, Counter[str]] = {}
        self.early: Counter[str] = Counter()
        self.grants: dict[str, tuple[str, str]] = {}
        """Round and user of each grant that somebody was told of, by its id."""
        self.unanswered = 0
        self.took_s: list[float] = []


async def _play(port: int, played: Rehearsed, tickets: Sequence[tuple[str, str]], shape: Shape) -> Seen:
    seen = Seen()
    for round_id, opens_us in played.rounds:
        seen.told[round_id] = Counter()
        opens_s = opens_us / 1e6
        await asyncio.sleep(max(0.0, opens_s - EARLY_S - time.time()))
        early = _Connection(port)
        outcome = (await early.ask(round_id, tickets[0][1])).get("outcome", "?")
        if time.time() < opens_s:
            seen.early[str(outcome)] += 1
        early.close()
        await asyncio.sleep(max(0.0, opens_s - time.time()))
        await asyncio.gather(
            *(
                _people(port, round_id, tickets[first::CONNECTIONS], opens_s + shape.lasts_s, seen, first)
                for first in range(CONNECTIONS)
            )
        )
    ends_s = played.rounds[-1][1] / 1e6 + shape.lasts_s + AFTER_CLOSE_S
    await asyncio.sleep(max(0.0, ends_s - time.time()))
    return seen


async def _people(
    port: int, round_id: str, tickets: Sequence[tuple[str, str]], closes_s: float, seen: Seen, number: int
) -> None:
    """Let these people ask, one after the other, over one connection, each until an answer is final."""
    rng = random.Random(SEED + number)  # noqa: S311 - simulated people, replayable by their seed
    order = list(tickets)
    rng.shuffle(order)
    line = _Connection(port)
    for user, ticket in order:
        outcome = ""
        for _ in range(TRIES_MAX):
            begun_s = time.perf_counter()
            try:
                async with asyncio.timeout(ANSWER_MAX_S):
                    answer = await line.ask(round_id, ticket)
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                line.close()
                outcome = ""
            else:
                seen.took_s.append(time.perf_counter() - begun_s)
                outcome = str(answer.get("outcome", ""))
                if outcome == "granted" and isinstance(answer.get("grant"), dict):
                    seen.grants[str(answer["grant"]["id"])] = round_id, user
                if outcome and outcome not in AGAIN:
                    break
            if time.time() > closes_s:
                break
            await asyncio.sleep(RETRY_S * rng.random())
        seen.told[round_id][outcome or "no answer"] += 1
        seen.unanswered += not outcome
    line.close()


class _Connection:
    """A connection of the crowd, made anew when it breaks."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, round_id: str, ticket: str) -> dict[str, Any]:
        """Return the answer to a claim; of a refusal its problem. Raises OSError or IncompleteReadError."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self._port)
        reader, writer = self._streams
        writer.write(
            f"POST /v1/rounds/{round_id}/grab HTTP/1.1\r\nHost: {HOST}:{self._port}\r\n"
            f"Authorization: Bearer {ticket}\r\nContent-Length: 0\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
        answer: dict[str, Any] = json.loads(await reader.readexactly(length))
        return answer

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _judged(played: Rehearsed, seen: Seen, rows: Sequence[dict[str, Any]]) -> tuple[Verdict, ...]:
    written = {str(row["grant"]) for row in rows}
    lost = [grant for grant, (round_id, _) in seen.grants.items() if grant not in written and not played.sells]
    idle = [round_id for round_id, told in seen.told.items() if not told["granted"]]
    too_early = sum(seen.early.values()) - seen.early["not_open"]
    asked = sum(sum(told.values()) for told in seen.told.values())
    rounds = str(len(played.rounds))
    return (
        verdict("opens", not too_early, EARLY, early=str(too_early), rounds=rounds),
        verdict("gives", not idle, IDLE, idle=str(len(idle)), rounds=rounds),
        verdict("answers", not seen.unanswered, UNANSWERED, without=str(seen.unanswered), people=f"{asked:,}"),
        verdict("lost", not lost, LOST, lost=str(len(lost)), told=f"{len(seen.grants):,}"),
    )


def _figures(played: Rehearsed, seen: Seen) -> dict[str, Any]:
    took = sorted(seen.took_s)
    quantiles = {f"p{share}_ms": round(took[len(took) * share // 100] * 1e3, 2) for share in (50, 99)} if took else {}
    told = {
        f"{round_id}_{outcome.replace(' ', '_')}": count
        for round_id, _ in played.rounds
        for outcome, count in sorted(seen.told[round_id].items())
    }
    return {"answers": len(took), **quantiles, "grants": len(seen.grants), **told}
