"""The auditor finds what is wrong: a small event whose evidence is right, and every way of tampering with it."""

import base64
import hashlib
import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.acceptance.crash import auditor, evidence
from tests.acceptance.crash.evidence import Acknowledged, LogRow, Recorded, RecordedGrant, Seal, SealedRound
from tests.acceptance.crash.load import Witness
from tests.raw_files import copy_as_killed

KEY = bytes(range(32))
KEYS = {"k1": base64.b64encode(KEY).decode()}
OPENS_US = 1_800_000_000_000_000
AT_US = OPENS_US + 5
CLOSES_US = OPENS_US + 1_000
AMOUNTS = [100, 250, 50, 75, 25, 500]
SEAL = Seal(
    "c1", "CNY", {"a": SealedRound(0, 4, 475, OPENS_US, CLOSES_US), "b": SealedRound(4, 2, 525, OPENS_US, CLOSES_US)},
    AMOUNTS, "seal",
)  # fmt: skip
ROWS = (
    LogRow(1, "opened", "a", 0, 4),
    LogRow(2, "opened", "b", 4, 2),
    LogRow(3, "opened", "$returned"),
    LogRow(4, "granted", "a", 0, 2, AT_US, ("ann", "bob")),
    LogRow(5, "taken", "a", slots=((2, 2),), transfer="leftover:a"),
    LogRow(6, "given", "b", slots=((2, 2),), transfer="leftover:a"),
    LogRow(7, "granted", "b", 4, 2, AT_US, ("bob", "eve")),
    LogRow(8, "granted", "b", 2, 1, AT_US, ("ann",)),
    LogRow(9, "taken", "b", slots=((3, 1),), transfer="leftover:b"),
    LogRow(10, "given", "$returned", slots=((3, 1),), transfer="leftover:b"),
)
HOLDERS = ((0, "a", "ann"), (1, "a", "bob"), (4, "b", "bob"), (5, "b", "eve"), (2, "b", "ann"))
BALANCES = {"sponsor": -925, "user:ann": 150, "user:bob": 275, "user:eve": 500}

RECORDED = Recorded(
    10,
    tuple(RecordedGrant(slot, round_id, user, AMOUNTS[slot], AT_US) for slot, round_id, user in HOLDERS),
    BALANCES,
    BALANCES,
)


def told(slot: int, round_id: str, user: str) -> Acknowledged:
    body = f"rr1~k1~c1~{round_id}~{slot}~{AMOUNTS[slot]}~CNY~{user}~{AT_US}"
    mac = hashlib.blake2b(body.encode(), digest_size=16, key=KEY, person=b"redrush.receipt").hexdigest()
    amount = f"{AMOUNTS[slot] / 100:.2f}"
    instant = "2027-01-15T08:00:00.000005Z"
    return Acknowledged(round_id, user, slot, amount, "CNY", f"c1-{round_id}-{slot}", instant, f"{body}~{mac}")


@dataclass(frozen=True)
class Evidence:
    """Everything that is audited, as it is when all is well."""

    seal: Seal = SEAL
    rows: tuple[LogRow, ...] = ROWS
    told: tuple[Acknowledged, ...] = tuple(told(*holder) for holder in HOLDERS)
    exported: tuple[str, ...] = tuple(
        json.dumps(
            {"grant": f"c1-{round_id}-{slot}", "round": round_id, "slot": slot, "user": user,
             "amount": f"{AMOUNTS[slot] / 100:.2f}", "granted_at": "2027-01-15T08:00:00.000005Z"}
        )
        for slot, round_id, user in HOLDERS
    )  # fmt: skip
    recorded: Recorded = RECORDED

    def audit(self) -> list[str]:
        books, problems = auditor.keep_books(self.seal, self.rows)
        problems += auditor.audit_acknowledged(books, self.seal, KEYS, self.told)
        problems += auditor.audit_settled(books, self.seal, CLOSES_US)
        problems += auditor.audit_export(books, self.seal, self.exported)
        return problems + auditor.audit_records(books, self.seal, self.recorded)


RIGHT = Evidence()


def test_right_evidence_is_found_right() -> None:
    assert RIGHT.audit() == []


def rows(*changed: LogRow, without: Iterable[int] = ()) -> Evidence:
    """The evidence with these rows in the place of those with the same seq, and without some."""
    by_seq = {row.seq: row for row in (*ROWS, *changed) if row.seq not in without}
    return replace(RIGHT, rows=tuple(by_seq[seq] for seq in sorted(by_seq)))


def first_told(**changed: object) -> Evidence:
    return replace(RIGHT, told=(replace(RIGHT.told[0], **changed), *RIGHT.told[1:]))  # type: ignore[arg-type]


def records(**changed: object) -> Evidence:
    return replace(RIGHT, recorded=replace(RIGHT.recorded, **changed))  # type: ignore[arg-type]


AMOUNT_CHANGED = replace(SEAL, amounts_minor=[101, *AMOUNTS[1:]])
AMOUNTS_SWAPPED = replace(SEAL, amounts_minor=[250, 100, *AMOUNTS[2:]])

TAMPERED = {
    "a lost batch": (rows(without=[8]), "LOST: ann was told of slot 2"),
    "a slot granted twice": (rows(replace(ROWS[7], first_slot=4)), "slot 4 was granted to bob and again to ann"),
    "a slot of another round": (
        rows(replace(ROWS[3], first_slot=3)),
        "slot 4 was granted in a, which",
    ),
    "two grants for one user": (rows(replace(ROWS[3], users=("ann", "ann"))), "ann was granted twice in a"),
    "more grants than packets": (
        rows(LogRow(11, "granted", "b", 6, 1, AT_US, ("max",))),
        "slot 6 was granted in b, which does not have it",
    ),
    "a slot to somebody else": (rows(replace(ROWS[7], users=("max",))), "LOST: ann"),
    "fewer users than slots": (rows(replace(ROWS[7], count=2)), "grants 2 slots to 1 users"),
    "a grant too early": (rows(replace(ROWS[3], at_us=OPENS_US - 1)), "outside the hours of round a"),
    "a grant too late": (rows(replace(ROWS[3], at_us=CLOSES_US)), "outside the hours of round a"),
    "a grant of returned money": (rows(replace(ROWS[7], pot="$returned")), "grants from $returned, which is no round"),
    "a pot opened twice": (rows(LogRow(11, "opened", "a", 0, 4)), "pot a was opened twice"),
    "a pot with more slots than sealed": (rows(replace(ROWS[0], count=5)), "opened with other slots"),
    "rows out of order": (replace(RIGHT, rows=(*ROWS, ROWS[2])), "row 3 follows row 10"),
    "leftover that vanishes": (rows(without=[10]), "transfer leftover:b took slots and never gave them"),
    "leftover that shrinks": (rows(replace(ROWS[9], slots=((3, 0),))), "gave other slots than it took"),
    "leftover given twice": (
        rows(replace(ROWS[9], seq=11)),
        "transfer leftover:b gave twice",
    ),
    "leftover that was granted": (rows(replace(ROWS[4], slots=((1, 3),))), "took slots that a did not have"),
    "leftover that stays": (rows(without=[9, 10]), "round b has closed and still holds 1 slots"),
    "an amount changed": (replace(RIGHT, seal=AMOUNT_CHANGED), "the amounts of a add up to 476, not 475"),
    "two amounts swapped": (replace(RIGHT, seal=AMOUNTS_SWAPPED), "ann was told"),
    "an answer with another amount": (first_told(amount="9.99"), "ann was told"),
    "an answer with another slot": (first_told(slot=1), "ann was told"),
    "an answer with another instant": (first_told(granted_at="2027-01-15T08:00:00.000006Z"), "ann was told"),
    "an answer with another id": (first_told(id="c1-a-1"), "ann was told"),
    "a grant nobody wrote down": (first_told(user="max"), "LOST: max"),
    "another's receipt": (first_told(receipt=RIGHT.told[1].receipt), "states something else"),
    "a forged receipt": (first_told(receipt=RIGHT.told[0].receipt[:-1] + "!"), "was not signed"),
    "a grant missing in the export": (replace(RIGHT, exported=RIGHT.exported[1:]), "not in the export"),
    "a grant twice in the export": (replace(RIGHT, exported=RIGHT.exported * 2), "in the export, not in the journal"),
    "records that lag": (records(cursor=9), "the records stand at row 9 of 10"),
    "a grant missing in the records": (records(grants=RIGHT.recorded.grants[1:]), "not in the records"),
    "a grant recorded with a cent more": (
        records(grants=(replace(RIGHT.recorded.grants[0], amount_minor=101), *RIGHT.recorded.grants[1:])),
        "in the records, not in the journal",
    ),
    "a grant recorded twice": (records(grants=RIGHT.recorded.grants * 2), "the records hold 10 grants"),
    "a balance a cent off": (
        records(balances_kept_minor=BALANCES | {"user:ann": 151}),
        "user:ann is 151 as kept, 150 by the journal",
    ),
    "postings a cent off": (
        records(balances_posted_minor=BALANCES | {"sponsor": -926}),
        "sponsor is -926 as posted, -925 by the journal",
    ),
    "an account that should not be": (records(balances_kept_minor=BALANCES | {"user:max": 1}), "user:max is 1 as kept"),
}


@pytest.mark.parametrize(("tampered", "objection"), TAMPERED.values(), ids=TAMPERED.keys())
def test_tampered_evidence_is_objected_to(tampered: Evidence, objection: str) -> None:
    assert any(objection in problem for problem in tampered.audit()), tampered.audit()


def test_evidence_is_read_from_files_and_left_as_it_is(tmp_path: Path) -> None:
    live, killed = tmp_path / "live", tmp_path / "killed"
    live.mkdir()
    with closing(sqlite3.connect(live / "journal.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            'CREATE TABLE log (seq INTEGER PRIMARY KEY, kind, pot, first_slot, "count", at_us, users, slots, transfer)'
        )
        connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [
            (1, "opened", "a", 0, 4, None, None, None, None),
            (4, "granted", "a", 0, 2, AT_US, '["ann","bob"]', None, None),
            (5, "taken", "a", None, None, None, None, "[[2,2]]", "leftover:a"),
        ])  # fmt: skip
        connection.commit()
        copy_as_killed(live, killed)
    wal = (killed / "journal.db-wal").read_bytes()
    assert evidence.read_journal(killed) == [ROWS[0], ROWS[3], ROWS[4]]
    assert (killed / "journal.db-wal").read_bytes() == wal


def heard(*answers: tuple[str, int, dict[str, object]]) -> list[str]:
    witness = Witness()
    for user, status, body in answers:
        key = ("a", user)
        head = "http/1.1 200 ok\r\ncontent-type: application/json"
        witness.hear(key, witness.acknowledged.get(key), status, head, json.dumps(body).encode())
    return witness.problems


def grant(slot: int, user: str, *, repeat: bool) -> tuple[str, int, dict[str, object]]:
    answer = vars(told(slot, "a", user)).copy()
    del answer["user"]
    return user, 200, {"outcome": "granted", "grant": answer, "repeat": repeat}


HEARD = {
    "a second slot for the same user": ((grant(0, "ann", repeat=False), grant(1, "ann", repeat=True)), "then"),
    "a second grant that is no repeat": ((grant(0, "ann", repeat=False),) * 2, "no repeat"),
    "a grant that is taken back": ((grant(0, "ann", repeat=False), ("ann", 200, {"outcome": "empty"})), "now told"),
    "an unknown outcome": ((("ann", 200, {"outcome": "maybe"}),), "unknown outcome"),
    "a fault": ((("ann", 500, {}),), "status 500"),
    "a refusal that does not say when to come back": ((("ann", 503, {"status": 503}),), "without Retry-After"),
}


@pytest.mark.parametrize(("answers", "objection"), HEARD.values(), ids=HEARD.keys())
def test_a_witness_objects_to_answers_that_contradict_each_other(
    answers: tuple[tuple[str, int, dict[str, object]], ...], objection: str
) -> None:
    assert any(objection in problem for problem in heard(*answers))


def test_a_witness_is_content_with_a_grant_and_its_repeats() -> None:
    assert heard(grant(0, "ann", repeat=False), grant(0, "ann", repeat=True)) == []
