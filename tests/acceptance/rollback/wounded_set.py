"""A set of real servers under a warden, whose files are hurt; an auditor that knows only what a gate was told.

What the records know is how far the log was at some moment, and the records up to there: what PostgreSQL holds of it.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from redrush.control.warden import Warden
from redrush.control.warden_notes import WardenNotes, witness_of
from redrush.core.rush.campaign import Slots
from redrush.core.sets.failover import Policy
from redrush.operate.set_rebuilding import rebuild_set
from redrush.ports.records import RecordsFailed
from redrush.ports.store import Claimed, Granted, Known, LogRecord, PotTerms, StoreUnavailable, claims_of
from redrush.processes.failure import ServerFailed
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.valkey import Access, ValkeyStore, establish_set
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Link
from redrush.stores.valkey.proof import read_held
from redrush.stores.valkey.rebuild import enter_grant
from redrush.stores.valkey.set_servers import ValkeySetServers
from tests.integration.valkey_sets import AT_US, CAMPAIGN, POT, SET, ask, follow, servers, until

SLOTS: Final = Slots(0, 10_000)
ENDS_WITHIN_S: Final = 20.0
BATCH: Final = 7


class StandingClock:
    def now_us(self) -> int:
        return AT_US


class WoundedSet:
    """See the module."""

    def __init__(self, directory: Path, started: list[ValkeyServer]) -> None:
        self.servers = started
        self.told: dict[str, int] = {}
        self.problems: list[str] = []
        self.records_are_away = False
        self.gate_remembers = True
        self._user_of: dict[int, str] = {}
        self._notes_dir = directory / "notes"
        self._keys = SetKeys(CAMPAIGN, SET)
        self._recorded: tuple[Known, list[LogRecord]] | None = None
        self._users = 0

    async def begin(self) -> None:
        """Watch over the set, and open a pot."""
        await self.watch()
        self.store = ValkeyStore.attach_later([server.address for server in self.servers], CAMPAIGN, SET)
        await self.whole()
        await self._persistently(lambda: self.store.open([PotTerms(POT, SLOTS)]))

    async def whole(self) -> None:
        """Return when a grant rests on as many servers as there are; the first of them is the primary then."""
        wanted = "replica" if len(self.servers) > 1 else "disk"
        await until(lambda: asyncio.sleep(0, self.warden.state.durability == wanted and self.store.is_attached))
        self.servers.sort(key=lambda server: server.address != self.store.address)

    async def watch(self) -> None:
        """Begin to watch, as a control role that was just started does."""
        self.notes = WardenNotes.open_path(self._notes_dir, SET)
        self.warden = Warden(
            ValkeySetServers(SET, tuple(server.address for server in self.servers), self._keys, Access()),
            policy=Policy(len(self.servers) - 1, 1_000_000),
            notes=self.notes,
            clock=StandingClock(),
            others=self._no_others,
            recorded=self._ask_records,
            heard=self._heard,
        )
        self._watching = asyncio.create_task(self.warden.run())

    async def stop_watching(self) -> None:
        self._watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watching
        self.notes.close()

    async def rush(self, batches: int = 5) -> None:
        """Let new users claim, batch by batch, until each has a slot; audit what they are told."""
        for _ in range(batches):
            users = [f"u{self._users + number}" for number in range(BATCH)]
            self._users += BATCH
            await self._persistently(lambda users=users: self._claim(users))  # type: ignore[misc]

    async def ask_again(self) -> None:
        """Let everybody who was told a slot ask again."""
        await self._persistently(lambda: self._claim(list(self.told)))

    async def record(self) -> None:
        """Let the records hold all that is in the log now; a server that does not answer is asked again."""
        await self._persistently(self._record)

    async def _record(self) -> None:
        link, _ = await Link.connect(self.store.address, Access())
        try:
            held = await read_held(link, self._keys)
        finally:
            await link.close()
        self._recorded = (held.known, await self.store.log(0, 1_000_000))

    async def witnessed(self) -> None:
        """Return when the warden has noted all that was acknowledged."""
        known = self.store.acknowledged()
        assert known is not None

        async def noted() -> bool:
            witness = self.notes.witnessed
            return witness is not None and witness.seq >= known.seq

        await until(noted)

    def lose_witness(self) -> None:
        """Remove the note that says how far the log was."""
        witness_of(self._notes_dir / f"warden-{SET}.json").unlink()

    def kill_all(self) -> None:
        for server in self.servers:
            server.kill()

    async def start_all(self) -> None:
        """Start them; one whose file cannot be read stays down."""
        for server in self.servers:
            with contextlib.suppress(ServerFailed):
                await server.start()

    async def forget_at_the_gate(self) -> None:
        """The gate is started anew, and remembers nothing."""
        await self.store.close()
        self.store = ValkeyStore.attach_later([server.address for server in self.servers], CAMPAIGN, SET)

    async def ends(self) -> str | None:
        """Return the sentence with a command that the set ends in; None if it goes on by itself."""
        sentence: list[str] = []

        async def has_ended() -> bool:
            state = self.warden.state
            if state.durability != "none" and self.store.is_attached:
                return True
            if state.durability == "none" and state.why and "`redrush set" in state.why:
                sentence[:] = [state.why]
                return True
            return False

        async with asyncio.timeout(ENDS_WITHIN_S):
            # Twice with a look between: a promotion under way may say for a moment what it then mends by itself.
            while True:
                sentence.clear()
                while not await has_ended():
                    await asyncio.sleep(0.05)
                await asyncio.sleep(1.0)
                before = list(sentence)
                sentence.clear()
                if await has_ended() and sentence == before:
                    return before[0] if before else None

    async def mend(self, sentence: str) -> None:
        """Do what the sentence's first command does."""
        promote, rebuild = sentence.find("`redrush set promote"), sentence.find("`redrush set rebuild")
        if "ADDRESS" in sentence or (rebuild >= 0 and (promote < 0 or rebuild < promote)):
            await self._rebuild()
        else:
            named = next(server for server in self.servers if f"{SET} {server.address}" in sentence)
            await self.warden.force(named.address)
        await until(lambda: asyncio.sleep(0, self.store.is_attached))
        for user, slot in self.told.items():
            if await self._persistently(lambda user=user: self.store.find(POT, user)) is None:  # type: ignore[misc]
                await self._persistently(lambda user=user, slot=slot: self._enter(user, slot))  # type: ignore[misc]

    async def _enter(self, user: str, slot: int) -> None:
        """Enter what somebody was told. Terms that were raised meanwhile are read anew, as the command does."""
        link, _ = await Link.connect(self.store.address, Access())
        try:
            refused = await enter_grant(link, self._keys, self.store.terms, Granted(0, POT, slot, (user,), AT_US))
        finally:
            await link.close()
        if refused is not None and str(refused).startswith("TERMS"):
            raise StoreUnavailable(str(refused))
        assert refused is None or str(refused).startswith("HELD"), refused  # entered, though nobody heard of it

    async def _rebuild(self) -> None:
        assert self._recorded is not None
        for server in self.servers:
            if not server.is_alive():  # its disk is replaced
                shutil.rmtree(server.directory)
                await server.start()
        target = self.servers[0].address
        epoch = await self.warden.expect_rebuilt(target)
        journal = self._recorded[1]
        last = await rebuild_set(
            CAMPAIGN, SET, target, journal, {}, epoch=epoch, drop=True, known=self.warden.best_known()
        )
        assert last == journal[-1].seq
        await until(lambda: asyncio.sleep(0, self.warden.state.durability != "none"))

    async def _claim(self, users: list[str]) -> None:
        for user, result in zip(users, await self.store.claim(claims_of(POT, users), AT_US), strict=True):
            assert isinstance(result, Claimed)
            other = self._user_of.setdefault(result.slot, user)
            if other != user:
                self.problems.append(f"slot {result.slot} was acknowledged to {other} and to {user}")
            if self.told.setdefault(user, result.slot) != result.slot:
                self.problems.append(f"{user} was told slot {self.told[user]} and then slot {result.slot}")

    async def _persistently(self, call: Callable[[], object]) -> object:
        async with asyncio.timeout(ENDS_WITHIN_S):
            while True:
                try:
                    return await call()  # type: ignore[misc]
                except StoreUnavailable:
                    await asyncio.sleep(0.05)

    async def _ask_records(self) -> Known | None:
        if self.records_are_away:
            raise RecordsFailed("PostgreSQL is away")
        return None if self._recorded is None else self._recorded[0]

    def _heard(self) -> Iterable[tuple[str, Known]]:
        known = self.store.acknowledged() if self.gate_remembers else None
        return () if known is None else (("a gate", known),)

    async def _no_others(self) -> dict[str, None]:
        return {}


@asynccontextmanager
async def wounded_set(directory: Path, replicas: int) -> AsyncIterator[WoundedSet]:
    """A set with so many replicas, under a warden, with a pot that is open."""
    async with servers(directory, replicas + 1) as started:
        if replicas:
            await follow(started[1], started[0])
        await establish_set([server.address for server in started], CAMPAIGN, SET, replicas)
        wounded = WoundedSet(directory, started)
        await wounded.begin()
        try:
            yield wounded
        finally:
            await wounded.stop_watching()
            await wounded.store.close()


def append_only_file(server: ValkeyServer) -> Path:
    """Return the part of the server's append-only file that it writes to."""
    return max((server.directory / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)


def cut(path: Path, byte_count: int) -> None:
    """Take so many bytes from the end of the file."""
    with path.open("r+b") as file:
        file.truncate(max(0, path.stat().st_size - byte_count))


def flip_bit(path: Path, part: float) -> None:
    """Flip one bit at this part of the file."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * part)] ^= 1
    path.write_bytes(content)


async def turn_off(server: ValkeyServer) -> None:
    """Let the server write no append-only file any more, as a person would."""
    await ask(server.address, "CONFIG", "SET", "appendonly", "no")
