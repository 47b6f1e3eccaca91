"""One event on one data directory: its campaign, its deaths and restarts, its audits.

    round    opens          lasts      leftover goes
    short    first start    a second   to `long`
    middle   a bit later    a second   back to the sponsor
    long     first start    an hour    (stays open while servers are killed)

So pots sell out in some events, leftover moves in both ways while the load runs, and something can always be won.
Nobody is refused because the machine is busy: a 503 here is about the disk.
"""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys
from redrush.core.identity.tickets import sign_ticket
from tests.acceptance.crash import auditor, evidence
from tests.acceptance.crash.deaths import RECORDING, Death, Plan
from tests.acceptance.crash.load import Load, Witness
from tests.acceptance.crash.server import START_DEADLINE_S, STOP_DEADLINE_S, ServerProcess, running
from tests.campaigns import OFF, a_round, campaign, lucky
from tests.commands import run_command
from tests.patience import PATIENCE_S

SIGKILLED: Final = -9
LOAD_DEADLINE_S: Final = 4.0
"""A planned point that is not reached within this ends as a kill from outside; it is planned again."""
RECORDING_LOAD_S: Final = 0.3
"""The recorder gives way to a rush, so where it is to die the load ends early."""
LAST_LOAD_S: Final = 0.3
LULL_S: Final = 1.0
"""Between two loads: long enough for the recorder to notice that the rush is over, and for a failed server to end."""
SETTLE_POLL_S: Final = 0.05
TICKET_TTL_S: Final = 86_400
EARLY_ROUNDS: Final = ("short", "middle")
"""They close while the event is watched."""
ROUNDS: Final = (*EARLY_ROUNDS, "long")

CALM: Final = """\
[admission]
queueing_target = "60s"
loop_late_target = "60s"
wait_max = "60s"
"""


class EventWentWrong(AssertionError):
    """An audit found something; the text has every sentence."""


@dataclass(frozen=True)
class Ended:
    """How a life ended that nobody killed. `code` None: it did not end when told to."""

    was_ready: bool
    code: int | None
    said: str


class Event:
    """See the module. `directory` is created; `name` is for messages."""

    def __init__(self, name: str, directory: Path, rng: random.Random) -> None:
        self.name = name
        self.witness = Witness()
        self._rng = rng
        self._file = directory / "campaign.toml"
        self._data = directory / "data"
        self._fingerprint: str | None = None
        self._tickets: dict[str, str] = {}
        self._pause_max_s = rng.choice((0.0, 0.005, 0.02))
        directory.mkdir(parents=True)
        self._file.write_text(self._campaign(), encoding="utf-8")

    def _campaign(self) -> str:
        rng = self._rng
        short, short_ms, middle = rng.randint(50, 3_000), rng.randint(500, 1_500), rng.randint(50, 3_000)
        opens = (datetime.now(UTC) + timedelta(seconds=rng.uniform(0.4, 1.0))).isoformat()
        middle_ms, long = rng.randint(400, 1_000), rng.randint(40_000, 80_000)
        return campaign(
            lucky("short", f"{short}.00", short, lasts=f"{short_ms}ms", max="9.00", leftover="next"),
            lucky("long", f"{long}.01", long, lasts="3600s", kind="lucky_double_mean", max="9.00", leftover="return"),
            a_round("middle", f"{middle}.07", middle, opens=opens, lasts=f"{middle_ms}ms", leftover="return"),
            id="crash",
            tables=OFF + CALM,
        )

    async def die(self, death: Death) -> bool:
        """Live until that death, then audit the journal. Return whether it came about as planned."""
        async with running(self._file, self._data, death.plan) as server:
            if death.after_spawn_s is not None:
                asyncio.get_running_loop().call_later(death.after_spawn_s, server.kill)
            port = await asyncio.wait_for(server.ready, START_DEADLINE_S)
            as_planned = True
            if port is not None:
                self._note_seal()
                as_planned = await self._live(server, port, death)
            code = await server.ended(STOP_DEADLINE_S)
        if code != SIGKILLED:
            self._fail([f"the server ended with {code} instead of being killed: {server.said}"])
        await self._audit_journal()
        return as_planned

    async def _live(self, server: ServerProcess, port: int, death: Death) -> bool:
        if death.after_ready_s is not None:
            asyncio.get_running_loop().call_later(death.after_ready_s, server.kill)
        load = self._load()
        loading = asyncio.create_task(load.run(port))
        if death.plan.point in RECORDING:
            asyncio.get_running_loop().call_later(RECORDING_LOAD_S, load.hush)
        as_planned = await server.ended(LOAD_DEADLINE_S) is not None
        server.kill()
        await loading
        return as_planned

    async def suffer(self, plan: Plan, loads_s: Sequence[float] = (LOAD_DEADLINE_S,)) -> Ended:
        """Live under the plan until the server ends by itself, or through these loads, with lulls between them, and
        then to an orderly stop. Audit the journal."""
        async with running(self._file, self._data, plan) as server:
            port = await asyncio.wait_for(server.ready, START_DEADLINE_S)
            if port is not None:
                self._note_seal()
                for load_s in loads_s:
                    await self._run_load(port, load_s)
                    if await server.ended(LULL_S) is not None:
                        break
                server.terminate()
            code = await server.ended(STOP_DEADLINE_S)
        await self._audit_journal()
        return Ended(port is not None, code, server.said)

    async def finish(self) -> None:
        """Live once more without any fault, stop in order, and audit everything."""
        async with running(self._file, self._data, Plan()) as server:
            port = await asyncio.wait_for(server.ready, START_DEADLINE_S)
            if port is None:
                raise EventWentWrong(f"{self.name}, {self._data}: the server does not start again: {server.said}")
            self._note_seal()
            await self._run_load(port, LAST_LOAD_S)
            await self._settled()
            server.terminate()
            code = await server.ended(STOP_DEADLINE_S)
        if code != 0:
            self._fail([f"the server stopped with exit code {code}: {server.said}"])
        await self._audit_settlement(await self._audit_journal())

    async def _run_load(self, port: int, load_s: float) -> None:
        load = self._load()
        hushing = asyncio.get_running_loop().call_later(load_s, load.hush)
        await load.run(port)
        hushing.cancel()

    async def _settled(self) -> None:
        """Return when every round that closes early has handed on its leftover; if not, the audit will say so."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while not evidence.leftover_moved(self._data, EARLY_ROUNDS):
                    await asyncio.sleep(SETTLE_POLL_S)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self._data

    def _load(self) -> Load:
        ring = load_keys(DataDir(self._data)).tickets
        expires_s = int(time.time()) + TICKET_TTL_S

        def sign(user: str) -> str:
            ticket = self._tickets.get(user)
            if ticket is None:
                ticket = self._tickets[user] = sign_ticket(ring, user, expires_s)
            return ticket

        return Load(self._rng, self.witness, ROUNDS, sign, pause_max_s=self._pause_max_s)

    def _note_seal(self) -> None:
        """The seal of the first server that was ready is the seal of the event."""
        seal = evidence.read_seal(self._data)
        assert seal is not None
        if self._fingerprint is None:
            self._fingerprint = seal.fingerprint
        elif seal.fingerprint != self._fingerprint:
            self._fail(["the sealed campaign or its amounts have changed since the opening"])

    async def _audit_journal(self) -> auditor.Books:
        # In a thread: the clients of other events must go on asking meanwhile, also in the last second of a server.
        return await asyncio.to_thread(self._audit)

    def _audit(self) -> auditor.Books:
        seal = evidence.read_seal(self._data)
        if seal is None:
            self._fail([] if self._fingerprint is None else ["the seal is gone"])
            return auditor.Books()
        books, problems = auditor.keep_books(seal, evidence.read_journal(self._data))
        told = self.witness.acknowledged.values()
        if told:
            problems += auditor.audit_acknowledged(books, seal, evidence.receipt_keys(self._data), told)
        self._fail(problems + self.witness.problems)
        return books

    async def _audit_settlement(self, books: auditor.Books) -> None:
        seal = evidence.read_seal(self._data)
        assert seal is not None
        (exported, lines, export_said), (reconciled, report, said) = await asyncio.gather(
            run_command("export", "grants", "--data", str(self._data), "--format", "jsonl"),
            run_command("reconcile", "--data", str(self._data), "--json"),
        )
        problems = auditor.audit_settled(books, seal, max(seal.rounds[name].closes_us for name in EARLY_ROUNDS))
        problems += auditor.audit_export(books, seal, lines.splitlines())
        problems += auditor.audit_records(books, seal, evidence.read_records(self._data))
        if exported != 0:
            problems.append(f"export ended with {exported}: {export_said}")
        if reconciled != 0 or json.loads(report).get("ok") is not True:
            problems.append(f"reconcile ended with {reconciled}: {report} {said}")
        self._fail(problems)

    def _fail(self, problems: list[str]) -> None:
        if problems:
            raise EventWentWrong(f"{self.name}, {self._data}:\n  " + "\n  ".join(problems))
