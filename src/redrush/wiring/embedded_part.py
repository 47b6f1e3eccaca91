"""The parts of a campaign in the serving process: what each is made from, and what it is asked.

A part is to its campaign what a role is to a stack (`redrush.wiring.role`), in one process, over a set of size one. A
role is made from its surroundings and finds the others over the network; a part is made from its ground, where the
parts before it have put what they show to others.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

import msgspec

from redrush.control.audience_additions import AudienceFollower
from redrush.control.control_api import Operation
from redrush.control.data_dir import DataDir
from redrush.control.durable_file import Stamp
from redrush.control.event import Event, OpenTerms, Prepared
from redrush.control.keys import Keys
from redrush.control.pot_file import PotFile
from redrush.control.sealing import SealedCampaign
from redrush.core.identity.audience import Eligible
from redrush.core.rush.holding import PotTables, SlotTable
from redrush.core.rush.phase import SteadyClock
from redrush.core.steering.figure import Value
from redrush.core.steering.switches import SETTLEMENT_PAUSED
from redrush.gate.gate import Gate
from redrush.gate.group.parts import GroupParts
from redrush.http.reader import Limits
from redrush.http.site import Site
from redrush.ports.records import JournalRecords
from redrush.ports.store import StoreFailed
from redrush.stores.sqlite import SqliteStore
from redrush.watch.clocks import ClockWatch
from redrush.wiring.role import PartsBeside
from redrush.wiring.steering import Steering
from redrush.wiring.till import Till
from redrush.wiring.troubles import Troubles

EMBEDDED_SET: Final = "embedded"
"""The one set of the embedded form."""

OpenStore = Callable[..., Awaitable[SqliteStore]]
"""Opens the store at a path, with the options of `SqliteStore.open_path`."""

Prepare = Callable[[Callable[[Keys], None]], Prepared]
"""Returns the event of the directory, sealed by then; may ask whether its keys are those that are known."""


class OfProcess(msgspec.Struct, frozen=True):
    """What the campaigns of a process share."""

    clock: SteadyClock
    clocks: ClockWatch
    log: Any
    troubles: Troubles
    failed: Callable[[StoreFailed], None]
    """Hears that a store has failed for good, or that a gate met what nobody thought of."""
    open_store: OpenStore
    till: Till


class Ground:
    """What every part of a campaign is made from, and what the parts show to each other once they are open."""

    store: SqliteStore
    records: JournalRecords
    sealed: SealedCampaign
    """As it was amended last."""
    terms: OpenTerms
    """What of the campaign is open; while an amendment is followed, still what it was before."""
    keys: Keys
    gate: Gate
    steering: Steering
    settlement: Callable[[], Iterator[Value]]
    """Yields how far recording is, and what the running reconciliation found."""
    up_to_date: Callable[[], Awaitable[None]]
    """Returns when what was amended by now is followed, or cannot be yet."""

    def __init__(
        self, data_dir: DataDir, process: OfProcess, prepare: Prepare, audience: Eligible | None, limits: Limits
    ) -> None:
        """`audience` None: everybody may win."""
        self.data_dir = data_dir
        self.process = process
        self.prepare = prepare
        self.audience = audience
        self.limits = limits
        self.additions: AudienceFollower | None = None
        self.group: GroupParts | None = None
        """What packets between people stand on, where the campaign has any."""
        self.seen: Stamp | None = None
        """Of the event that is followed."""
        self.tables: PotTables = PotFile(data_dir.pots).table
        self.control_sites: list[Site] = []
        """Where the control API is served."""
        self.tasks = PartsBeside(process.log)
        self.opened = AsyncExitStack()
        """How to close what was opened, the last first."""

    def table(self, pot: str) -> SlotTable | None:
        """Return the table of a pot that is no round."""
        return self.tables(pot)

    def paused(self) -> bool:
        """Whether operators want nothing settled now."""
        return self.steering.board.snapshot.flag(SETTLEMENT_PAUSED)

    def rushing(self) -> bool:
        """Whether claims wait."""
        return self.gate.gauge.parked > 0


class Part:
    """A part, made from its ground. Parts are opened and begun in the order of their list, amended in that order, and
    stopped in the reverse one. What one does not say it does nothing about."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground

    async def open(self) -> None:
        """Be ready to serve; what is opened is pushed on `ground.opened`. ConfigError or a fault if it cannot be."""

    def begin(self) -> None:
        """Work by itself from now on, in `ground.tasks`."""

    def operations(self) -> Iterable[Operation]:
        """Return what operators may ask of it, besides the control API."""
        return ()

    def readings(self) -> Iterator[Value]:
        """Yield its figures."""
        yield from ()

    def has_unsettled(self) -> bool:
        """Whether it has something to do by itself before the campaign may sleep. Raises RedrushError."""
        return False

    async def amend(self, event: Event) -> None:
        """Go on as this event. What was done of it before is done again where something failed on the way."""

    async def stop(self) -> None:
        """Finish what was accepted, or have its tasks end. Nobody is served any more by now."""
