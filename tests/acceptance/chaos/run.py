"""One event: a stack, and a few runs on it. A run is a rush, faults in it, everything mended, everything audited.

For run k the campaign has two rounds: `short-k`, which closes about when the run is on and hands its leftover to
`rush-k`, which stays open. So pots sell out, leftover moves between rounds and slots between sets while things break.

`python -m tests.acceptance.chaos.run` runs one event in a process of its own, which may be in a network namespace of
its own; the last line that it prints is its toll.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg

from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys
from redrush.core.identity.tickets import sign_ticket
from tests.acceptance.chaos import auditor, evidence
from tests.acceptance.chaos.crowd import Crowd, Tally
from tests.acceptance.chaos.faults import (
    FILE_KINDS,
    FILES_SHARE,
    Breaker,
    Fault,
    draw_faults,
    draw_file_faults,
)
from tests.acceptance.chaos.mender import NotMended, Operator
from tests.acceptance.chaos.stack import Stack, StackDied
from tests.acceptance.crash import auditor as books_auditor
from tests.acceptance.crash.evidence import read_seal, receipt_keys
from tests.acceptance.crash.load import Key, Witness
from tests.campaigns import OFF, campaign, lucky
from tests.commands import run_command

FAULTS_WITHIN_S: Final = 4.5
"""All faults of a run begin and end within this; then everybody must get a final answer."""
SETTLE_DEADLINE_S: Final = 30.0
DRAIN_DEADLINE_S: Final = 30.0
AUDITS_MAX: Final = 3
POLL_S: Final = 0.2
TICKET_TTL_S: Final = 86_400
FIRST_SHORT_S: Final = 8.0
EACH_RUN_S: Final = 9.0
"""From the seal to the close of the first short round, and from one to the next: about what runs take."""
EARLY_S: Final = 3.0
"""A run begins at most this long before its short round closes."""


class RunWentWrong(AssertionError):
    """An audit found something; the text has every sentence."""


@dataclass
class Toll:
    """What happened in some runs."""

    runs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    grants: int = 0
    moved: int = 0
    mended: int = 0
    """Commands that an operator was told to give, and has given."""
    honoured: int = 0
    """Grants that were lost and entered again by their receipts."""
    recovery_max_s: float = 0.0
    surprises: list[str] = field(default_factory=list)

    def add(self, other: "Toll") -> None:
        """Add what happened in other runs."""
        self.runs += other.runs
        self.faults += other.faults
        self.answers += other.answers
        self.broken += other.broken
        self.grants += other.grants
        self.moved += other.moved
        self.mended += other.mended
        self.honoured += other.honoured
        self.recovery_max_s = max(self.recovery_max_s, other.recovery_max_s)
        self.surprises += other.surprises

    @classmethod
    def of_json(cls, told: dict[str, Any]) -> "Toll":
        """Return what another process printed."""
        counters: dict[str, Any] = {name: Counter(told[name]) for name in ("faults", "answers", "broken")}
        return cls(**(told | counters))

    def __str__(self) -> str:
        faults = "\n".join(f"  {count:5} {name}" for name, count in sorted(self.faults.items()))
        return (
            f"{self.runs} runs, {self.faults.total()} faults, {self.grants} grants acknowledged, {self.moved} moves of "
            f"slots, {self.mended} sets mended as they were told to be, {self.honoured} grants honoured, "
            f"lost 0, doubles 0, cents off 0; answers {dict(self.answers)}, broken off {dict(self.broken)}, "
            f"all had a final answer at most {self.recovery_max_s:.1f} s after the last fault\n{faults}"
        )


class Event:
    """See the module. `directory` must be new."""

    def __init__(
        self, seed: str, directory: Path, database: Path, *, runs: int, network: bool, files: bool = False
    ) -> None:
        self.toll = Toll()
        self._seed = seed
        self._rng = random.Random(seed)
        self._directory = directory
        self._runs = runs
        self._network = network
        self._files = files
        self._witness = Witness()
        self._tally = Tally()
        self._tickets: dict[str, str] = {}
        directory.mkdir(parents=True)
        file = directory / "campaign.toml"
        sizes = [(self._rng.randint(60, 900), self._rng.randint(500, 2_500)) for _ in range(runs)]
        file.write_text(
            campaign(*(self._rounds(number, *size) for number, size in enumerate(sizes)), id="chaos", tables=OFF),
            encoding="utf-8",
        )
        self._stack = Stack(
            file, directory / "data", sets=self._rng.choice((2, 2, 3)), replicas=1, gates=self._rng.choice((2, 3))
        )
        self._stack.use_database(database)
        self._breaker = Breaker(self._stack, self._say)
        self._operator = Operator(
            directory / "data", lambda: [told.receipt for told in self._witness.acknowledged.values()], self._say
        )

    def _rounds(self, number: int, short: int, rush: int) -> str:
        short_ms = int((FIRST_SHORT_S + number * EACH_RUN_S) * 1_000)
        early = lucky(f"short-{number}", f"{short}.00", short, lasts=f"{short_ms}ms", max="9.00", leftover="next")
        kind, bound = "lucky_double_mean", "9.00"
        late = lucky(f"rush-{number}", f"{rush}.01", rush, lasts="3600s", kind=kind, max=bound, leftover="return")
        return early + late

    async def run(self) -> Toll:
        """Do all runs, the last audit, and an end in good order. Raises RunWentWrong, StackDied."""
        try:
            await self._stack.up()
            seal = read_seal(self._stack.directory)
            assert seal is not None
            self._seal = seal
            self._ring = load_keys(DataDir(self._stack.directory)).tickets
            for number in range(self._runs):
                await self._run(number)
                self.toll.runs += 1
            self.toll.answers = self._witness.answers
            self.toll.broken = self._tally.broken
            self.toll.faults = self._breaker.toll
            self.toll.grants = len(self._witness.acknowledged)
            self.toll.mended = sum(command.startswith("set ") for command in self._operator.did)
            self.toll.honoured = self._operator.honoured
            self.toll.surprises = self._stack.surprises()
            await self._stack.down()
        finally:
            self._stack.kill()
            await self._stack.gone()
        return self.toll

    async def _run(self, number: int) -> None:
        seal = self._seal
        faults = self._draw(number)
        await asyncio.sleep(seal.rounds[f"short-{number}"].closes_us / 1e6 - EARLY_S - time.time())
        crowd = Crowd(self._rng, self._witness, self._tally, self._sign, self._rng.choice((0.02, 0.05, 0.1)))
        crowd.is_closed_by_order = lambda: self._operator.has_ended_event
        if any(fault.kind in FILE_KINDS for fault in faults):
            await asyncio.to_thread(self._breaker.files.keep)
        crowd.come(self._users(number))
        running = asyncio.create_task(crowd.run(self._stack.port))
        self._say(f"run {number}")
        try:
            await self._breaker.run(faults)
            if any(fault.kind in FILE_KINDS for fault in faults):
                await self._mend(faults)
            self._say("all is mended")
            mended_s = time.monotonic()
            if not await crowd.settled(SETTLE_DEADLINE_S):
                left = crowd.unsettled
                self._fail(
                    faults,
                    [f"{len(left)} users have no final answer {SETTLE_DEADLINE_S:g} s after: {list(left.items())[:5]}"],
                )
            self.toll.recovery_max_s = max(self.toll.recovery_max_s, time.monotonic() - mended_s)
        finally:
            crowd.end()
            await running
        await asyncio.sleep(seal.rounds[f"short-{number}"].closes_us / 1e6 - time.time())
        for _ in range(AUDITS_MAX):
            ends = await self._drained(faults)
            problems = await self._audit(number)
            # If a round closed meanwhile, its leftover moved between the auditor's looks; what is wrong stays wrong.
            if not problems or ends == await self._drained(faults):
                break
        self._fail(faults, problems)
        self._say("audited")

    def _draw(self, number: int) -> list[Fault]:
        """Return the faults of a run. Where it is all about files, the kinds come in turns."""
        if self._files:
            return draw_file_faults(self._rng, FAULTS_WITHIN_S, FILE_KINDS[number % len(FILE_KINDS)])
        if self._network and self._rng.random() < FILES_SHARE:  # the short form has no time for it
            return draw_file_faults(self._rng, FAULTS_WITHIN_S)
        return draw_faults(self._rng, FAULTS_WITHIN_S, network=self._network)

    async def _mend(self, faults: list[Fault]) -> None:
        """Let the operator do what is said, until every set can grant."""
        try:
            await self._operator.mend()
        except NotMended as fault:
            self._fail(faults, [str(fault)])
        self._fail(faults, self._operator.problems)

    def _users(self, number: int) -> list[Key]:
        """Return who claims: sometimes more than there are slots, sometimes fewer."""
        keys = []
        for name in (f"short-{number}", f"rush-{number}"):
            count = int(self._seal.rounds[name].count * self._rng.choice((0.7, 1.1, 1.4)))
            keys += [(name, f"u{self._rng.randrange(10**9)}") for _ in range(count)]
        self._rng.shuffle(keys)
        return keys

    def _sign(self, user: str) -> str:
        ticket = self._tickets.get(user)
        if ticket is None:
            ticket = self._tickets[user] = sign_ticket(self._ring, user, int(time.time()) + TICKET_TTL_S)
        return ticket

    async def _drained(self, faults: list[Fault]) -> dict[str, int]:
        """Return where the logs end, when the records hold all of them and what closed rounds had left has moved."""
        seal, deadline_s = self._seal, time.monotonic() + DRAIN_DEADLINE_S
        why = ""
        while True:
            with suppress(psycopg.Error, OSError, evidence.ServerAway, RuntimeError):
                ends = await asyncio.to_thread(evidence.last_seqs, self._stack.directory, seal.campaign)
                recorded = await asyncio.to_thread(evidence.recorded_seqs, self._stack.directory)
                why = f"the logs end at {ends}, recorded is up to {recorded}"
                if ends == recorded:
                    books, problems = await asyncio.to_thread(self._books)
                    why = "; ".join(problems + books_auditor.audit_settled(books, seal, time.time_ns() // 1_000))
                    if not why or problems:
                        return ends
            if time.monotonic() > deadline_s:
                self._fail(faults, [f"not settled {DRAIN_DEADLINE_S:g} s after the rush: {why}"])
            await asyncio.sleep(POLL_S)

    def _books(self) -> tuple[books_auditor.Books, list[str]]:
        sets = evidence.read_sets(self._stack.directory, self._seal.campaign)
        return auditor.keep_books(self._seal, sets)

    async def _audit(self, number: int) -> list[str]:
        """Return all that is wrong."""
        directory, seal = self._stack.directory, self._seal
        (exported, lines, export_said), (reconciled, report, said) = await asyncio.gather(
            run_command("export", "grants", "--data", str(directory), "--format", "jsonl"),
            run_command("reconcile", "--data", str(directory), "--json"),
        )
        books, problems = await asyncio.to_thread(self._books)
        recorded = await asyncio.to_thread(evidence.read_records, directory, books.last_seq)
        told = self._witness.acknowledged.values()
        problems += books_auditor.audit_acknowledged(books, seal, receipt_keys(directory), told)
        problems += books_auditor.audit_export(books, seal, lines.splitlines())
        problems += books_auditor.audit_records(books, seal, recorded)
        problems += self._witness.problems
        problems += self._audit_emptied(books, number)
        if exported != 0:
            problems.append(f"export ended with {exported}: {export_said}")
        if reconciled != 0 or json.loads(report).get("ok") is not True:
            problems.append(f"reconcile ended with {reconciled}: {report} {said}")
        self.toll.moved = len(books.moved) // 2
        return problems

    def _audit_emptied(self, books: books_auditor.Books, number: int) -> list[str]:
        """Nobody may be told that a round is sold out which then closes, or stays open, with slots left.

        Of the round that gets leftover this holds only where there was none: what came after the word is no lie.
        """
        problems = []
        for name in (f"short-{number}", f"rush-{number}"):
            passed_on = sum(transfer.startswith(f"leftover:short-{number}") for kind, transfer in books.moved)
            left = self._seal.rounds[name].count - sum(round_id == name for round_id, _ in books.granted)
            if self._tally.emptied[name] and left > 0 and (name.startswith("short") or not passed_on):
                problems.append(f"{self._tally.emptied[name]} were told that {name} is sold out, {left} slots are left")
        return problems

    def _fail(self, faults: list[Fault], problems: list[str]) -> None:
        if problems:
            happened = "\n  ".join(map(str, faults))
            sentences = "\n  ".join(problems)
            raise RunWentWrong(
                f"seed {self._seed}, {self._directory}:\n  {sentences}\nfaults of the run:\n  {happened}"
            )

    def _say(self, what: str) -> None:
        with (self._directory / "story.txt").open("a", encoding="utf-8") as story:
            story.write(f"{datetime.now(UTC).isoformat()} {what}\n")


def main() -> None:
    """Run one event and print its toll as JSON; end with 1 and what went wrong on stderr if something did."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--network", action="store_true")
    parser.add_argument("--files", action="store_true", help="In every run the files of a set are hurt.")
    chosen = parser.parse_args()
    if chosen.network:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    event = Event(
        chosen.seed, chosen.directory, chosen.database, runs=chosen.runs, network=chosen.network, files=chosen.files
    )
    try:
        toll = asyncio.run(event.run())
    except (RunWentWrong, StackDied) as fault:
        sys.exit(f"{type(fault).__name__}: {fault}")
    sys.stdout.write(json.dumps(vars(toll)) + "\n")


if __name__ == "__main__":
    main()
