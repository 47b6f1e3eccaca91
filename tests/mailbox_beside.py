"""A mail server in a thread of its own: for tests that wait for commands and processes."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.mail_server import Mailbox


@contextmanager
def mailbox_beside() -> Iterator[tuple[Mailbox, int]]:
    """Yield a mail server and its port. Its lists may be read and changed from any thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="mail server")
    thread.start()
    box = Mailbox()
    try:
        port = asyncio.run_coroutine_threadsafe(box.start(), loop).result()
        try:
            yield box, port
        finally:
            asyncio.run_coroutine_threadsafe(box.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def smtp(port: int) -> str:
    """Return the table of a payments file that has everybody told there."""
    return (
        f'[[notifier]]\nname = "mail"\nkind = "smtp"\nserver = "127.0.0.1:{port}"\nsecurity = "none"\n'
        'from = "noreply@corp.example"\nto = "{user}@corp.example"\nmessages_per_second = 200\n'
    )
