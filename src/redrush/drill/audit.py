"""The independent auditor: what users were promised, against what the event wrote down, against what was sealed.

It reads three things that come from three sides - the grants that the crowd saw on the wire, the rows of `redrush
export grants`, and the sealed campaign with its amounts - and uses no code of the store, the gate or the ledger, not
even their reading of money: what they get wrong together, it must not get wrong too. The idea of an auditor that
checks every reply is TigerBeetle's.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from redrush.drill.observations import Acknowledged
from redrush.errors import RedrushError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

SUCH_AS = "; such as {examples}"
EXAMPLES_MAX = 3
"""Cases that a failed verdict names: enough to begin a search with, few enough to read."""
PACKET = "packet:"
"""Names of pots begin so that are packets between people, and no rounds."""


class AuditFailed(RedrushError):
    """The audit could not be made: a file is missing or is not what it should be."""


class AuditRound(msgspec.Struct, frozen=True):
    """A round as sealed: its slots are `first_slot` … `first_slot` + `packets` − 1."""

    id: str
    first_slot: int
    packets: int
    opens_us: int
    closes_us: int
    passes_on: bool
    """Whether its unclaimed slots go on to the next round."""


class SealedTable(msgspec.Struct, frozen=True):
    """What was fixed before the opening: rounds in order, and the amount of each slot of the campaign in units of
    10^−`exponent`."""

    rounds: tuple[AuditRound, ...]
    amounts: Sequence[int]
    exponent: int


class Verdict(msgspec.Struct, frozen=True):
    """One thing that must hold, whether it does, and the figures behind it.

    `detail` is `pattern` with its `values` filled in; a verdict without a pattern is said in English only.
    """

    name: str
    holds: bool
    detail: str
    pattern: str = ""
    values: dict[str, str] = {}

    def detail_in(self, translate: Callable[[str], str]) -> str:
        """Return the detail with its pattern translated."""
        if not self.pattern:
            return self.detail
        pattern = translate(self.pattern) + (translate(SUCH_AS) if "examples" in self.values else "")
        return pattern.format(**self.values)


def verdict(name: str, holds: bool, pattern: str, **values: str) -> Verdict:
    """Return a verdict that can be said in every language that knows the pattern."""
    said = Verdict(name, holds, "", pattern, values)
    return msgspec.structs.replace(said, detail=said.detail_in(str))


def none_wrong(name: str, wrong: Sequence[str], pattern: str, all_: int) -> Verdict:
    """Return the verdict that nothing is wrong of so many; the pattern has places for {wrong} and {all}."""
    values = {"wrong": f"{len(wrong):,}", "all": f"{all_:,}"}
    if not wrong:
        return verdict(name, True, pattern, **values)
    return verdict(
        name, False, pattern + SUCH_AS, examples=", ".join(list(dict.fromkeys(wrong))[:EXAMPLES_MAX]), **values
    )


class Audit(msgspec.Struct, frozen=True):
    """All verdicts. `unheard` grants were written down but never answered to the crowd: allowed, and shown."""

    verdicts: tuple[Verdict, ...]
    unheard: int

    @property
    def holds(self) -> bool:
        """Whether every verdict holds."""
        return all(verdict.holds for verdict in self.verdicts)


def read_sealed(data_dir: Path, exponent: int) -> SealedTable:
    """Return the sealed table of a data directory. Raises AuditFailed if it is missing or was changed."""
    try:
        sealed = msgspec.json.decode((data_dir / "campaign.json").read_bytes())
        raw = (data_dir / "amounts.i64").read_bytes()
    except (OSError, msgspec.DecodeError) as fault:
        raise AuditFailed(f"{data_dir}: the sealed campaign cannot be read: {fault}") from fault
    if hashlib.sha256(raw).hexdigest() != sealed["amounts_sha256"]:
        raise AuditFailed(f"{data_dir / 'amounts.i64'}: is not the table that was sealed")
    rounds = tuple(
        AuditRound(
            id=entry["id"],
            first_slot=entry["slots"][0],
            packets=entry["slots"][1],
            opens_us=entry["opens_us"],
            closes_us=entry["closes_us"],
            passes_on=entry["leftover"] == "next",
        )
        for entry in sealed["campaign"]["rounds"]
    )
    return SealedTable(rounds, np.frombuffer(raw, dtype="<i8").tolist(), exponent)


def audit(
    acknowledged: Sequence[Acknowledged],
    exported: Sequence[Mapping[str, Any]],
    sealed: SealedTable,
    breaches: Mapping[str, int] | None = None,
) -> Audit:
    """Compare the three sides and return the verdicts, in order of how bad a failure would be.

    `exported` are rows with `grant, round, slot, user, amount, granted_at`; `breaches` are the crowd's own counts of
    answers that contradicted earlier ones. A row without one of the fields is a KeyError: the export is broken.

    Of packets between people nothing is sealed: that no share is granted twice is looked at here, what they hold, and
    when, by `redrush reconcile`.
    """
    of_rounds = [row for row in exported if not _is_share(row)]
    verdicts = (
        _lost(acknowledged, exported),
        _oversold(of_rounds, sealed),
        _unique(
            "doubled users",
            "{wrong} of {written} grants, each user and round once",
            exported,
            lambda row: (row["round"], row["user"]),
        ),
        _unique("doubled slots", "{wrong} of {written} grants, each slot once", exported, _slot_of),
        _unique("doubled grants", "{wrong} of {written} grants, each id once", exported, lambda row: row["grant"]),
        _amounts(acknowledged, of_rounds, sealed),
        _early_or_late(of_rounds, sealed),
        _promises(breaches or {}),
    )
    heard = {answer.grant for answer in acknowledged}
    return Audit(verdicts, sum(row["grant"] not in heard for row in exported))


def _is_share(row: Mapping[str, Any]) -> bool:
    return str(row["round"]).startswith(PACKET)


def _slot_of(row: Mapping[str, Any]) -> object:
    """Return the slot: rounds share their numbers, the shares of a packet have their own."""
    return f"{row['round']} {row['slot']}" if _is_share(row) else row["slot"]


def _lost(acknowledged: Sequence[Acknowledged], exported: Sequence[Mapping[str, Any]]) -> Verdict:
    """Every grant that a user was told of is written down, for that user, round and slot."""
    written = {row["grant"]: (row["round"], row["user"], row["slot"]) for row in exported}
    lost = [a.grant for a in acknowledged if written.get(a.grant) != (a.round, a.user, a.slot)]
    return _verdict("lost", lost, "{wrong} of {heard} acknowledged grants", heard=len(acknowledged))


def _oversold(exported: Sequence[Mapping[str, Any]], sealed: SealedTable) -> Verdict:
    """No round gives more than its packets and those that were left to it, and none gives a slot of another."""
    wrong = [str(row["slot"]) for row in exported if not _may_give(sealed.rounds, row["round"], row["slot"])]
    granted = Counter(row["round"] for row in exported)
    carried = 0
    for round_ in sealed.rounds:
        room = round_.packets + carried
        excess = granted[round_.id] - room
        wrong += [f"{round_.id} over by one"] * max(0, excess)
        carried = max(0, -excess) if round_.passes_on else 0
    packets = sum(round_.packets for round_ in sealed.rounds)
    return _verdict("oversold", wrong, "{wrong} of {written} grants, {packets} packets", len(exported), packets=packets)


def _may_give(rounds: Sequence[AuditRound], round_id: str, slot: int) -> bool:
    """Say whether `slot` is the round's own, or of an earlier round from which everything between passes on."""
    for index in range(len(rounds) - 1, -1, -1):
        if rounds[index].id == round_id:
            break
    else:
        return False
    while True:
        round_ = rounds[index]
        if round_.first_slot <= slot < round_.first_slot + round_.packets:
            return True
        index -= 1
        if index < 0 or not rounds[index].passes_on:
            return False


def _unique(
    name: str, pattern: str, exported: Sequence[Mapping[str, Any]], key: Callable[[Mapping[str, Any]], object]
) -> Verdict:
    counts = Counter(key(row) for row in exported)
    doubled = [str(value) for value, count in counts.items() if count > 1]
    return _verdict(name, doubled, pattern, len(exported))


def _amounts(
    acknowledged: Sequence[Acknowledged], exported: Sequence[Mapping[str, Any]], sealed: SealedTable
) -> Verdict:
    """What was answered and what was written down are both the amount that was sealed for the slot."""
    told = ((answer.grant, answer.slot, answer.amount) for answer in acknowledged)
    written = ((str(row["grant"]), int(row["slot"]), str(row["amount"])) for row in exported)
    wrong = [grant for rows in (told, written) for grant in _wrong_amounts(rows, sealed)]
    pattern = "{wrong} of {heard} answered and {written} written"
    return _verdict("wrong amounts", wrong, pattern, len(exported), heard=len(acknowledged))


def _wrong_amounts(rows: Iterable[tuple[str, int, str]], sealed: SealedTable) -> list[str]:
    scale = Decimal(10) ** sealed.exponent
    amounts, slots = sealed.amounts, len(sealed.amounts)
    return [
        grant
        for grant, slot, amount in rows
        if not 0 <= slot < slots or not amount.isascii() or Decimal(amount) * scale != amounts[slot]
    ]


def _early_or_late(exported: Sequence[Mapping[str, Any]], sealed: SealedTable) -> Verdict:
    """Every grant was made while its round was open."""
    open_us = {round_.id: (round_.opens_us, round_.closes_us) for round_ in sealed.rounds}
    wrong = []
    for row in exported:
        opens_us, closes_us = open_us.get(row["round"], (0, 0))
        if not opens_us <= (datetime.fromisoformat(row["granted_at"]) - _EPOCH) // _MICROSECOND < closes_us:
            wrong.append(str(row["grant"]))
    return _verdict("early or late", wrong, "{wrong} of {written} grants outside their round's time", len(exported))


def _promises(breaches: Mapping[str, int]) -> Verdict:
    broken = [f"{name}: {count:,}" for name, count in breaches.items() for _ in range(count)]
    return _verdict("broken promises", broken, "{wrong} answers that contradict an earlier one")


def _verdict(name: str, wrong: Sequence[str], pattern: str, written: int = 0, **counts: int) -> Verdict:
    """Return the verdict that nothing is `wrong`; the pattern may name `wrong`, `written` and the `counts`."""
    values = {key: f"{count:,}" for key, count in {"wrong": len(wrong), "written": written, **counts}.items()}
    if not wrong:
        return verdict(name, True, pattern, **values)
    examples = ", ".join(list(dict.fromkeys(wrong))[:EXAMPLES_MAX])
    return verdict(name, False, pattern, examples=examples, **values)
