"""A courier loses no message to a notifier, or to what a message is made of, that breaks off in its own way."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from redrush.ports.message_book import KeptMessage, MessageState, NewMessage
from redrush.ports.notifier import Message, Told
from redrush.ports.provider import Accepted, Rejected, Terms
from redrush.records.sqlite.messages import SqliteMessageBook
from redrush.settle.messages.courier import Courier
from tests.patience import PATIENCE_S

AT_US = 1_800_000_000_000_000


class Foreign:
    """A notifier that runs code of others, which raises what it likes, so many times."""

    def __init__(self, faults: int, *, repeats: bool = False) -> None:
        self.faults = faults
        self.repeats = repeats
        self.told: list[str] = []

    @property
    def terms(self) -> Terms:
        return Terms(currency="CNY")

    async def send(self, message: Message) -> Told:
        self.faults -= 1
        if self.faults >= 0:
            raise KeyError("of a library")
        self.told.append(message.number)
        return Accepted(message.number)

    async def prove(self) -> str | None:
        return None

    def close(self) -> None:
        pass


class Tarpit(Foreign):
    """A notifier that never answers for the first few, and for everybody else at once."""

    @property
    def terms(self) -> Terms:
        return Terms(currency="CNY", deadline_s=0.3)

    async def send(self, message: Message) -> Told:
        self.faults -= 1
        if self.faults >= 0:
            await asyncio.Event().wait()
        return await super().send(message)


def composed(kept: KeptMessage) -> Message | Rejected:
    return Message(
        number=kept.number, user=kept.user, to="", language="en", title="", text="", at_us=kept.at_us, fields={}
    )


def broken(kept: KeptMessage) -> Message | Rejected:
    raise ValueError(f"the words for {kept.user}")


@pytest.fixture
def book(tmp_path: Path) -> Iterator[SqliteMessageBook]:
    book = SqliteMessageBook.open_path(tmp_path / "messages.db")
    yield book
    book.close()


async def carried(
    book: SqliteMessageBook,
    notifier: Foreign,
    compose: Callable[[KeptMessage], Message | Rejected],
    tried: int,
    messages: int = 3,
) -> tuple[Courier, list[KeptMessage]]:
    """Let a courier work until so many messages were tried; return it, and all messages."""
    grants = [(f"g{n}", f"u{n}") for n in range(messages)]
    book.put(
        [NewMessage(by="x", campaign="c", grant=grant, user=user, at_us=AT_US, fields={}) for grant, user in grants],
        AT_US,
    )
    courier = Courier("x", book, notifier, compose, lambda: AT_US)
    running = asyncio.create_task(courier.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while sum(one.tries for one in book.listed()) < tried:
                await asyncio.sleep(0.01)
    finally:
        courier.stop()
        await running
    return courier, book.listed()


@pytest.mark.parametrize(("repeats", "state"), [(False, MessageState.UNKNOWN), (True, MessageState.NEW)])
async def test_what_a_notifier_raises_leaves_nobody_knowing_whether_it_arrived(
    book: SqliteMessageBook, repeats: bool, state: MessageState
) -> None:
    notifier = Foreign(3, repeats=repeats)
    courier, messages = await carried(book, notifier, composed, 3)
    assert {(one.state, one.why) for one in messages} == {(state, "KeyError('of a library')")}
    assert courier.breaker.retry_in_s(asyncio.get_running_loop().time()) > 0, "three in a row: it is left alone"


async def test_one_that_raised_is_asked_for_the_next_message(book: SqliteMessageBook) -> None:
    notifier = Foreign(1)
    _, messages = await carried(book, notifier, composed, 3)
    assert sorted(one.state for one in messages) == [MessageState.SENT, MessageState.SENT, MessageState.UNKNOWN]


async def test_a_message_that_cannot_be_made_for_a_reason_of_its_own_is_tried_again(book: SqliteMessageBook) -> None:
    notifier = Foreign(0)
    _, messages = await carried(book, notifier, broken, 3)
    assert [(one.state, one.why) for one in messages] == [
        (MessageState.NEW, f"ValueError('the words for u{n}')") for n in range(3)
    ]
    assert notifier.told == []


async def test_a_few_mails_that_hang_among_many_that_are_taken_do_not_hold_up_the_next(book: SqliteMessageBook) -> None:
    courier, messages = await carried(book, Tarpit(4), composed, 12, messages=12)
    states = sorted(one.state for one in messages)
    assert states == [MessageState.SENT] * 8 + [MessageState.UNKNOWN] * 4
    assert courier.breaker.failures == 4
    assert courier.breaker.retry_in_s(asyncio.get_running_loop().time()) == 0, "it answers everybody else"
