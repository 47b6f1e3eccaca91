"""Whether anybody can say that all is known which a set has acknowledged: only who heard of everybody can."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from redrush.control.comparing import Comparing, HeardOf
from redrush.control.mending_orders import MendingOrders
from redrush.control.warden_notes import WardenNotes
from redrush.core.sets.failover import Policy, Sight, Terms
from redrush.ports.records import RecordsFailed
from redrush.ports.set_servers import Held
from redrush.ports.store import FIRST_HISTORY, Fork, History, Known

EARLIER, LATER = Known(1, 5, "a", 50), Known(1, 7, "b", 70)
SIGHT = Sight(addresses=(), seen={}, dead=(), noted=None, policy=Policy(0, None))  # type: ignore[arg-type] # nobody is seen
PRIMARY = "primary"


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[WardenNotes]:
    opened = WardenNotes.open_path(tmp_path, "s1")
    yield opened
    opened.close()


def whole(history: History = FIRST_HISTORY) -> dict[str, Held]:
    """What a look at a set finds whose only server is its primary."""
    return {PRIMARY: Held("run", True, Terms(1, 0), history, LATER.seq, "b", LATER.grants)}


def comparing(notes: WardenNotes, heard: HeardOf, recorded: Known | Exception | None = EARLIER) -> Comparing:
    async def ask() -> Known | None:
        if isinstance(recorded, Exception):
            raise recorded
        return recorded

    return Comparing(MendingOrders("s1"), notes, ask, heard, heard.have_all_told)


def test_all_is_known_where_every_gate_lives_and_tells(notes: WardenNotes) -> None:
    async def run() -> None:
        heard = HeardOf()
        heard.tell("one", EARLIER)
        heard.tell("two", LATER)
        heard.tell("three", None)
        heard.tell("three", None, leaving=True)
        one = comparing(notes, heard)
        assert not await one.is_all_known(), "this process has not seen the set whole"
        await one.watch(SIGHT, PRIMARY, whole())
        asked = asyncio.create_task(one.is_all_known())
        await asyncio.sleep(0)
        heard.tell("one", EARLIER)
        await asyncio.sleep(0)
        assert not asked.done()
        heard.tell("two", LATER)
        assert await asked
        assert one.best_known() == LATER
        heard.tell("one", EARLIER)
        assert not await one.is_all_known(), "the gate that knew most has not told again: it may have died"

    asyncio.run(run())


@pytest.mark.parametrize("recorded", [Known(4, 7, "b", 70), RecordsFailed("away")])
def test_not_all_is_known_of_a_set_made_anew_once_or_without_its_records(
    recorded: Known | Exception, notes: WardenNotes
) -> None:
    async def run() -> None:
        heard = HeardOf()
        one = comparing(notes, heard, recorded)
        await one.watch(SIGHT, PRIMARY, whole(History(4, (Fork(4, 5),))))
        assert not await one.is_all_known()

    asyncio.run(run())


def test_all_is_known_where_all_ended_before_the_servers_did(tmp_path: Path) -> None:
    async def run() -> None:
        first = WardenNotes.open_path(tmp_path, "s1")
        first.note_ended(LATER)
        first.close()
        again = WardenNotes.open_path(tmp_path, "s1")
        assert await comparing(again, HeardOf()).is_all_known()
        assert comparing(again, HeardOf()).best_known() == LATER
        assert await comparing(again, HeardOf(), None).is_all_known()
        assert not await comparing(again, HeardOf(), Known(1, 8, "c", 80)).is_all_known(), "the log went on since"
        again.forget_ended()
        assert not await comparing(again, HeardOf()).is_all_known()
        again.close()
        third = WardenNotes.open_path(tmp_path, "s1")
        assert third.ended is None
        third.close()

    asyncio.run(run())
