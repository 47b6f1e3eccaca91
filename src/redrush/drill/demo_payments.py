"""The demo's winners are paid: a sandbox of its own, a payments file, and the three books side by side at the end."""

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from redrush.drill.audit import Verdict, verdict
from redrush.drill.event_report import PayoutFigures
from redrush.drill.rehearsal import HOST, RehearsalFailed, run_redrush
from redrush.ports.bill_book import BillSum
from redrush.processes.loopback import free_port
from redrush.processes.server import ServerProcess
from redrush.records.sqlite.bills import SqliteBillBook

CALLS_PER_S: Final = 5_000
"""More than this machine can do: nothing is held back here. A merchant of WeChat Pay has 100."""

START_DEADLINE_S: Final = 30.0
PAID_DEADLINE_S: Final = 120.0
"""What is not paid by then is told as waiting."""

PAYOUT_TABLE: Final = '\n[payout]\nprovider = "sandbox"\npolicy = "end"\n'
UNDER_WAY: Final = frozenset({"new", "asked", "pending", "confirming", "held"})

BOOKS_AGREE: Final = (
    "{paid} winners paid, {waiting} waiting, {refused} refused; difference to the provider's bill {difference}"
)


class DemoPayments:
    """A sandbox beside the server of a demo. `start`, `wait`, `figures`, `end`."""

    def __init__(self, directory: Path, redrush: Sequence[str], *, notices: bool = False) -> None:
        """`notices`: the sandbox tells what became of bills, and whoever is paid by it listens."""
        self.file = directory / "payments.toml"
        self._directory = directory
        self._redrush = redrush
        taken: set[int] = set()
        self.port = self._port = free_port(taken)
        self._notices_port = free_port(taken) if notices else None
        command = [*redrush, "sandbox", "--port", str(self._port), "--book", str(directory / "sandbox.db")]
        if notices:
            command += ["--notify", f"http://{HOST}:{self._notices_port}/notices/sandbox"]
        self._sandbox = ServerProcess(command, directory / "sandbox.log")

    def start(self) -> None:
        """Start the sandbox and write the payments file that names it."""
        self._sandbox.start(START_DEADLINE_S)
        listen = "" if self._notices_port is None else f'[notices]\nlisten = "{HOST}:{self._notices_port}"\n'
        self.file.write_text(
            f'{listen}[[provider]]\nname = "sandbox"\nkind = "sandbox"\nurl = "http://{HOST}:{self._port}"\n'
            f"calls_per_second = {CALLS_PER_S}\n",
            encoding="utf-8",
        )

    def wait(self, granted_minor: int, progress: Callable[[int], None]) -> None:
        """Return when so much was paid or has been refused, or after `PAID_DEADLINE_S`; `progress` hears how many were
        paid. Raises ServerFailed if the sandbox dies."""
        deadline_s = time.monotonic() + PAID_DEADLINE_S
        while time.monotonic() < deadline_s:
            self._sandbox.check()
            sums = self._sums()
            progress(sum(one.count for one in sums if one.state == "done"))
            if sum(one.amount_minor for one in sums if one.state not in UNDER_WAY) >= granted_minor:
                return
            time.sleep(0.5)

    def figures(self) -> tuple[PayoutFigures, Verdict]:
        """Return what was paid, and whether ledger, our bills and the sandbox's bill say the same."""
        text = run_redrush(
            self._redrush, self._directory, "bills", "compare", "--json", "--payments", str(self.file), may_fail=True
        )
        try:
            compared = msgspec.json.decode(text)
            difference, ok = int(compared["difference_minor"]), bool(compared["ok"])
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            raise RehearsalFailed(f"bills compare did not answer in JSON: {text[:200]!r}") from None
        sums = self._sums()
        paid = [one for one in sums if one.state == "done"]
        waiting = [one for one in sums if one.state in UNDER_WAY]
        refused = [one for one in sums if one.state in ("failed", "cancelled")]
        figures = PayoutFigures(
            paid=_count(paid), paid_minor=_minor(paid), waiting=_count(waiting), waiting_minor=_minor(waiting),
            refused=_count(refused), refused_minor=_minor(refused), difference_minor=difference,
        )  # fmt: skip
        said = {
            "paid": f"{figures.paid:,}", "waiting": f"{figures.waiting:,}", "refused": f"{figures.refused:,}",
            "difference": f"{difference / 100:.2f}",
        }  # fmt: skip
        return figures, verdict("payouts", ok and difference == 0 and figures.waiting == 0, BOOKS_AGREE, **said)

    def end(self) -> None:
        """End the sandbox at once, if it still runs."""
        self._sandbox.kill()

    def _sums(self) -> list[BillSum]:
        book = SqliteBillBook.open_path(self._directory / "payments.db")
        try:
            return [one for one in book.sums() if one.kind == "payout"]
        finally:
            book.close()


def sum_of_grants(exported: str) -> int:
    """Return what the lines of an export come to, in hundredths."""
    amounts = (msgspec.json.decode(line)["amount"] for line in exported.splitlines())
    return int(sum(Decimal(amount) for amount in amounts) * 100)


def _count(sums: Sequence[BillSum]) -> int:
    return sum(one.count for one in sums)


def _minor(sums: Sequence[BillSum]) -> int:
    return sum(one.amount_minor for one in sums)
