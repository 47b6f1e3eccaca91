"""Holds, payments and orders under random courses of events, with lost answers and deaths between any two steps."""

import asyncio
import random
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from redrush.core.rush.sale_order import SETTLED
from redrush.ports.records import RecordsFailed
from redrush.settle.selling.units import ONLY_SET
from tests.settle.selling.world import World

USERS = [f"u{k}" for k in range(6)]
UNITS = 3


class SaleMachine(RuleBasedStateMachine):
    """What people, time, provider, shop and crashes may do to a sale of three units."""

    SETS: tuple[str, ...] = (ONLY_SET,)

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory()
        self.world = World(Path(self.directory.name), UNITS, random.Random(seed), sets=self.SETS)
        self.world.till.unsure_share = 0.2
        self.world.till.lies_share = 0.6
        self.world.till.asleep_share = 0.2
        assert self.world.shop is not None
        self.world.shop.down_share = 0.3
        self.world.shop.refuse_share = 0.2
        self.world.writer.dies_share = 0.2
        self.grants: dict[str, str] = {}
        self.loop.run_until_complete(self.world.open())

    def do(self, what: object) -> object:
        return self.loop.run_until_complete(what)  # type: ignore[arg-type]

    @rule(user=st.sampled_from(USERS))
    def grab(self, user: str) -> None:
        grant = self.do(self.world.grab(user))
        if isinstance(grant, str):
            self.grants[user] = grant

    @rule(user=st.sampled_from(USERS))
    def begin_to_pay(self, user: str) -> None:
        self.grab(user)
        if user in self.grants:
            with suppress(RecordsFailed):  # they are told to ask again
                self.do(self.world.pay(user, self.grants[user]))

    @rule(user=st.sampled_from(USERS))
    def give_back(self, user: str) -> None:
        if user in self.grants:
            self.do(self.world.desk.give_back(user, self.grants[user]))

    @rule(first=st.booleans())
    def somebody_pays(self, first: bool) -> None:
        waiting = self.world.till.payable()
        if waiting:
            self.world.till.pay(waiting[0 if first else -1])

    @rule(user=st.sampled_from(USERS))
    def buy(self, user: str) -> None:
        self.begin_to_pay(user)
        self.somebody_pays(True)
        self.do(self.world.pass_time(2))
        self.do(self.world.look(2))

    @rule(user=st.sampled_from(USERS), units_left=st.booleans())
    def buy_too_late(self, user: str, units_left: bool) -> None:
        self.begin_to_pay(user)
        self.do(self.world.pass_time(61))
        self.do(self.world.look(3))
        if units_left:
            self.do(self.world.pass_time(30))
            self.do(self.world.look())
        self.somebody_pays(True)
        self.do(self.world.look(3))

    @rule(seconds=st.sampled_from([1, 20, 45, 80]))
    def time_passes(self, seconds: int) -> None:
        self.do(self.world.pass_time(seconds))

    @rule(times=st.integers(1, 3))
    def look(self, times: int) -> None:
        self.do(self.world.look(times))

    @rule(everything=st.booleans())
    def cancel(self, everything: bool) -> None:
        """An operator gives back all, or is killed in the midst of it."""
        left = [found for one in self.world.book.all() if (found := one.cancelled(self.world.clock())) is not None]
        self.world.book.keep(left if everything else left[:1])

    @rule()
    def crash(self) -> None:
        self.world.begin()

    @invariant()
    def no_slot_is_held_twice_and_none_is_lost(self) -> None:
        if hasattr(self, "world"):
            live = self.world.live()
            assert len({slot for _, _, slot, _ in live}) == len(live)
            assert self.do(self.world.left()) == UNITS - len(live)
            assert self.world.sold() <= live.keys()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self._end()
        finally:
            self.do(self.world.close())
            self.loop.close()
            self.directory.cleanup()

    def _end(self) -> None:
        world = self.world
        world.till.unsure_share = world.till.lies_share = world.writer.dies_share = 0
        assert world.shop is not None
        world.shop.down_share = 0
        for _ in range(12):  # three days: every pause is over
            self.do(world.look(4))
            self.do(world.pass_time(6 * 3_600))
        assert not world.faults, world.faults
        assert all(order.state in SETTLED for order in world.book.all())
        self.do(world.audit())
        assert set(world.shop.has) >= {order.id for order in world.book.all() if order.state == "delivered"}


class SaleOverSetsMachine(SaleMachine):
    """The same over two sets, between which units move as a rebalancer moves them."""

    SETS = ("s1", "s2")

    @rule(there=st.booleans(), count=st.integers(1, 2))
    def rebalance(self, there: bool, count: int) -> None:
        source, target = self.SETS if there else self.SETS[::-1]
        self.do(self.world.move(source, target, count))


TestSaleMachine = SaleMachine.TestCase
TestSaleOverSetsMachine = SaleOverSetsMachine.TestCase
TestSaleMachine.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
TestSaleOverSetsMachine.settings = settings(TestSaleMachine.settings, max_examples=8)
