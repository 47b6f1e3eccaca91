"""Random interleavings of claim, confirm, release, offer, take, give and crash, on every store, against a model.

No slot is granted twice, none is lost, and what was ever claimed less what came back is what somebody has. After every
step the counts of each pot, the grants that the step was about, and what the log adds up to (with the order of what
waits and of what is left) have to be the model's. Most steps are about holds: what is released, offered and granted
again, in an order of its own, is where a store goes wrong.

That it finds faults was tried by planting some: `returned_ever` or what is held not counted, slots that wait in another
order, offered twice, before others or lost in a move, a hold confirmed in the answer alone, ended by the name of an
earlier one or after it was confirmed, a limit that counts what was given back, a number given twice, a deadline that is
off, and the like in Lua. The short form finds each.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from redrush.core.rush.campaign import Slots
from redrush.ports.set_servers import Held as HeldBySet
from redrush.ports.store import Claim, Claimed, Grant, HoldState, LogRecord, PotState, Store, StoreUnavailable
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.valkey import ValkeyStore, establish_set
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Link
from tests.conformance.hold_model import POTS, HoldModel, ModelPot, replay, replayed, said
from tests.conformance.stores import FACTORIES, Factory
from tests.raw_files import copy_as_killed

POT_NAMES = st.sampled_from([terms.pot for terms in POTS])
HOLD_POTS = st.sampled_from([terms.pot for terms in POTS if terms.hold_us is not None])
USERS = [f"u{k}" for k in range(9)]
CLAIMS = st.lists(st.builds(Claim, POT_NAMES, st.sampled_from(USERS), st.sampled_from(["", "", "1", "2"])), max_size=12)
CROWD = st.tuples(POT_NAMES, st.integers(1, 60))
TRANSFERS = st.sampled_from([f"t{k}" for k in range(6)])
RANDOMS = st.integers(0, 2**32).map(Random)
"""For the choices within a step: what is drawn one by one is mostly the least there is."""

LOG_MAX = 100_000

CRASHES_MAX = 2
"""In a course of the short form: a server needs its time to start."""


class Disk:
    """Where a store lives. A crash is a second opening of what was there, without an end of the first."""

    def __init__(self, factory: Factory, root: Path) -> None:
        self._factory = factory
        self._root = root
        self._lives = 0
        (root / "0").mkdir()

    def opened(self) -> Any:
        return self._factory.opened(self._root / str(self._lives))

    async def crash(self) -> None:
        """Take the files as a kill would leave them, for another life that finds them."""
        before = self._root / str(self._lives)
        self._lives += 1
        copy_as_killed(before, self._root / str(self._lives))


async def nothing_lacks(_link: Link, _keys: SetKeys, _held: HeldBySet) -> None:
    """Nobody but the machine knows anything of the set; it compares the whole log after each step."""


class Server:
    """A server of its own, with a set for each machine. A crash is a kill of the server, and another start of it."""

    def __init__(self, server: ValkeyServer, set_id: str) -> None:
        self._server = server
        self._set_id = set_id

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        addresses = [self._server.address]
        await establish_set(addresses, "conformance", self._set_id, replicas_needed=0)
        store = await ValkeyStore.connect(addresses, "conformance", self._set_id, prover=nothing_lacks)
        try:
            yield store
        finally:
            await store.close()

    async def crash(self) -> None:
        self._server.kill()
        await self._server.start()


class HoldMachine(RuleBasedStateMachine):
    """One store, and the model of what it should do."""

    factory: ClassVar[Factory]
    server: ClassVar[ValkeyServer | None]
    machines: ClassVar[int] = 0
    crashes_max: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        type(self).machines += 1
        self.loop = asyncio.new_event_loop()
        self.root = Path(tempfile.mkdtemp(prefix="redrush-holds-"))
        self.home = Disk(self.factory, self.root) if self.server is None else Server(self.server, f"s{self.machines}")
        self.crashes = 0
        self.now_us = 1
        self.crowd = 0
        self.model = HoldModel()
        self.read_seq = 0
        self.read: dict[str, ModelPot] = {}
        """What the log adds up to, as far as it was read."""
        self.named: set[tuple[str, str, str]] = set()
        """The pots, users and requests that the step was about."""
        self.ended: list[Grant] = []
        self.store: Store
        self.stack = AsyncExitStack()

    def do(self, call: Any) -> Any:
        return self.loop.run_until_complete(call)

    @initialize()
    def begin(self) -> None:
        self._open()

    def _open(self) -> None:
        self.store = self.do(self.stack.enter_async_context(self.home.opened()))
        self.do(self.store.open(POTS))

    # -- claims

    @rule(claims=CLAIMS)
    def claim(self, claims: list[Claim]) -> None:
        self.now_us += 1
        expected = [self.model.claim(claim, self.now_us) for claim in claims]
        self.named |= {(claim.pot, claim.user, claim.request) for claim in claims}
        assert [said(result) for result in self.do(self.store.claim(claims, self.now_us))] == expected

    @rule(crowd=CROWD)
    def claim_for_a_crowd(self, crowd: tuple[str, int]) -> None:
        pot, count = crowd
        self.crowd += count
        self.claim([Claim(pot, f"crowd{number}") for number in range(self.crowd - count, self.crowd)])

    @rule(pot=HOLD_POTS, rng=RANDOMS)
    def claim_again(self, pot: str, rng: Random) -> None:
        """Some of a few users ask, with and without requests: most have asked before."""
        self.claim(
            [Claim(pot, rng.choice(USERS), rng.choice(["", "1", "2", "3"])) for _ in range(rng.randrange(1, 12))]
        )

    # -- ends of holds

    def _end(self, holds: Sequence[Grant], end: HoldState) -> None:
        self.now_us += 1
        expected = [self.model.finish(hold, end) for hold in holds]
        self.named |= {(hold.pot, hold.user, hold.request) for hold in holds}
        call = self.store.confirm if end is HoldState.CONFIRMED else self.store.release
        assert self.do(call(holds, self.now_us)) == expected
        self.ended += holds

    @rule(pot=HOLD_POTS, rng=RANDOMS)
    def release(self, pot: str, rng: Random) -> None:
        """Some holds of the pot end, in any order."""
        live = self.model.live(pot)
        self._end(rng.sample(live, rng.randrange(min(len(live), 9) + 1)), HoldState.RELEASED)

    @rule(rng=RANDOMS, end=st.sampled_from([HoldState.CONFIRMED, HoldState.RELEASED]))
    def finish(self, rng: Random, end: HoldState) -> None:
        """Somebody names whatever they have, had, or never had."""
        every = [
            *self.model.holds(),
            *self.ended[-9:],
            Grant("sale", "nobody", 201, "", 77),
            Grant("plain", "nobody", 3),
        ]
        self._end(rng.choices(every, k=rng.randrange(8)), end)

    @rule(rng=RANDOMS)
    def end_again(self, rng: Random) -> None:
        """Holds that ended are named again, whatever became of user and slot since."""
        again = rng.sample(self.ended[-30:], min(len(self.ended), rng.randrange(1, 7)))
        self._end(again, rng.choice([HoldState.CONFIRMED, HoldState.RELEASED]))

    @rule(names=st.lists(POT_NAMES, max_size=3))
    def offer(self, names: list[str]) -> None:
        assert self.do(self.store.offer(names)) == self.model.offer(names)

    @rule(pot=HOLD_POTS, rng=RANDOMS)
    def turn_over(self, pot: str, rng: Random) -> None:
        """A pot's holds come back one by one, some are kept, and what was offered is granted to others."""
        self.claim([Claim(pot, rng.choice(USERS), rng.choice(["", "1"])) for _ in range(12)])
        for _ in range(rng.randrange(1, 4)):
            self.agrees()
            live = self.model.live(pot)
            self._end(
                rng.sample(live, min(len(live), 3)),
                rng.choice([HoldState.RELEASED, HoldState.RELEASED, HoldState.CONFIRMED]),
            )
        self.agrees()
        self.claim([Claim(pot, f"early{self.now_us}")])
        self.offer([pot])
        self.agrees()
        self.claim_for_a_crowd((pot, rng.randrange(1, 9)))

    @rule(pot=HOLD_POTS)
    def all_is_confirmed(self, pot: str) -> None:
        """What is held becomes permanent, and the next to ask is told whether anything can come back."""
        self.claim_for_a_crowd((pot, 40))
        self._end(self.model.live(pot), HoldState.CONFIRMED)
        self.claim_for_a_crowd((pot, 1))

    @rule(rng=RANDOMS)
    def the_same_again(self, rng: Random) -> None:
        """Somebody gives back the last slot there is, gets it again, and names the hold of before."""
        pot = "sale"
        self.offer([pot])
        self.claim_for_a_crowd((pot, 30))
        live = self.model.live(pot)
        if live:
            hold = rng.choice(live)
            self._end([hold], HoldState.RELEASED)
            self.offer([pot])
            self.claim([Claim(pot, hold.user, hold.request)])
            self._end([hold], rng.choice([HoldState.CONFIRMED, HoldState.RELEASED]))

    @rule(user=st.sampled_from(USERS))
    def use_the_limit_up(self, user: str) -> None:
        """A user asks for as many as there may be and one more, gives them back, and asks for as many others."""
        pot = "big sale"
        self.claim([Claim(pot, user, request) for request in ("1", "2", "3", "4")])
        self._end([hold for hold in self.model.live(pot) if hold.user == user], HoldState.RELEASED)
        self.claim([Claim(pot, user, request) for request in ("5", "6", "7", "8")])

    # -- moves

    @rule(pot=POT_NAMES, count=st.integers(0, 9), transfer=TRANSFERS)
    def take(self, pot: str, count: int, transfer: str) -> None:
        pot = self.model.taken[transfer][0] if transfer in self.model.taken else pot
        expected = self.model.take(pot, count, transfer)
        taken = self.do(self.store.take(pot, count, transfer))
        assert [slot for run in taken for slot in range(run.first, run.end)] == expected

    @precondition(lambda self: set(self.model.taken) - self.model.given)
    @rule(pot=POT_NAMES)
    def give(self, pot: str) -> None:
        transfer = min(set(self.model.taken) - self.model.given)
        slots = tuple(Slots(slot, 1) for slot in self.model.taken[transfer][1])
        self.do(self.store.give(pot, slots, transfer))
        self.do(self.store.give(pot, slots, transfer))
        self.model.give(pot, transfer)

    @rule(rng=RANDOMS)
    def take_what_waits(self, rng: Random) -> None:
        """Holds come back to a small pot, of which more is taken than anybody could claim; then some is offered."""
        transfer = f"waiting{self.now_us}"
        self.claim_for_a_crowd(("sale", 6))
        live = self.model.live("sale")
        self._end(rng.sample(live, min(len(live), 5)), HoldState.RELEASED)
        self.take("sale", rng.randrange(1, 4), transfer)
        self.agrees()
        self.offer(["sale"])
        self.agrees()
        self.give(rng.choice(["sale", "receives"]))

    # -- crashes

    @precondition(lambda self: self.factory.durable and self.crashes < self.crashes_max)
    @rule()
    def crash(self) -> None:
        self.do(self.home.crash())
        self._live_again()

    @precondition(lambda self: self.server is not None and self.crashes < self.crashes_max)
    @rule(pot=HOLD_POTS, rng=RANDOMS)
    def crash_amid_a_claim(self, pot: str, rng: Random) -> None:
        """The server is killed somewhere in a call. It is done wholly or not at all, and done if it was answered."""
        self.now_us += 1
        self.crowd += 5
        claims = [Claim(pot, f"crowd{number}", "torn") for number in range(self.crowd - 5, self.crowd)]
        results = self.do(self._claim_in_a_crash(claims, rng.randrange(9)))
        self._live_again()
        expected = (
            [self.model.claim(claim, self.now_us) for claim in claims] if results or self.do(self._told())[1] else None
        )
        assert results is None or [said(result) for result in results] == expected

    async def _claim_in_a_crash(self, claims: list[Claim], turns: int) -> Any:
        claiming = asyncio.ensure_future(self.store.claim(claims, self.now_us))
        for _ in range(turns):
            await asyncio.sleep(0)  # the call gets so much further
        await self.home.crash()
        try:
            return await claiming
        except StoreUnavailable:
            return None

    def _live_again(self) -> None:
        self.crashes += 1
        self.do(self.stack.aclose())
        self.stack = AsyncExitStack()
        self._open()

    # -- what has to hold

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "store"):
            return
        self.model.check_conserved()
        states, log = self.do(self._told())
        assert states == [pot.state() for pot in self.model.pots.values()]
        for record in log:
            assert record.seq > self.read_seq
            self.read_seq = record.seq
            replay(self.read, record)
        assert self.read == self.model.pots
        self._check_grants(sorted(self.named))
        self.named.clear()

    async def _told(self) -> tuple[list[PotState], list[LogRecord]]:
        states = await asyncio.gather(*(self.store.state(name) for name in self.model.pots))
        return states, await self.store.log(self.read_seq, LOG_MAX)

    def _check_grants(self, named: Sequence[tuple[str, str, str]]) -> None:
        async def found() -> list[Claimed | None]:
            return await asyncio.gather(*(self.store.find(*names) for names in named))

        expected = []
        for pot, user, request in named:
            there_is = (user, request) in self.model.pots[pot].grants
            expected.append(self.model.told(pot, (user, request), repeat=True) if there_is else None)
        assert self.do(found()) == expected

    def teardown(self) -> None:
        try:
            if hasattr(self, "store"):
                self.check_all()
        finally:
            self.do(self.stack.aclose())
            self.do(asyncio.sleep(0))  # transports are told of their end in the turn after
            self.loop.close()
            shutil.rmtree(self.root)

    def check_all(self) -> None:
        """Look at every grant, and read the log anew."""
        self._check_grants([(name, *key) for name, pot in self.model.pots.items() for key in pot.grants])
        assert replayed(self.do(self.store.log(0, LOG_MAX))) == self.model.pots


def _run(factory: Factory, directory: Path, examples: int, steps: int, crashes_max: int) -> None:
    server = ValkeyServer(directory) if factory.name == "valkey" else None
    if server is not None:
        asyncio.run(server.start())
    try:
        fields = {"factory": factory, "server": server, "crashes_max": crashes_max}
        _run_machines(type("Machine", (HoldMachine,), fields), examples, steps)
    finally:
        if server is not None:
            server.kill()


def _run_machines(machine: type[HoldMachine], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


EVERY_STORE = pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.name)


@EVERY_STORE
def test_no_slot_is_held_twice_and_none_is_lost(factory: Factory, tmp_path: Path) -> None:
    _run(factory, tmp_path, examples=8 if factory.name == "valkey" else 12, steps=25, crashes_max=CRASHES_MAX)


@pytest.mark.soak
@EVERY_STORE
def test_no_slot_is_held_twice_and_none_is_lost_in_long(factory: Factory, tmp_path: Path) -> None:
    _run(factory, tmp_path, examples=400, steps=80, crashes_max=80)
