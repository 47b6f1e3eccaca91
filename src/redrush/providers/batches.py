"""Payouts as files for finance people: one CSV file a day, which they pay by whatever means, and their answers as CSV.

    payouts-2027-02-06.csv      number, to, amount, currency, subject, made_at: a line a payout, synchronised
    answers/ANY.csv             number, state (paid or refused), at, why: put there by finance, read whenever it changes

A number stands in the files once, however often it is asked for, so a day's file may be paid as it is once the day is
over. Who sends a file twice pays nothing twice as long as they look at the numbers. Values are written so that no
spreadsheet makes a formula or another number of them.
"""

import asyncio
import csv
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from redrush.core.money.currency import format_amount
from redrush.core.rush.instants import rfc3339_s, to_us
from redrush.errors import RedrushError
from redrush.ports.provider import (
    Absent,
    Accepted,
    Bill,
    Cancelled,
    Cancelling,
    Done,
    Failed,
    PayOutStart,
    PayOutState,
    Pending,
    Rejected,
    Terms,
    Unknown,
)

COLUMNS: Final = ("number", "to", "amount", "currency", "subject", "made_at")
ANSWER_BYTES_MAX: Final = 64_000_000
"""Of one file of answers: a day of a million payouts."""

OF_A_FORMULA: Final = re.compile(r"^[=+\-@\t\r]")


class _Line(msgspec.Struct, frozen=True):
    to: str
    amount: str


class _Said(msgspec.Struct, frozen=True):
    state: str
    at_us: int
    why: str


class CsvPayOut:
    """Fulfils `redrush.ports.provider.PayOut` in a directory, which is one process's alone to write."""

    def __init__(self, directory: Path, terms: Terms, now_us: Callable[[], int]) -> None:
        """Reads the files that are there. RedrushError if the directory cannot be used."""
        self._directory = directory
        self._terms = terms
        self._now_us = now_us
        self._answers_seen: dict[Path, tuple[int, int]] = {}
        self._answers: dict[str, _Said] = {}
        try:
            (directory / "answers").mkdir(parents=True, exist_ok=True)
            self._lines = dict(_lines_of(directory))
        except (OSError, csv.Error, UnicodeDecodeError, KeyError) as fault:
            raise RedrushError(f"{directory}: the payout files cannot be read: {fault}") from fault

    @property
    def terms(self) -> Terms:
        """What finance has agreed to."""
        return self._terms

    async def start(self, bill: Bill) -> PayOutStart:
        """See the port."""
        line = _Line(_plain(bill.to), format_amount(bill.amount_minor, bill.currency))
        known = self._lines.get(bill.number)
        if known is not None:
            return Accepted() if known == line else Rejected("this number was used with other terms", final=True)
        try:
            await asyncio.to_thread(self._append, bill, line)
        except OSError as fault:
            return Unknown(f"{self._directory}: {fault.strerror}")
        self._lines[bill.number] = line
        return Accepted()

    async def find(self, number: str) -> PayOutState:
        """See the port."""
        line = self._lines.get(number)
        if line is None:
            return Absent()
        try:
            await asyncio.to_thread(self._read_answers)
        except (OSError, csv.Error, UnicodeDecodeError) as fault:
            return Unknown(f"{self._directory / 'answers'}: {fault}")
        said = self._answers.get(number)
        if said is None:
            return Pending()
        if said.state == "refused":
            return Failed(said.why or "refused by finance")
        minor = int(line.amount.replace(".", ""))
        return Done(minor, said.at_us, number, self._terms.currency)

    async def cancel(self, number: str) -> Cancelling | Done | Cancelled | Unknown:
        """See the port: who has the file cannot be called back."""
        found = await self.find(number)
        return found if isinstance(found, Done | Unknown) else Cancelling()

    def _append(self, bill: Bill, line: _Line) -> None:
        now_s = self._now_us() // 1_000_000
        path = self._directory / f"payouts-{rfc3339_s(now_s)[:10]}.csv"
        is_new = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(COLUMNS)
            writer.writerow((bill.number, line.to, line.amount, bill.currency, _plain(bill.subject), rfc3339_s(now_s)))
            file.flush()
            os.fsync(file.fileno())

    def _read_answers(self) -> None:
        """Read the files of answers that are new or were changed. What was said first of a number counts."""
        for path in sorted((self._directory / "answers").glob("*.csv")):
            found = path.stat()
            stamp = (found.st_mtime_ns, found.st_size)
            if self._answers_seen.get(path) == stamp:
                continue
            if found.st_size > ANSWER_BYTES_MAX:
                raise csv.Error(f"{path.name} is larger than {ANSWER_BYTES_MAX} bytes")
            with path.open(encoding="utf-8-sig", newline="") as file:
                for row in csv.DictReader(file):
                    state = (row.get("state") or "").strip().lower()
                    if state in ("paid", "refused"):
                        said = _Said(state, _instant_us(row.get("at")) or self._now_us(), (row.get("why") or "")[:200])
                        self._answers.setdefault((row.get("number") or "").strip().lstrip("'"), said)
            self._answers_seen[path] = stamp


def _lines_of(directory: Path) -> Iterator[tuple[str, _Line]]:
    """Yield the numbers that stand in the files. A line that a crash has cut off was promised to nobody."""
    for path in sorted(directory.glob("payouts-*.csv")):
        _end_cut_line(path)
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield row["number"], _Line(row["to"], row["amount"])


def _end_cut_line(path: Path) -> None:
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def _plain(text: str) -> str:
    """Return the text on one line, with an apostrophe where a spreadsheet would take it for a formula."""
    text = " ".join(text.split())
    return f"'{text}" if OF_A_FORMULA.match(text) else text


def _instant_us(text: str | None) -> int | None:
    try:
        at = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return None
    return to_us(at if at.tzinfo is not None else at.replace(tzinfo=UTC))
