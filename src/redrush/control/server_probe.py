"""A probe of one server of a set: asked again and again, so that one server which hangs delays no question to others.

A server counts as dead when it has not answered for DEAD_S, counted in failed attempts and not by the clock, for it may
have been the warden that stood still; or when nobody listens at its address any more, attempt after attempt.
"""

import asyncio
from typing import Final

from redrush.core.sets.address import Address
from redrush.core.sets.failover import Seen
from redrush.ports.set_servers import Held, SetServer, SetServers
from redrush.ports.store import StoreUnavailable

LOOK_S: Final = 0.25
"""From one look of the warden to the next, and from one question to a server to the next."""

ASK_S: Final = 1.0
"""Until a server must have answered; less than DEAD_S, so that a hung one is asked again before it is dead."""

DEAD_S: Final = 2.0
"""How long a server may be silent: longer than a pause of a busy machine, shorter than anybody likes to wait."""

REFUSED_MAX: Final = 4
"""So many refused connections in a row, LOOK_S apart, and nobody is there: a server that is restarted is back by then,
or has more to read than anybody likes to wait for."""


class Probe:
    """Asks one server again and again. `seen` is its last answer, None when the last question brought none."""

    def __init__(self, address: Address, servers: SetServers) -> None:
        self.address = address
        self.link: SetServer | None = None
        self.seen: Seen | None = None
        self.held: Held | None = None
        self.was_bare = False
        """Whether it held nothing of the set when it answered last."""
        self.why = "not asked yet"
        self._servers = servers
        self._asking = asyncio.Lock()
        self._refused = 0
        self._silent_since_s: float | None = None
        self._failures = 0

    def is_dead(self) -> bool:
        """Whether it has been silent for so long, or gone so surely, that it is to be replaced."""
        if self._silent_since_s is None:
            return False
        silent_s = asyncio.get_running_loop().time() - self._silent_since_s
        return self._refused >= REFUSED_MAX or (self._failures > 1 and silent_s >= DEAD_S)

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            await self.ask()
            await asyncio.sleep(LOOK_S)

    async def ask(self) -> None:
        """Ask once."""
        async with self._asking:
            try:
                async with asyncio.timeout(ASK_S):
                    if self.link is None or self.link.is_lost:
                        self.link = await self._servers.connect(self.address)
                    seen, self.held = await self.link.examine()
            except (StoreUnavailable, TimeoutError) as fault:
                self._fail(fault)
            else:
                self.seen, self.why, self.was_bare = seen, "", seen.terms is None
                self._refused = self._failures = 0
                self._silent_since_s = None

    def _fail(self, fault: Exception) -> None:
        self.seen = None
        self.why = str(fault) or f"{self.address}: no answer within {ASK_S:g} s"
        self._failures += 1
        self._refused = self._refused + 1 if isinstance(fault.__cause__, ConnectionRefusedError) else 0
        if self._silent_since_s is None:
            self._silent_since_s = asyncio.get_running_loop().time()
        self.cut()

    def cut(self) -> None:
        if self.link is not None:
            self.link.cut("the warden asks anew")
            self.link = None
