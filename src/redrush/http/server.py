"""Sockets and seconds: listens for a site, ticks it every second, and ends it without dropping an answer."""

import asyncio
from collections.abc import Callable, Sequence

from redrush.http.connection import Connection
from redrush.http.site import Site
from redrush.http.sockets import Reserved, backlog

DRAIN_S = 1.0
"""How long a stop lets clients ask once more on connections that stand, and tells each that the answer is the last: one
that was closed in their face would have broken a request on its way."""

STOP_DEADLINE_S = 10.0
"""How long a stop waits for clients to take their answers before it cuts them."""

MakeConnection = Callable[[Site], asyncio.BaseProtocol]

Beat = Callable[[float], float]
"""Is told how late it is called, in seconds; returns how many shall lie between the calls from the next one on."""


class Server:
    """Serves sites until stopped. `ticks` are called once a second, after the sites' own; `beat` from the start on."""

    def __init__(self, ticks: Sequence[Callable[[], None]], beat: Beat | None = None) -> None:
        self._ticks = ticks
        self._beat = beat
        self._next_beat: asyncio.TimerHandle | None = None
        self._pause_s = 0.0  # until the next beat but one
        self._sites: list[tuple[Site, asyncio.Server]] = []
        self._next_tick: asyncio.TimerHandle | None = None

    async def listen(self, site: Site, host: str, port: int, *, reuse_port: bool = False) -> int:
        """Serve the site at the address; returns the port, which the system chooses if `port` is 0.

        ConfigError if it is taken. `reuse_port`: other processes listen on the same port, and the system shares the
        connections out among them.
        """
        return await self.serve(site, Reserved.at(host, port, reuse_port=reuse_port))

    async def serve(self, site: Site, reserved: Reserved, make: MakeConnection | None = None) -> int:
        """Serve the site at a port that was taken before; returns the port.

        `make` makes its connections; None: those of participants.
        """
        made = Connection if make is None else make
        loop = asyncio.get_running_loop()
        for listening in reserved.sockets:
            listener = await loop.create_server(lambda: made(site), sock=listening, backlog=backlog())
            self._sites.append((site, listener))
        if self._next_tick is None:
            self._next_tick = loop.call_later(1.0, self._tick)
            self._call_beat(loop.time())
        return reserved.port

    def _tick(self) -> None:
        # The next tick is set first, like the next beat: a fault in this one is reported by the loop, and deadlines are
        # still kept.
        loop = asyncio.get_running_loop()
        self._next_tick = loop.call_later(1.0, self._tick)
        for site, _ in self._sites:
            site.tick(loop.call_later)
        for tick in self._ticks:
            tick()

    def _call_beat(self, due_s: float) -> None:
        if self._beat is not None:
            loop = asyncio.get_running_loop()
            now_s, pause_s = loop.time(), self._pause_s
            self._next_beat = loop.call_later(pause_s, self._call_beat, now_s + pause_s)
            self._pause_s = self._beat(max(0.0, now_s - due_s))

    async def _emptied(self, within_s: float) -> None:
        """Return when no connection is left, or after this time."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + within_s
        while any(site.connections for site, _ in self._sites) and loop.time() < deadline_s:
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Take no more connections, finish what was accepted, and return when every connection has ended."""
        for site, listener in self._sites:
            listener.close()
            site.announce_stop()
        await self._emptied(DRAIN_S)
        for site, _ in self._sites:
            site.stop()
        await self._emptied(STOP_DEADLINE_S)
        for site, _ in self._sites:
            for connection in (*site.connections, *site.refused):
                connection.abort()
        for timer in (self._next_tick, self._next_beat):
            if timer is not None:
                timer.cancel()
