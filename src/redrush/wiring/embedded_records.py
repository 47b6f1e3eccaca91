"""The records of a campaign in the serving process: journal and records opened together, followed and held against each
other."""

import asyncio
from collections.abc import Iterator

from redrush.control.audience_additions import AudienceFollower
from redrush.control.durable_file import stamp_of
from redrush.control.event import Event
from redrush.control.journal_keeper import JournalKeeper, SealedUp, with_remedy
from redrush.control.keys import Keys, check_known_keys, key_digests
from redrush.control.sealing import seal_sha256
from redrush.core.steering.figure import Value
from redrush.core.steering.switches import GRANTS_PER_SECOND_MAX
from redrush.errors import RedrushError
from redrush.ports.journal import Identity
from redrush.ports.store import StoreCorrupt
from redrush.records.sqlite import SQLITE_RECORDS
from redrush.settle.recorder import Recorder
from redrush.wiring.embedded_part import Ground, Part
from redrush.wiring.readings import settlement_figures
from redrush.wiring.reconciling import watch_over


class Recording(Part):
    """See the module. The first part: all others stand on the store, and on what is sealed. So it is also the first to
    hear of an amendment, for what the gate grants is to be recorded; and it ends last, with all that others have put
    into the log."""

    recorder: Recorder

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        ground.settlement = self.readings

    async def open(self) -> None:
        """Open store and records, once they were compared with each other and with what is sealed; seal what is new."""
        ground = self.ground
        keeper = JournalKeeper(ground.data_dir, SQLITE_RECORDS, ground.process.log.warning, self._seal_up)
        try:
            ground.store = await ground.process.open_store(
                ground.data_dir.journal, keeper=keeper, on_failure=ground.process.failed
            )
        except StoreCorrupt as fault:
            raise with_remedy(fault, ground.data_dir) from fault
        ground.records = keeper.records
        ground.opened.callback(ground.records.close)
        ground.opened.push_async_callback(ground.store.close)
        self.recorder = Recorder(
            ground.store,
            ground.records,
            ground.sealed.campaign,
            ground.sealed.amounts,
            pots=ground.table,
            busy=ground.rushing,
            paused=ground.paused,
            grants_per_s_max=lambda: ground.steering.board.snapshot.number(GRANTS_PER_SECOND_MAX),
            on_fault=ground.process.troubles.listener("recording"),
        )
        self.watch = watch_over(
            ground.records, ground.sealed, ground.process.log, pots=ground.table, busy=ground.rushing
        )

    def _seal_up(self, identity: Identity) -> SealedUp:
        ground = self.ground

        def accept(keys: Keys) -> None:
            check_known_keys(ground.data_dir, identity.keys, keys)
            if ground.audience is not None:
                ground.additions = AudienceFollower(ground.data_dir, ground.audience.add, ground.audience.remove)
                ground.additions.look_at_all()

        prepared = ground.prepare(accept)
        ground.sealed, ground.terms, ground.keys = prepared.event.sealed, prepared.event.open, prepared.keys
        ground.seen = stamp_of(ground.data_dir.event)
        return SealedUp(seal_sha256(ground.data_dir), key_digests(ground.keys))

    def begin(self) -> None:
        """Follow the log: what is recorded while others wait for the start would only hold them up."""
        self.ground.tasks.add("recorder", self._record())
        self._reconciles = self.ground.tasks.add("reconciliation", self.watch.run())

    async def _record(self) -> None:
        """Follow the journal, into records that are sound: a damaged file is put aside, for they can be made anew."""
        ground = self.ground
        try:
            if not await asyncio.to_thread(ground.records.is_sound):
                aside = await asyncio.to_thread(ground.records.begin_anew, ground.store.identity.journal)
                path = ground.data_dir.records
                ground.process.log.warning(f"{path}: is damaged; made anew from the journal, what was there is {aside}")
        except RedrushError as fault:
            ground.process.log.error("the records cannot be checked, claims go on", fault=str(fault))
        await self.recorder.run()

    def readings(self) -> Iterator[Value]:
        """Yield how far recording is, and what the running reconciliation found."""
        return settlement_figures(self.recorder, self.watch)

    async def amend(self, event: Event) -> None:
        """Know the rounds of this campaign."""
        self.recorder.amend(event.sealed.campaign)

    async def stop(self) -> None:
        """Bring the records up to date."""
        await self.recorder.stop(drain=self.ground.store.log_is_readable)
        self._reconciles.cancel()
