"""A campaign that is cancelled: whoever paid has the money back, once the shop lets go; what it has sent stays sold."""

import random
from pathlib import Path

from redrush.core.rush.sale_order import State, Why
from redrush.ports.provider import Accepted, HandOver, Rejected, Unknown
from tests.settle.selling.world import Shop, World

UNITS = 3


async def sold_to(world: World, *users: str) -> None:
    for user in users:
        grant = await world.grab(user)
        assert grant is not None
        await world.pay(user, grant)
        world.till.pay(world.till.payable()[0])
    await world.look(3)


async def cancel(world: World) -> None:
    orders = [cancelled for one in world.book.all() if (cancelled := one.cancelled(world.clock())) is not None]
    assert None not in world.book.keep(orders)


def states(world: World) -> dict[str, tuple[State, Why | None]]:
    return {order.user: (order.state, order.why) for order in world.book.all()}


async def test_what_was_delivered_is_recalled_and_paid_back_and_who_was_about_to_pay_has_nothing_taken(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, UNITS, random.Random(1))
    await world.open()
    await sold_to(world, "ann")
    assert states(world)["ann"][0] is State.DELIVERED
    for user in ("bob", "cat"):
        grant = await world.grab(user)
        assert grant is not None
        await world.pay(user, grant)
    paid_in_the_last_moment, _ = world.till.payable()
    world.till.pay(paid_in_the_last_moment)
    await cancel(world)
    await world.look(6)
    back = (State.REFUNDED, Why.CANCELLED)
    assert states(world) == {"ann": back, "bob": back, "cat": (State.RETURNED, Why.CANCELLED)}
    assert len(world.till.refunds) == 2
    assert world.shop is not None
    (ann,) = world.book.of_user("ann")
    recalled = world.shop.has[f"{ann.id}:order.cancelled"]
    assert (recalled.event, recalled.fields["order"]) == ("order.cancelled", ann.id)
    assert [what.event for what in world.shop.has.values()].count("order.paid") == 1, "bob's was never handed over"
    await world.audit()
    assert world.faults == []
    await world.close()


class Sent(Shop):
    """Has sent everything that it has, or is down for a while."""

    def __init__(self) -> None:
        super().__init__(random.Random(1))
        self.down = 0

    async def hand_over(self, what: HandOver) -> Accepted | Rejected | Unknown:
        if what.event == "order.cancelled":
            if self.down:
                self.down -= 1
                return Unknown("down")
            return Rejected("it is on its way", final=True)
        return await super().hand_over(what)


async def test_what_a_shop_has_sent_stays_sold_and_one_that_is_down_is_told_again(tmp_path: Path) -> None:
    world = World(tmp_path, UNITS, random.Random(1))
    world.shop = shop = Sent()
    world.begin()
    await world.open()
    await sold_to(world, "ann")
    shop.down = 1
    await cancel(world)
    await world.look(3)
    assert states(world) == {"ann": (State.RECALLING, Why.CANCELLED)}
    await world.pass_time(10)
    await world.look(3)
    assert states(world) == {"ann": (State.DELIVERED, Why.NOT_RECALLED)}
    assert world.till.refunds == {}
    await cancel(world)
    assert states(world) == {"ann": (State.DELIVERED, Why.NOT_RECALLED)}, "it is asked once"
    await world.audit()
    await world.close()


async def test_what_is_paid_after_a_cancelled_order_was_closed_goes_back_though_units_are_left(tmp_path: Path) -> None:
    world = World(tmp_path, UNITS, random.Random(1))
    await world.open()
    grant = await world.grab("ann")
    assert grant is not None
    await world.pay("ann", grant)
    await cancel(world)
    world.till.lies_share = 1.0
    await world.look(2)
    assert states(world) == {"ann": (State.RETURNED, Why.CANCELLED)}
    await world.pass_time(30)
    await world.look()
    assert (await world.stores[""].state("sale")).unclaimed == UNITS
    world.till.pay(world.till.payable()[0])
    await world.look(4)
    assert states(world) == {"ann": (State.REFUNDED, Why.CANCELLED)}
    await world.audit()
    assert world.faults == []
    await world.close()
