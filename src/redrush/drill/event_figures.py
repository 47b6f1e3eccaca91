"""Puts an `EventReport` together from what the crowd saw, what was exported and what was sealed."""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np

from redrush.core.rush.campaign import Campaign, Round
from redrush.core.rush.leftover import carried_in
from redrush.drill import figures
from redrush.drill.audit import Audit, Verdict
from redrush.drill.crowd import CrowdResult
from redrush.drill.event_report import Conditions, CrowdFigures, EventReport, PayoutFigures, RoundFigures
from redrush.drill.observations import Observations

FSYNC_TRIES = 31
AFTER_CLOSE_S = 0.6
"""How far past a round's close its time line goes, to show the last answers."""


class EventFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known at the end of an event, besides what the crowd saw."""

    campaign: Campaign
    amounts: Sequence[int]
    """Minor units by slot of the campaign."""
    exported: Sequence[Mapping[str, Any]]
    audit: Audit
    ledger: Verdict
    payouts: tuple[PayoutFigures, Verdict] | None = None
    """What was paid, and whether the books agree; None: nobody was paid."""
    took_s: float
    settled_after_s: float
    conditions: Conditions


def event_report(result: CrowdResult, facts: EventFacts) -> EventReport:
    """Return the report of the event that the crowd took part in."""
    observed = result.observations
    grabs, rejects = figures.grabs_of(observed), figures.rejects_of(observed)
    traffic = figures.traffic(observed)
    return EventReport(
        campaign=facts.campaign.id,
        name=facts.campaign.name,
        currency=facts.campaign.currency,
        timezone=facts.campaign.timezone,
        made_us=time.time_ns() // 1_000,
        rounds=_rounds(result, facts),
        grants=traffic.grabs,
        verdicts=(*facts.audit.verdicts, facts.ledger, *(() if facts.payouts is None else facts.payouts[1:])),
        payouts=None if facts.payouts is None else facts.payouts[0],
        crowd=CrowdFigures(
            took_s=round(facts.took_s, 1),
            traffic=traffic,
            grab_latencies=figures.latency_histogram(observed.latency_s[grabs]),
            reject_latencies=figures.latency_histogram(observed.latency_s[rejects]),
            settled_after_s=round(facts.settled_after_s, 2),
            unheard=facts.audit.unheard,
            reconnects=result.reconnects,
            conditions=facts.conditions,
        ),
    )


def _rounds(result: CrowdResult, facts: EventFacts) -> tuple[RoundFigures, ...]:
    rounds, amounts = [], np.asarray(facts.amounts)
    slots: dict[str, list[int]] = {round_.id: [] for round_ in facts.campaign.rounds}
    for row in facts.exported:
        slots[row["round"]].append(row["slot"])
    granted = {round_id: len(given) for round_id, given in slots.items()}
    ended_us = max(round_.closes_us for round_ in facts.campaign.rounds)
    carried = carried_in(facts.campaign, granted, ended_us)
    for round_ in facts.campaign.rounds:
        observed = result.observations.where(result.observations.round == result.rounds.index(round_.id))
        amounts_minor = amounts[np.array(slots[round_.id], dtype=np.int64)]
        rounds.append(_round(round_, observed, amounts_minor, carried[round_.id], result.starts_us))
    return tuple(rounds)


def _round(
    round_: Round, observed: Observations, amounts_minor: figures.Minor, carried_in: int, starts_us: int
) -> RoundFigures:
    opens_s, closes_s = (round_.opens_us - starts_us) / 1e6, (round_.closes_us - starts_us) / 1e6
    room, granted = round_.slots.count + carried_in, len(amounts_minor)
    given_s = observed.ended_s[figures.grabs_of(observed)]
    sold_out = granted == room and len(given_s) == granted
    traffic = figures.traffic(observed)
    return RoundFigures(
        id=round_.id,
        opens_us=round_.opens_us,
        lasts_s=closes_s - opens_s,
        kind=round_.kind.value,
        release_per_s=round_.release_per_s,
        packets=round_.slots.count,
        carried_in=carried_in,
        granted=granted,
        total_minor=round_.total_minor,
        granted_minor=int(amounts_minor.sum()),
        grants=traffic.grabs,
        people=len(np.unique(observed.user)),
        sold_out_after_s=round(float(given_s.max()) - opens_s, 3) if sold_out else None,
        traffic=traffic,
        time_line=figures.time_line(observed, opens_s, closes_s + AFTER_CLOSE_S, room),
        amounts=figures.amount_histogram(amounts_minor),
    )


def read_campaign(data_dir: Path) -> Campaign:
    """Return the sealed campaign of a data directory, under the name and in the zone that the last start has written
    down. Raises OSError or msgspec.DecodeError."""
    sealed = msgspec.json.decode((data_dir / "campaign.json").read_bytes())["campaign"]
    if (path := data_dir / "event.json").exists():
        written = msgspec.json.decode(path.read_bytes())["open"]
        sealed |= {key: written[key] for key in ("name", "timezone") if written[key] is not None}
    return msgspec.convert(sealed, Campaign)


SHARED_NOTE = "Server, crowd and this report shared the machine, so each took time from the others."


def conditions(data_dir: Path, registered_users: int, connections: int, note: str = SHARED_NOTE) -> Conditions:
    """Return what this machine is. Measures fsync in `data_dir`; raises OSError if its disk refuses."""
    return Conditions(
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        connections=connections,
        registered_users=registered_users,
        fsync_ms=round(_fsync_ms(data_dir), 3),
        note=note,
    )


def _fsync_ms(directory: Path) -> float:
    path = directory / ".fsync"
    took_s = []
    with path.open("wb", buffering=0) as file:
        for _ in range(FSYNC_TRIES):
            file.write(bytes(4096))
            begun_s = time.perf_counter()
            os.fsync(file.fileno())
            took_s.append(time.perf_counter() - begun_s)
    path.unlink()
    return median(took_s) * 1000


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    names = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
