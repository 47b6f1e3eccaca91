"""What reconciliation found, for people and for machines."""

from typing import Any, Final

import msgspec

from redrush.core.money.currency import format_amount

PROBLEMS_MAX: Final = 100
"""Problems told in words. One damaged page can make a million; the count tells of the rest."""


class Problems:
    """Sentences, each naming what it is about. Keeps the first `PROBLEMS_MAX` and counts all."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.count = 0

    def add(self, sentence: str) -> None:
        self.count += 1
        if len(self.told) < PROBLEMS_MAX:
            self.told.append(sentence)


class RoundReport(msgspec.Struct, frozen=True, kw_only=True):
    """One round: budget + received = granted + passed on + unclaimed, in minor units."""

    round: str
    grants: int
    budget_minor: int
    received_minor: int
    granted_minor: int
    passed_on_minor: int
    unclaimed_minor: int


class PacketsReport(msgspec.Struct, frozen=True, kw_only=True):
    """All packets between people that were opened: total = granted + returned + unclaimed, in minor units. `returned`
    went back to those who paid."""

    count: int
    shares: int
    grants: int
    total_minor: int
    granted_minor: int
    returned_minor: int
    unclaimed_minor: int


class SetReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one set has granted and has left, and how far its log is read and recorded."""

    set: str
    grants: int
    granted_minor: int
    unclaimed_minor: int
    journal_seq: int
    recorded_seq: int
    behind: int


class BooksReport(msgspec.Struct, frozen=True, kw_only=True):
    """What of the books of money was looked at; `changing` rows were being written, and are left to the next look."""

    bills: int
    postings: int
    packets: int
    orders: int
    changing: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole: budget = granted + unclaimed + in transit + returned. `ok` says that no check failed.

    `behind` counts the journal's records that the ledger does not hold yet. That is no disagreement. `sets` is
    empty where one store has everything; where there are several, `journal_seq` and `recorded_seq` are sums over them.
    `books` is None where there are none, `packets` where none was opened.
    """

    ok: bool
    campaign: str
    currency: str
    grants: int
    budget_minor: int
    granted_minor: int
    unclaimed_minor: int
    in_transit_minor: int
    returned_minor: int
    rounds: tuple[RoundReport, ...]
    sets: tuple[SetReport, ...]
    journal_seq: int
    recorded_seq: int
    behind: int
    problems: tuple[str, ...]
    problem_count: int
    books: BooksReport | None = None
    packets: PacketsReport | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON: the fields, and sums as decimal text under the names without `_minor`."""
        content: dict[str, Any] = msgspec.to_builtins(self)
        for name in ("budget", "granted", "unclaimed", "in_transit", "returned"):
            content[name] = format_amount(content[f"{name}_minor"], self.currency)
        return content

    def to_text(self) -> str:
        """Return a few lines for a terminal."""

        def text(amount_minor: int) -> str:
            return f"{format_amount(amount_minor, self.currency)} {self.currency}"

        lines = [
            f"campaign {self.campaign}: {self.grants} grants, {text(self.granted_minor)} of {text(self.budget_minor)}",
            f"unclaimed {text(self.unclaimed_minor)}, returned {text(self.returned_minor)}, "
            f"in transit {text(self.in_transit_minor)}",
        ]
        lines += [
            f"round {round_.round}: {round_.grants} grants, {text(round_.granted_minor)}; "
            f"unclaimed {text(round_.unclaimed_minor)}, passed on {text(round_.passed_on_minor)}"
            for round_ in self.rounds
        ]
        if (packets := self.packets) is not None:
            lines.append(
                f"packets between people: {packets.count}, of {text(packets.total_minor)}; {packets.grants} of "
                f"{packets.shares} shares granted, {text(packets.granted_minor)}; unclaimed "
                f"{text(packets.unclaimed_minor)}, returned {text(packets.returned_minor)}"
            )
        lines += [
            f"set {set_.set}: {set_.grants} grants, {text(set_.granted_minor)}; "
            f"unclaimed {text(set_.unclaimed_minor)}; recorded up to {set_.recorded_seq} of {set_.journal_seq}"
            for set_ in self.sets
        ]
        if (books := self.books) is not None and (books.bills or books.postings or books.packets or books.orders):
            lines.append(
                f"books: {books.bills} bills, {books.postings} postings, {books.packets} packets, {books.orders} orders"
            )
            if books.changing:
                lines.append(f"{books.changing} rows of them were being written; reconcile again to have them compared")
        if self.behind:
            lines.append(f"the ledger is {self.behind} journal records behind")
        if self.ok:
            lines.append("everything agrees")
        else:
            lines += self.problems
            if self.problem_count > len(self.problems):
                lines.append(f"… and {self.problem_count - len(self.problems)} more")
            lines.append(f"{self.problem_count} problems")
        return "\n".join(lines)
