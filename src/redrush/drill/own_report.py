"""The report of an event that was really held, from what it has written down: sealed campaign, export, reconciliation.

There was no simulated crowd, so nothing is known of those who did not win: figures of requests and of latencies are
the metrics' matter. Everything else is the demo's report, made by the same auditor. It may be asked for while the event
runs.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from redrush.control.data_dir import DataDir
from redrush.core.money.currency import exponent_of
from redrush.core.rush.campaign import Campaign, Round
from redrush.core.rush.instants import to_us
from redrush.core.rush.leftover import carried_in
from redrush.drill import figures
from redrush.drill.audit import read_sealed
from redrush.drill.event_figures import read_campaign
from redrush.drill.event_report import EventReport, RoundFigures, SharedFigures
from redrush.drill.rehearsal import REDRUSH, audit_event, reconcile_event
from redrush.drill.report import print_report, to_json, write_report
from redrush.drill.report_texts import Language
from redrush.drill.terminal import Terminal, line
from redrush.errors import ConfigError
from redrush.operate.data_dir_reports import check_served

BUCKETS_MAX: Final = 240
"""Points of a round's plot; a round of two hours is shown in steps of half a minute."""
AFTER_LAST: Final = 1.15
"""How far past the last grant a plot goes, as a multiple of the time until it."""


def own_event_report(data_dir: Path, redrush: Sequence[str] = REDRUSH) -> EventReport:
    """Return the report of the event of this directory, of one server or of a stack, which may be running.

    Raises RehearsalFailed, with the words of the command that failed, or AuditFailed where nothing was ever sealed.
    """
    ledger, reconciled = reconcile_event(data_dir, redrush)
    audit, exported = audit_event(data_dir, redrush, (), {})
    campaign = read_campaign(data_dir)
    amounts = np.asarray(read_sealed(data_dir, exponent_of(campaign.currency)).amounts)
    made_us = time.time_ns() // 1_000
    rounds = {round_.id for round_ in campaign.rounds}
    of_rounds = [row for row in exported if row["round"] in rounds]
    return EventReport(
        campaign=campaign.id,
        name=campaign.name,
        currency=campaign.currency,
        timezone=campaign.timezone,
        made_us=made_us,
        rounds=_rounds(campaign, amounts, of_rounds, made_us),
        grants=figures.rate(np.sort(_instants_us(of_rounds)) / 1e6),
        verdicts=(*(found for found in audit.verdicts if found.name not in OF_A_CROWD), ledger),
        shared=msgspec.convert(reconciled.get("packets"), SharedFigures | None),
    )


OF_A_CROWD: Final = frozenset({"lost", "broken promises"})
"""Verdicts on what users were told: nobody has kept that here."""


def show_own_report(data_dir: Path, out: Path, language: Language, *, as_json: bool) -> int:
    """Write the pages of the report to `out` and print it; returns 0 if every verdict holds, 1 if not.

    Raises ConfigError if there is no event in the directory, it was never served, or nothing can be written to `out`;
    RedrushError where its journal is gone.
    """
    directory = DataDir(data_dir)
    directory.require()
    if not directory.deployment.exists():
        check_served(directory)
    found = own_event_report(data_dir)
    terminal = Terminal(sys.stderr if as_json else sys.stdout)
    try:
        out.mkdir(parents=True, exist_ok=True)
        report_at = write_report(found, out)
    except OSError as fault:
        sentence = f"{out}: the report cannot be written: {fault.strerror}; choose another place with --out"
        raise ConfigError(sentence) from fault
    if as_json:
        sys.stdout.write(to_json(found).decode())
    else:
        print_report(found, terminal, language)
    terminal.say([(), line(report_at)])
    return 0 if found.holds else 1


def _instants_us(rows: Sequence[Mapping[str, Any]]) -> NDArray[np.int64]:
    return np.array([to_us(datetime.fromisoformat(row["granted_at"])) for row in rows], dtype=np.int64)


def _rounds(
    campaign: Campaign, amounts: NDArray[np.int64], exported: Sequence[Mapping[str, Any]], now_us: int
) -> tuple[RoundFigures, ...]:
    rows_of: dict[str, list[Mapping[str, Any]]] = {round_.id: [] for round_ in campaign.rounds}
    for row in exported:
        rows_of[row["round"]].append(row)
    carried = carried_in(campaign, {round_id: len(rows) for round_id, rows in rows_of.items()}, now_us)
    return tuple(_round(round_, rows_of[round_.id], amounts, carried[round_.id]) for round_ in campaign.rounds)


def _round(
    round_: Round, rows: Sequence[Mapping[str, Any]], amounts: NDArray[np.int64], carried_in: int
) -> RoundFigures:
    worths = amounts[np.array([row["slot"] for row in rows], dtype=np.int64)]
    given_s = (_instants_us(rows) - round_.opens_us) / 1e6
    room, lasts_s = round_.slots.count + carried_in, (round_.closes_us - round_.opens_us) / 1e6
    last_s = float(given_s.max(initial=0.0))
    ends_s = min(lasts_s, max(figures.BUCKET_S, last_s * AFTER_LAST)) if len(rows) else lasts_s
    return RoundFigures(
        id=round_.id,
        opens_us=round_.opens_us,
        lasts_s=lasts_s,
        kind=round_.kind.value,
        release_per_s=round_.release_per_s,
        packets=round_.slots.count,
        carried_in=carried_in,
        granted=len(rows),
        total_minor=round_.total_minor,
        granted_minor=int(worths.sum()),
        grants=figures.rate(given_s),
        people=None,
        sold_out_after_s=round(last_s, 3) if len(rows) == room else None,
        traffic=None,
        time_line=figures.line_of(
            {figures.GRANTED: given_s}, 0.0, ends_s, room, max(figures.BUCKET_S, ends_s / BUCKETS_MAX)
        ),
        amounts=figures.amount_histogram(worths),
    )
