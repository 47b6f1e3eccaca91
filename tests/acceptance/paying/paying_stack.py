"""A stack whose winners are paid at a sandbox, and a person's view of both."""

import asyncio
import json
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys
from redrush.core.identity.tickets import sign_ticket
from redrush.records.postgres.bills import PostgresBillBook
from redrush.records.postgres.messages import PostgresMessageBook
from redrush.stack.stack_dir import StackDir
from redrush.stack.up import status
from tests.acceptance.paying.stage import CAMPAIGN, Bank, Process
from tests.acceptance.stack.running_stack import RunningStack, stack_up
from tests.patience import PATIENCE_S


def minor(text: str) -> int:
    return int(Decimal(text) * 100)


def issue(data: Path, user: str) -> str:
    """Return a ticket."""
    return sign_ticket(load_keys(DataDir(data)).tickets, user, int(time.time()) + 86_400)


class PayingStack:
    """See the module."""

    def __init__(self, running: RunningStack, bank_port: int, payments: Path) -> None:
        self.running = running
        self.data = running.data
        self.bank_port = bank_port
        self.payments = payments
        self.deployment = self.data / "deployment.toml"
        ports = tomllib.loads(self.deployment.read_text())["payments"]
        self.port: int = ports["port"]
        self.control_port: int = ports["control_port"]
        self._tickets: dict[str, str] = {}

    def tickets(self, users: Sequence[str]) -> dict[str, str]:
        self._tickets |= {user: issue(self.data, user) for user in users if user not in self._tickets}
        return {user: self._tickets[user] for user in users}

    def grab(self, users: Sequence[str], round_id: str = "r1") -> dict[str, int]:
        """Return what those who won have won, in minor units."""
        answers = self.running.grab(self.tickets(users), round_id)
        return {user: minor(one["grant"]["amount"]) for user, one in answers.items() if one["outcome"] == "granted"}

    def get(self, user: str, path: str) -> dict[str, Any]:
        answer = self.running.get(self.port, path, self.tickets([user])[user])
        assert answer.status == 200, answer.raw
        fields: dict[str, Any] = json.loads(answer.body)
        return fields

    def bank_sums(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Return count and amount of the bank's bills, by kind and state."""
        bills = json.loads(self.running.get(self.bank_port, "/book").body)["bills"]
        return {(one["kind"], one["state"]): (one["count"], one["amount_minor"]) for one in bills}

    @contextmanager
    def book(self) -> Iterator[PostgresBillBook]:
        """The book as it is in the database."""
        book = PostgresBillBook((self.data / "records.dsn").read_text())
        try:
            yield book
        finally:
            book.close()

    def forget_message(self, user: str) -> None:
        """Take what the user was told out of the book, as if it was lost."""
        with psycopg.connect((self.data / "records.dsn").read_text()) as connection:
            connection.execute("SET LOCAL redrush.recorder = 'yes'")
            connection.execute('DELETE FROM messages WHERE "user" = %s', [user])

    @contextmanager
    def messages(self) -> Iterator[PostgresMessageBook]:
        """The book of messages as it is in the database."""
        book = PostgresMessageBook((self.data / "records.dsn").read_text())
        try:
            yield book
        finally:
            book.close()

    def pid(self, name: str) -> int:
        """Return the id of a process of the stack, 0 while it does not run."""
        found = status(StackDir(self.data))["processes"]
        return int(next(one["pid"] for one in found if one["name"] == name) or 0)


def until(holds: Callable[[], object], why: Callable[[], object] = lambda: "") -> None:
    """Return when it holds."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, f"it did not come to that: {why()}"
        time.sleep(0.05)


@contextmanager
def paying_stack(
    root: Path, *, packets: int, total: str, payout: str = 'policy = "auto"', calls_per_s: int = 500,
    sandbox: Sequence[str] = (), options: Sequence[object] = ("--sets", 2, "--gates", 1),
    runner: asyncio.Runner | None = None, messages: str = "", notifiers: str = "",
) -> Iterator[tuple[PayingStack, Process]]:  # fmt: skip
    """Bring up a sandbox and a stack that is paid by it. `runner`: whose loop the sandbox is watched from. `messages`
    are more tables of the campaign file, `notifiers` of the payments file."""
    bank = Bank(root, taken=set(), calls_per_s=calls_per_s, options=sandbox)
    file = root / "gala.toml"
    file.write_text(CAMPAIGN.format(total=total, packets=packets, payout=payout) + messages)
    with bank.payments.open("a") as payments:
        payments.write(notifiers)
    with ExitStack() as ends:
        loop = runner or ends.enter_context(asyncio.Runner())
        loop.run(bank.process.start())
        ends.callback(lambda: loop.run(bank.process.kill()))
        running = ends.enter_context(stack_up(file, root / "d", *options, "--payments", bank.payments))
        yield PayingStack(running, bank.port, bank.payments), bank.process
