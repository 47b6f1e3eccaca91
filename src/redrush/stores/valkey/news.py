"""News of a set over Valkey's publish/subscribe, on the channel `{campaign/set}:news`."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from redrush.ports.news import News
from redrush.ports.store import StoreUnavailable
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Access, Link, Reply, ReplyFault, pack
from redrush.stores.valkey.primary import Primary

NEWS_MAX: Final = 256
"""News held for a listener who is busy; more are dropped, and the polling behind news brings them."""

PING_S: Final = 1.0
"""How often a quiet line is tried, so that one to a server that stopped is given up."""

PAUSE_S: Final = 0.2
"""Between two attempts to listen while there is no primary."""

_decode = msgspec.json.Decoder[News](News).decode
encode = msgspec.json.encode


async def listen(primary: Primary, keys: SetKeys, access: Access) -> AsyncIterator[News]:
    """Yield news from now on until the primary is closed; subscribe again whenever the line or the primary is lost."""
    heard: asyncio.Queue[News] = asyncio.Queue(NEWS_MAX)

    def hear(push: list[Reply]) -> None:
        if push[0] == b"message" and not heard.full():
            try:
                heard.put_nowait(_decode(push[2]))
            except msgspec.DecodeError:
                return  # of another release; polling tells it too

    while not primary.closed:
        try:
            line, _ = await Link.connect(primary.attached().link.address, access, on_push=hear)
        except StoreUnavailable:
            await asyncio.sleep(PAUSE_S)
            continue
        try:
            await _subscribe(line, keys)
            while line.lost is None and not primary.closed:
                try:
                    async with asyncio.timeout(PING_S):
                        news = await heard.get()
                except TimeoutError:
                    await line.call(pack(("PING",)))
                    primary.attached()
                else:
                    yield news
        except StoreUnavailable:
            await asyncio.sleep(PAUSE_S)
        finally:
            line.cut("listening ended")


async def _subscribe(line: Link, keys: SetKeys) -> None:
    # With RESP3 the confirmation is a push of its own; PING answers after it.
    subscribe = pack(("SUBSCRIBE", keys.news))
    (reply,) = await line.call(subscribe + pack(("PING",)))
    if isinstance(reply, ReplyFault):
        raise StoreUnavailable(f"{line.address}: {reply}")
