"""Whether a journal is the whole one: its fingerprints, added up a second time, against what witness and records know.

The books of a journal that was cut short, or wound back and written on, may add up to the cent. What they lack is only
known outside of it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import apsw

from redrush.settle.reconcile.report import Problems

DIGITS: Final = 16
DIGEST_BYTES: Final = 8


def check_history(data_dir: Path, journal: apsw.Connection, records: apsw.Connection, problems: Problems) -> None:
    """Add what the journal lacks, or has otherwise, to the problems; one of the version before has no fingerprints."""
    if not _has_column(journal, "log", "chain"):
        return
    if _identity(journal).get("is_unsure"):
        problems.add(
            "the journal was made anew, or went on as it was, without its witness, and nobody is left who knows all "
            f"that it had acknowledged: `redrush set honour --receipts FILE --data {data_dir}` enters what winners "
            f"have receipts of, or `redrush set honour --none --why … --data {data_dir}` says that nobody has one"
        )
    marks = [mark for mark in (_witness(data_dir / "journal.witness"), _cursor(records)) if mark is not None]
    own = str(_identity(journal).get("journal", ""))
    seen = {0: ""}
    chain, seq, changed = "", 0, False
    wanted = {known for _, _, known, _ in marks}
    rows = journal.execute(
        "SELECT seq, kind, pot, first_slot, count, at_us, users, slots, transfer, chain FROM log ORDER BY seq"
    )
    for seq, *columns, kept in rows:
        text = " ".join([chain, *(str(column) for column in columns if column is not None)])
        chain = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:DIGITS]
        if chain != kept and not changed:
            problems.add(f"seq {seq}: it, or a record before it, is not what was written: its fingerprint is wrong")
            changed = True
        if seq in wanted:
            seen[seq] = chain
    for who, log, known, fingerprint in marks:
        if log and own and log != own:
            problems.add(f"{who} is of journal {log}, this is journal {own}")
        elif known > seq:
            problems.add(f"{who} knew of seq {known}, but the journal ends at seq {seq}: acknowledged grants are lost")
        elif seen.get(known) != fingerprint:
            problems.add(f"up to seq {known} the journal has other records than {who} had: grants were changed or lost")


Mark = tuple[str, str, int, str]
"""Who knows, of which journal, up to which seq, with which fingerprint."""


def _witness(path: Path) -> Mark | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    head = _line(content)
    if head is None:
        return None
    page = int(head["page_bytes"])
    marks = [mark for mark in (_line(content[page:]), _line(content[2 * page :])) if mark is not None]
    if not marks:
        return None
    last = max(marks, key=lambda mark: int(mark["turn"]))
    return "the witness", str(head["identity"]["journal"]), int(last["seq"]), str(last["chain"])


def _line(content: bytes) -> dict[str, Any] | None:
    body, _, digest = content.partition(b"\n")[0].rpartition(b" ")
    if hashlib.blake2b(body, digest_size=DIGEST_BYTES).hexdigest().encode() != digest:
        return None
    found: dict[str, Any] = json.loads(body)
    return found


def _cursor(records: apsw.Connection) -> Mark | None:
    if not _has_column(records, "cursor", "digest"):
        return None
    ((seq, chain, log, digest),) = records.execute("SELECT seq, chain, log, digest FROM cursor")
    if hashlib.blake2b(f"{seq} {chain} {log}".encode(), digest_size=DIGEST_BYTES).hexdigest() != digest:
        return None  # somebody wrote another cursor there: what it stands for is compared grant by grant
    return "the records", log, seq, chain


def _identity(journal: apsw.Connection) -> dict[str, Any]:
    row = journal.execute("SELECT content FROM identity").fetchone()
    found: dict[str, Any] = {} if row is None else json.loads(row[0])
    return found


def _has_column(connection: apsw.Connection, table: str, column: str) -> bool:
    return any(row[1] == column for row in connection.execute(f"PRAGMA table_info({table})"))
