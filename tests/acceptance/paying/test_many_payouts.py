"""A million payouts of a stack at the sandbox: what is due is found by index, memory stays flat, whoever is killed
goes on, and the rate is kept as the provider sees it. Time is compressed: no provider allows such a rate."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from redrush.ports.bill_book import NewBill
from tests.acceptance.paying.paying_stack import PayingStack, paying_stack
from tests.acceptance.stack.running_stack import kill

BATCH: Final = 1_000
RESUMED_MAX_S: Final = 2.0
"""From the kill to the next payout, without the time that others had the cores."""
GROWTH_MAX: Final = 1.15
"""Of the memory from a tenth of the way to the end."""
LOOK_S: Final = 1.0


def _payouts(first: int, count: int) -> list[NewBill]:
    return [
        NewBill(
            kind="payout", source=f"gala/w{number}/#0", campaign="gala", user=f"w{number}", provider="bank",
            currency="CNY", amount_minor=100 + number % 7, subject="gala", to=f"w{number}",
        )
        for number in range(first, first + count)
    ]  # fmt: skip


def _waited_s(pid: int) -> float:
    """Return for how long a process was ready to run and others had the cores."""
    _ran_ns, waited_ns, _slices = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(waited_ns) / 1e9


def _rss_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


class Watched:
    """A stack that pays, looked at from outside."""

    def __init__(self, stack: PayingStack) -> None:
        self.stack = stack

    def starts(self) -> int:
        """Return how many payouts the sandbox was asked to start, since it began."""
        return int(json.loads(self.stack.running.get(self.stack.bank_port, "/pace").body)["starts"])

    def sql(self, query: bytes) -> Any:
        with psycopg.connect((self.stack.data / "records.dsn").read_text()) as connection:
            connection.execute(b"SET enable_seqscan = off")
            ((found,),) = connection.execute(query).fetchall()
        return found

    def done(self) -> int:
        return int(self.sql(b"SELECT count(*) FROM bills WHERE state = 'done'"))

    def until_started(self, count: int, pid: int) -> list[int]:
        """Return the memory, each second, until so many were started."""
        memory = []
        while self.starts() < count:
            time.sleep(LOOK_S)
            memory.append(_rss_kib(pid))
        return memory


@pytest.mark.soak
@pytest.mark.timeout(14_400)
def test_many_are_paid_at_the_rate_with_memory_that_stays_flat(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = int(os.environ.get("REDRUSH_SOAK_PAYOUTS", "1000000"))
    calls_per_s = int(os.environ.get("REDRUSH_SOAK_CALLS_PER_S", "1000"))
    options = ("--sets", 1, "--gates", 1)
    with paying_stack(
        tmp_path, packets=1, total="1.00", payout='policy = "winner"', calls_per_s=calls_per_s, options=options
    ) as (stack, _):
        watched = Watched(stack)
        began_s = time.monotonic()
        with stack.book() as book:
            for first in range(0, count, BATCH):
                book.make(_payouts(first, min(BATCH, count - first)), 1)
        made_s = time.monotonic() - began_s
        scans = b"SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'bills'"
        scans_before = watched.sql(scans)
        memory = watched.until_started(count // 2, stack.pid("payments"))
        kill(stack.pid("payments"))
        at, killed_s = watched.starts(), time.monotonic()
        while watched.starts() <= at:
            time.sleep(0.01)
        resumed_s = time.monotonic() - killed_s
        waited_s = _waited_s(stack.pid("payments"))
        later = watched.until_started(count, stack.pid("payments"))
        while watched.done() < count:
            time.sleep(LOOK_S)
        lasted_s = time.monotonic() - began_s
        assert watched.sql(scans) == scans_before, "nobody reads all bills to find what is due"
        bank = json.loads(stack.running.get(stack.bank_port, "/book").body)
        (sums,) = bank["bills"]
        with capsys.disabled():
            sys.stderr.write(
                f"\n{count:,} payouts in {lasted_s:.0f} s ({made_s:.0f} s to make them), {count / lasted_s:.0f}/s; "
                f"resumed after {resumed_s:.2f} s, {waited_s:.2f} s of them without a core; "
                f"RSS {memory[len(memory) // 5]:,} to {memory[-1]:,} KiB, then {later[len(later) // 5]:,} to "
                f"{later[-1]:,}; at most {bank['starts_per_s_most']} starts a second of {calls_per_s} allowed\n"
            )
        assert (sums["kind"], sums["state"], sums["count"]) == ("payout", "done", count)
        assert sums["amount_minor"] == sum(100 + number % 7 for number in range(count))
        with stack.book() as book:
            assert book.balance("gala", "clearing:bank").net_minor == sums["amount_minor"]
        assert bank["starts_per_s_most"] <= calls_per_s
        assert memory[-1] <= GROWTH_MAX * memory[len(memory) // 5]
        assert later[-1] <= GROWTH_MAX * later[len(later) // 5]
        assert resumed_s - waited_s <= RESUMED_MAX_S
