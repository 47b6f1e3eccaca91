"""What a sale cannot do, for its payments file has nobody for it or the installation cannot hide addresses, is said at
its start; a buyer who asks for it is told what to do instead of to come again."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from redrush.core.nobody import ignore, never
from redrush.extras import ExtraMissing
from redrush.ports.buying import Wish
from redrush.settle.selling.desk import Desk
from redrush.settle.selling.steps import Partners, Steps, lacking
from redrush.wiring.role import Parts
from redrush.wiring.selling_room import SellingRoom
from tests.settle.selling.world import TERMS, World


@pytest.mark.parametrize(
    ("pay", "shop", "take_money", "shops", "said"),
    [
        (None, None, {"bank"}, set(), []),
        ("bank", "store", {"bank", "other"}, {"store"}, []),
        (None, None, set(), set(), ["the only provider that takes money is to: it has none that does"]),
        (None, None, {"a", "b"}, set(), ["it has 2 that do: name one as `pay`"]),
        ("wechat", None, {"bank"}, set(), ['nobody can pay in sale: it has no provider "wechat" that takes money']),
        ("bank", "store", {"bank"}, {"bank"}, ['nobody is told what is sold in sale: it has no shop "store"']),
    ],
)
def test_who_is_missing_for_a_sale_is_named(
    pay: str | None, shop: str | None, take_money: set[str], shops: set[str], said: list[str]
) -> None:
    lacks = lacking({"sale": msgspec.structs.replace(TERMS, pay=pay, shop=shop)}, take_money, shops)
    assert len(lacks) == len(said)
    assert all(words in lack for words, lack in zip(said, lacks, strict=True))


class Unlistened:
    """A cashier whom nobody hears."""

    def __init__(self, till: object) -> None:
        self._till = till

    def __getattr__(self, name: str) -> Any:
        return getattr(self._till, name)

    def on_ended(self, _prefix: str, _hear: Callable[..., Any]) -> None:
        """Nothing ends."""

    def hears_no_more(self, _prefix: str) -> None:
        """Nobody did."""


async def test_what_a_sale_lacks_is_told_once_when_it_starts(tmp_path: Path) -> None:
    world, warnings, parts = World(tmp_path, 1, random.Random(1), shop=False), list[str](), Parts()
    room = SellingRoom(
        world.campaign, world.places, world.book, cast("Any", Unlistened(world.till)), Partners(), {}, world.clock,
        paused=never, no_addresses=ExtraMissing("needs the extra"), warn=warnings.append, on_fault=ignore,
    )  # fmt: skip
    room.start(parts)
    await room.stop()
    await world.close()
    assert warnings[0] == "no address of an order is kept: needs the extra"
    assert warnings[1].startswith("the payments file (--payments): nobody can pay in sale, for")


async def test_who_names_an_address_where_none_can_be_kept_is_told_to_leave_it_out(tmp_path: Path) -> None:
    world = World(tmp_path, 1, random.Random(1), shop=False)
    await world.open()
    grant = await world.grab("ann")
    assert grant is not None
    steps = Steps(world.campaign, world.places, world.till, Partners(frozenset({"bank"})), world.clock)
    desk = Desk(
        world.campaign, world.places, world.book, world.writer, steps, world.clock, ignore, takes_addresses=False
    )
    refused = await desk.pay("ann", grant, Wish("a street"))
    assert (refused.status, refused.detail) == (400, "address: none can be kept here; leave it out")
    assert (await desk.pay("ann", grant, Wish())).fields["state"] == "paying"
    assert (await desk.send_to("ann", grant, Wish("a street"))).status == 400
    await world.close()
