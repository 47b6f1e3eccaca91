"""A thread of its own for calls that block, such as those of a book: what the event loop asks is done in its order.

An executor does the same, and costs twice as much for each call. That is much where packets are woken: a batch of them
is read within a tenth of a millisecond.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from redrush.ports.packets import BookFailed

_T = TypeVar("_T")

_Asked = tuple[asyncio.Future[Any], Callable[[], Any]]


class BookThread:
    """See the module. It begins with the first call. Used from one event loop; whoever asks bounds how many wait."""

    def __init__(self, name: str) -> None:
        self._name: Final = name
        self._asked: SimpleQueue[_Asked | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def do(self, call: Callable[..., _T], *arguments: object) -> asyncio.Future[_T]:
        """Return what the call returns, or raises. Raises BookFailed once it was closed, RuntimeError where no
        thread can begin now: then the next call tries again."""
        if self._closed:
            raise BookFailed(f"{self._name} has ended")
        loop = asyncio.get_running_loop()
        if self._thread is None:
            thread = threading.Thread(target=self._run, args=(loop,), name=self._name, daemon=True)
            thread.start()
            self._thread = thread
        done: asyncio.Future[_T] = loop.create_future()
        self._asked.put((done, partial(call, *arguments)))
        return done

    def close(self) -> None:
        """Do what was asked, and end. May be called again."""
        self._closed = True
        self._asked.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        # What was asked, and what came of it, is let go before the next call is waited for.
        while self._do_next(loop):
            pass

    def _do_next(self, loop: asyncio.AbstractEventLoop) -> bool:
        asked = self._asked.get()
        if asked is None:
            return False
        done, call = asked
        try:
            tell = partial(_succeed, done, call())
        except BaseException as fault:  # noqa: BLE001 - whoever asked hears of it
            tell = partial(_fail, done, fault)
        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:
            return False  # the loop was closed: nobody is left to be told
        return True


def _succeed(done: "asyncio.Future[_T]", result: _T) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: "asyncio.Future[Any]", fault: BaseException) -> None:
    if not done.done():
        done.set_exception(fault)
