"""Follows the switches of another process over its control port: a `SwitchLine` on long polls.

A poll is answered as soon as there is another version than the one that is known, so a change is here one way through
the network after it is durable. A lost connection is made anew at once and then with growing waits.

What was heard last is kept in a file: a gate that starts while the control role is away must not forget that, say,
the event was ended. Rejected: the stores' news channel, which is a hint and holds nothing; the poll needs no second
mechanism behind it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import msgspec

from redrush.control.durable_file import write_durably
from redrush.core.steering.switches import Registry, Snapshot
from redrush.errors import RedrushError
from redrush.http.ask import ControlAddress, ControlUnreachable, ask

POLL_MAX_S: Final = 20.0
"""A poll is answered after `WATCH_MAX_S` at the latest, changes or none; without that the connection is dead."""

RETRY_FIRST_S: Final = 0.05
RETRY_MAX_S: Final = 1.0
"""Wait after a failed poll, doubled up to the maximum: a control role restarts within a second."""

SAME_S: Final = 0.1
"""Wait after an answer that says nothing new."""

UNKNOWN_VERSION: Final = -1


class SwitchFollower:
    """See the module. One per process."""

    def __init__(
        self,
        address: ControlAddress,
        token: str,
        registry: Registry,
        kept: Path | None,
        *,
        on_fault: Callable[[RedrushError], None],
    ) -> None:
        """`kept` is the file for what was heard last, None where nothing can be kept; `on_fault` hears when the line is
        lost, once each time."""
        self._address = address
        self._token = token
        self._registry = registry
        self._kept = kept
        self._on_fault = on_fault

    async def snapshots(self) -> AsyncIterator[Snapshot]:
        """See `SwitchLine`. The first comes at once: what was kept, or the defaults."""
        yield self._remembered()
        heard = Snapshot(UNKNOWN_VERSION, {})
        version = UNKNOWN_VERSION
        retry_s = RETRY_FIRST_S
        while True:
            try:
                snapshot = await self._poll(version)
            except RedrushError as fault:
                if retry_s == RETRY_FIRST_S:
                    self._on_fault(fault)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, RETRY_MAX_S)
                continue
            retry_s = RETRY_FIRST_S
            if snapshot == heard:
                # The board has ended, or waited long enough. There may be another soon, that knows of rounds and
                # rules which were added: ask for what it has.
                version = UNKNOWN_VERSION if version == snapshot.version else snapshot.version
                await asyncio.sleep(SAME_S)
                continue
            heard, version = snapshot, snapshot.version
            yield self._complete(snapshot)
            self._keep(snapshot)

    async def _poll(self, version: int) -> Snapshot:
        """Return what holds: another version, or after a while the same."""
        answered = await ask(self._address, self._token, "POST", "/v1/switches/watch", {"version": version}, POLL_MAX_S)
        if answered.status != 200:
            raise ControlUnreachable(f"the switches cannot be followed: {answered.fields.get('detail')}")
        try:
            return msgspec.convert(answered.fields, Snapshot)
        except msgspec.ValidationError as fault:
            raise ControlUnreachable(f"the switches cannot be followed: {fault}") from fault

    def _complete(self, snapshot: Snapshot) -> Snapshot:
        """Fill in the defaults of switches that the other side does not know: it may be of another version."""
        known = {name: switch.default for name, switch in self._registry.items()}
        return Snapshot(snapshot.version, known | dict(snapshot.values))

    def _remembered(self) -> Snapshot:
        if self._kept is None:
            return self._complete(Snapshot(UNKNOWN_VERSION, {}))
        try:
            return self._complete(msgspec.json.decode(self._kept.read_bytes(), type=Snapshot))
        except FileNotFoundError:
            return self._complete(Snapshot(UNKNOWN_VERSION, {}))
        except (OSError, msgspec.DecodeError) as fault:
            self._on_fault(RedrushError(f"{self._kept}: cannot be read, switches begin at their defaults: {fault}"))
            return self._complete(Snapshot(UNKNOWN_VERSION, {}))

    def _keep(self, snapshot: Snapshot) -> None:
        if self._kept is None:
            return
        try:
            write_durably(self._kept, msgspec.json.encode(snapshot))
        except OSError as fault:
            self._on_fault(RedrushError(f"{self._kept}: cannot be written: {fault.strerror}"))
