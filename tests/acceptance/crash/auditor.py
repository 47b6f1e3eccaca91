"""The auditor: re-derives everything from the journal and holds clients, export and ledger against it.

It shares no code with redrush and keeps slots as plain sets, so that it is slow, obvious and wrong in other ways than
the program it audits. Every function returns what is wrong, one sentence each; nothing wrong is an empty list.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

from tests.acceptance.crash.evidence import Acknowledged, LogRow, Recorded, RecordedGrant, Seal

RETURNED = "$returned"
PROBLEMS_MAX = 20
"""Sentences per audit: a journal that is wrong everywhere should not print a megabyte."""


@dataclass
class Books:
    """What the journal adds up to: who has which slot, and where every other slot is."""

    last_seq: int = 0
    granted: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """(slot, µs since the epoch) by (round, user)."""
    holders: dict[int, str] = field(default_factory=dict)
    free: dict[str, set[int]] = field(default_factory=dict)
    in_transit: dict[str, set[int]] = field(default_factory=dict)
    moved: set[tuple[str, str]] = field(default_factory=set)
    """(kind, transfer) of what was taken and given."""


def keep_books(seal: Seal, rows: Iterable[LogRow]) -> tuple[Books, list[str]]:
    """Read the journal from its first row; return what it adds up to and what is wrong with it."""
    books, problems = Books(), []
    last = (0, 0)
    for row in rows:
        if (row.seq, row.part) <= last:
            problems.append(f"row {row.seq} follows row {books.last_seq}")
        last = row.seq, row.part
        books.last_seq = row.seq
        problems += _ENTRIES[row.kind](books, seal, row)
    problems += conservation(books, seal)
    return books, problems[:PROBLEMS_MAX]


def _opened(books: Books, seal: Seal, row: LogRow) -> list[str]:
    if row.pot in books.free:
        return [f"pot {row.pot} was opened twice"]
    books.free[row.pot] = set(range(row.first_slot, row.first_slot + row.count))
    round_ = seal.rounds.get(row.pot)
    sealed = (0, 0) if round_ is None else (round_.first, round_.count)
    if (row.first_slot, row.count) != sealed and row.pot != RETURNED:
        return [f"pot {row.pot} was opened with other slots than the campaign says"]
    return []


def _granted(books: Books, seal: Seal, row: LogRow) -> list[str]:
    problems = []
    round_ = seal.rounds.get(row.pot)
    if round_ is None:
        return [f"row {row.seq} grants from {row.pot}, which is no round"]
    if len(row.users) != row.count:
        problems.append(f"row {row.seq} grants {row.count} slots to {len(row.users)} users")
    if not round_.opens_us <= row.at_us < round_.closes_us:
        problems.append(f"row {row.seq} grants outside the hours of round {row.pot}")
    free = books.free.get(row.pot, set())
    for slot, user in enumerate(row.users, row.first_slot):
        if slot in books.holders:
            problems.append(f"slot {slot} was granted to {books.holders[slot]} and again to {user}")
        elif slot not in free:
            problems.append(f"slot {slot} was granted in {row.pot}, which does not have it")
        if (row.pot, user) in books.granted:
            problems.append(f"{user} was granted twice in {row.pot}")
        free.discard(slot)
        books.holders[slot] = user
        books.granted[row.pot, user] = (slot, row.at_us)
    return problems


def _taken(books: Books, seal: Seal, row: LogRow) -> list[str]:
    problems = []
    slots = slots_of(row)
    if ("taken", row.transfer) in books.moved:
        problems.append(f"transfer {row.transfer} took twice")
    if not slots <= books.free.get(row.pot, set()):
        problems.append(f"transfer {row.transfer} took slots that {row.pot} did not have")
    books.free.get(row.pot, set()).difference_update(slots)
    if slots:  # nothing left over: there is nothing to give
        books.in_transit[row.transfer] = slots
    books.moved.add(("taken", row.transfer))
    return problems


def _given(books: Books, seal: Seal, row: LogRow) -> list[str]:
    problems = []
    slots = slots_of(row)
    if ("given", row.transfer) in books.moved:
        problems.append(f"transfer {row.transfer} gave twice")
    elif books.in_transit.pop(row.transfer, None) != slots:
        problems.append(f"transfer {row.transfer} gave other slots than it took")
    if row.pot not in books.free:
        problems.append(f"transfer {row.transfer} gave to {row.pot}, which was never opened")
    books.free.setdefault(row.pot, set()).update(slots)
    books.moved.add(("given", row.transfer))
    return problems


_ENTRIES = {"opened": _opened, "granted": _granted, "taken": _taken, "given": _given}


def slots_of(row: LogRow) -> set[int]:
    """Return the slots of a transfer."""
    return {slot for first, count in row.slots for slot in range(first, first + count)}


def conservation(books: Books, seal: Seal) -> list[str]:
    """Every slot of every opened round is in exactly one place, and the amounts add up to the budget to the cent."""
    problems = []
    for name, round_ in seal.rounds.items():
        total_minor = sum(seal.amounts_minor[round_.first : round_.first + round_.count])
        if total_minor != round_.total_minor:
            problems.append(f"the amounts of {name} add up to {total_minor}, not {round_.total_minor}")
    places = [books.holders.keys(), *books.free.values(), *books.in_transit.values()]
    count = sum(len(place) for place in places)
    opened = [round_ for name, round_ in seal.rounds.items() if name in books.free]
    if count != sum(round_.count for round_ in opened):
        problems.append(f"{count} slots are granted, left, returned or under way, of {sum(r.count for r in opened)}")
    found_minor = sum(seal.worth_minor(place) for place in places)
    budget_minor = sum(round_.total_minor for round_ in opened)
    if found_minor != budget_minor:
        problems.append(f"granted, left, returned and under way are {found_minor} together, not {budget_minor}")
    return problems


def audit_acknowledged(
    books: Books, seal: Seal, keys: dict[str, str], acknowledged: Iterable[Acknowledged]
) -> list[str]:
    """Hold what clients were told against the journal; check every receipt."""
    problems = []
    for told in acknowledged:
        entry = books.granted.get((told.round, told.user))
        if entry is None:
            problems.append(f"LOST: {told.user} was told of slot {told.slot} in {told.round}, the journal has no grant")
            continue
        if told != _as_told(seal, told.round, told.user, *entry, told.receipt):
            problems.append(f"{told.user} was told {told}, the journal has slot {entry[0]} at {entry[1]}")
        problems += _audit_receipt(seal, keys, told, entry[1])
    return problems[:PROBLEMS_MAX]


def _as_told(seal: Seal, round_id: str, user: str, slot: int, at_us: int, receipt: str) -> Acknowledged:
    amount = _amount(seal.worth_minor([slot]))
    grant = f"{seal.campaign}-{round_id}-{slot}"
    return Acknowledged(round_id, user, slot, amount, seal.currency, grant, _instant(at_us), receipt)


def _audit_receipt(seal: Seal, keys: dict[str, str], told: Acknowledged, at_us: int) -> list[str]:
    body, _, mac = told.receipt.rpartition("~")
    key_id = told.receipt.split("~")[1] if told.receipt.count("~") == 9 else ""
    amount_minor = seal.worth_minor([told.slot])
    stated = f"rr1~{key_id}~{seal.campaign}~{told.round}~{told.slot}~{amount_minor}~{seal.currency}~{told.user}~{at_us}"
    if body != stated or key_id not in keys:
        return [f"the receipt of {told.user} states something else: {told.receipt}"]
    key = base64.b64decode(keys[key_id])
    if hashlib.blake2b(body.encode(), digest_size=16, key=key, person=b"redrush.receipt").hexdigest() != mac:
        return [f"the receipt of {told.user} was not signed with the key of this event"]
    return []


def audit_settled(books: Books, seal: Seal, now_us: int) -> list[str]:
    """See that every round closed by `now_us` has handed on what was left, and that nothing is under way."""
    problems = [f"transfer {transfer} took slots and never gave them" for transfer in books.in_transit]
    for name, round_ in seal.rounds.items():
        if round_.closes_us <= now_us and books.free.get(name):
            problems.append(f"round {name} has closed and still holds {len(books.free[name])} slots")
    return problems


def audit_export(books: Books, seal: Seal, lines: Sequence[str]) -> list[str]:
    """Hold the lines of `redrush export grants --format jsonl` against the journal: the same grants, each once."""
    exported = Counter(json.dumps(json.loads(line), sort_keys=True) for line in lines)
    expected = Counter(
        json.dumps(_as_exported(seal, round_id, user, slot, at_us), sort_keys=True)
        for (round_id, user), (slot, at_us) in books.granted.items()
    )
    problems = [f"in the journal, not in the export: {grant}" for grant in expected - exported]
    problems += [f"in the export, not in the journal: {grant}" for grant in exported - expected]
    return problems[:PROBLEMS_MAX]


def _as_exported(seal: Seal, round_id: str, user: str, slot: int, at_us: int) -> dict[str, object]:
    told = asdict(_as_told(seal, round_id, user, slot, at_us, receipt=""))
    told["grant"] = told.pop("id")
    return {name: told[name] for name in ("grant", "round", "slot", "user", "amount", "granted_at")}


def audit_records(books: Books, seal: Seal, recorded: Recorded) -> list[str]:
    """Hold the records, caught up, against the journal: every grant, every balance, to the cent."""
    problems = []
    if recorded.cursor != books.last_seq:
        problems.append(f"the records stand at row {recorded.cursor} of {books.last_seq}")
    expected = {
        RecordedGrant(slot, round_id, user, seal.worth_minor([slot]), at_us)
        for (round_id, user), (slot, at_us) in books.granted.items()
    }
    problems += [f"in the journal, not in the records: {grant}" for grant in expected.difference(recorded.grants)]
    problems += [f"in the records, not in the journal: {grant}" for grant in set(recorded.grants) - expected]
    if len(recorded.grants) != len(expected):
        problems.append(f"the records hold {len(recorded.grants)} grants, the journal {len(expected)}")
    balances = _balances(books, seal)
    for kind, found in (("kept", recorded.balances_kept_minor), ("posted", recorded.balances_posted_minor)):
        for account in sorted(balances.keys() | found.keys()):
            if balances.get(account, 0) != found.get(account, 0):
                problems.append(
                    f"{account} is {found.get(account, 0)} as {kind}, {balances.get(account, 0)} by the journal"
                )
    return problems[:PROBLEMS_MAX]


def _balances(books: Books, seal: Seal) -> Counter[str]:
    """Return credits less debits of every account, from where the slots are now."""
    balances: Counter[str] = Counter()
    for (_, user), (slot, _) in books.granted.items():
        balances[f"user:{user}"] += seal.worth_minor([slot])
    for pot, slots in books.free.items():
        account = "sponsor" if pot == RETURNED else f"round:{pot}"
        balances[account] += seal.worth_minor(slots)
    balances["transit"] += sum(seal.worth_minor(slots) for slots in books.in_transit.values())
    balances["sponsor"] -= sum(round_.total_minor for name, round_ in seal.rounds.items() if name in books.free)
    return balances


def _amount(minor: int) -> str:
    """Return the amount as text in a currency with two places, the only kind that these events use."""
    return f"{minor // 100}.{minor % 100:02}"


def _instant(at_us: int) -> str:
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
    return f"{instant.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
