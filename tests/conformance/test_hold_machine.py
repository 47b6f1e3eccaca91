"""Random interleavings of claim, confirm, release, offer, take, give and crash, on every store, against a model.

No slot is granted twice, none is lost, and what was ever claimed less what came back is what somebody has.
"""

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from redrush.core.rush.campaign import Slots
from redrush.ports.store import Claim, Grant, HoldState, Store
from tests.conformance.hold_model import POTS, HoldModel, replayed, said
from tests.conformance.stores import FACTORIES, Factory

POT_NAMES = st.sampled_from([terms.pot for terms in POTS])
CLAIMS = st.lists(
    st.builds(Claim, POT_NAMES, st.sampled_from([f"u{k}" for k in range(9)]), st.sampled_from(["", "", "1", "2"])),
    max_size=12,
)
CROWD = st.tuples(POT_NAMES, st.integers(1, 60))
TRANSFERS = st.sampled_from([f"t{k}" for k in range(6)])


class HoldMachine(RuleBasedStateMachine):
    """One store in a directory. A crash is a second opening of what was on the disk, without an end of the first."""

    factory: ClassVar[Factory]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.root = Path(tempfile.mkdtemp(prefix="redrush-holds-"))
        self.lives = 0
        self.now_us = 1
        self.crowd = 0
        self.model = HoldModel()
        self.ended: list[Grant] = []
        self.store: Store
        self.stack = AsyncExitStack()

    def do(self, call: Any) -> Any:
        return self.loop.run_until_complete(call)

    @initialize()
    def begin(self) -> None:
        self._open(self.root / "0")
        self.do(self.store.open(POTS))

    def _open(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.store = self.do(self.stack.enter_async_context(self.factory.opened(directory)))

    @rule(claims=CLAIMS)
    def claim(self, claims: list[Claim]) -> None:
        self.now_us += 1
        expected = [self.model.claim(claim, self.now_us) for claim in claims]
        assert [said(result) for result in self.do(self.store.claim(claims, self.now_us))] == expected

    @rule(crowd=CROWD)
    def claim_for_a_crowd(self, crowd: tuple[str, int]) -> None:
        pot, count = crowd
        self.crowd += count
        self.claim([Claim(pot, f"crowd{number}") for number in range(self.crowd - count, self.crowd)])

    @rule(data=st.data(), end=st.sampled_from([HoldState.CONFIRMED, HoldState.RELEASED]))
    def finish(self, data: st.DataObject, end: HoldState) -> None:
        live = self.model.holds()
        every = [*live, *self.ended[-5:], Grant("sale", "nobody", 201, "", 77), Grant("plain", "nobody", 3)]
        holds = data.draw(st.lists(st.sampled_from(every), max_size=8))
        self.now_us += 1
        expected = [self.model.finish(hold, end) for hold in holds]
        call = self.store.confirm if end is HoldState.CONFIRMED else self.store.release
        assert self.do(call(holds, self.now_us)) == expected
        self.ended += holds

    @rule(names=st.lists(POT_NAMES, max_size=3))
    def offer(self, names: list[str]) -> None:
        assert self.do(self.store.offer(names)) == self.model.offer(names)

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

    @precondition(lambda self: self.factory.durable)
    @rule()
    def crash(self) -> None:
        before = self.root / str(self.lives)
        if self.factory.knows_all:  # the files as a kill would leave them, and another life that finds them
            self.lives += 1
            shutil.copytree(before, self.root / str(self.lives))
        self.do(self.stack.aclose())
        self.stack = AsyncExitStack()
        self._open(self.root / str(self.lives))
        self.do(self.store.open(POTS))

    def teardown(self) -> None:
        try:
            if hasattr(self, "store"):
                self.check()
        finally:
            self.do(self.stack.aclose())
            self.loop.close()
            shutil.rmtree(self.root)

    def check(self) -> None:
        self.model.check_conserved()
        for name, pot in self.model.pots.items():
            assert self.do(self.store.state(name)) == pot.state()
            for user, request in pot.grants:
                expected = self.model.told(name, (user, request), repeat=True)
                assert self.do(self.store.find(name, user, request)) == expected
        assert replayed(self.do(self.store.log(0, 100_000))) == self.model.pots


def _run(factory: Factory, examples: int, steps: int) -> None:
    machine = type("Machine", (HoldMachine,), {"factory": factory})
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
def test_no_slot_is_held_twice_and_none_is_lost(factory: Factory) -> None:
    _run(factory, examples=12, steps=30)


@pytest.mark.soak
@EVERY_STORE
def test_no_slot_is_held_twice_and_none_is_lost_in_long(factory: Factory) -> None:
    _run(factory, examples=400, steps=80)
