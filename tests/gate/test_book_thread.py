"""The thread that reads and writes a book for the event loop."""

import asyncio
import threading

import pytest

from redrush.gate.group.book_thread import BookThread
from redrush.ports.packets import BookFailed
from tests.patience import PATIENCE_S


def _divide(number: int, by: int) -> float:
    return number / by


async def test_calls_are_done_in_order_off_the_loop_and_faults_are_their_own() -> None:
    thread, done = BookThread("a book"), list[int]()
    asked = [thread.do(done.append, number) for number in range(3)]
    broken, fine = thread.do(_divide, 1, 0), thread.do(_divide, 6, 3)
    with pytest.raises(ZeroDivisionError):
        await broken
    assert await fine == 2
    assert await thread.do(threading.get_ident) != threading.get_ident()
    assert all(one.done() for one in asked)
    assert done == [0, 1, 2]
    thread.close()


async def test_who_hears_no_more_keeps_nobody_from_an_answer() -> None:
    thread, go_on = BookThread("a book"), threading.Event()
    waiting = thread.do(go_on.wait, PATIENCE_S)
    await asyncio.sleep(0)
    waiting.cancel()
    fine = thread.do(_divide, 6, 3)
    go_on.set()
    assert await fine == 2
    thread.close()


async def test_what_was_asked_is_done_before_it_closes_and_nothing_afterwards() -> None:
    thread, done = BookThread("a book"), list[int]()
    for number in range(100):
        thread.do(done.append, number)
    thread.close()
    assert done == list(range(100))
    with pytest.raises(BookFailed, match="a book has ended"):
        thread.do(done.append, 100)
    thread.close()
    BookThread("nobody's").close()


async def test_where_there_can_be_no_thread_now_the_next_call_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    thread, done = BookThread("a book"), list[int]()
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", no_more)
        with pytest.raises(RuntimeError, match="can't start"):
            thread.do(done.append, 0)
    async with asyncio.timeout(PATIENCE_S):
        await thread.do(done.append, 1)
    assert done == [1], "what could not be asked is not done later"
    thread.close()
