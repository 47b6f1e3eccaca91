"""The role that follows one set's log into its records."""

import asyncio
import time
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack

from redrush.config.deployment_file import Duty
from redrush.control.pot_file import PotFile
from redrush.core.sets.address import Address
from redrush.core.steering.figure import Value, readings_of
from redrush.errors import RedrushError
from redrush.http.site import Site
from redrush.ports.set_servers import Held
from redrush.records.postgres import ExaminedDatabase
from redrush.settle.chained import ChainedLog
from redrush.settle.noted_tables import NotedTables
from redrush.settle.recorder import Recorder
from redrush.settle.trimming import LateTrim
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Link
from redrush.stores.valkey.proof import lack
from redrush.wiring.following import Reporting, SettlementPause, listen_to_switches
from redrush.wiring.readings import settlement_figures
from redrush.wiring.reconciling import serve_agreement, watch_over
from redrush.wiring.role import Offstage, Parts, Surroundings, ready_unless
from redrush.wiring.set_records import open_records
from redrush.wiring.set_stores import open_store
from redrush.wiring.troubles import Troubles


class RecorderRole(Offstage):
    """Follows one set's log into its records."""

    def __init__(self, around: Surroundings, set_id: str) -> None:
        self._around = around
        self._spec = around.deployment.set_named(set_id)
        self._troubles = Troubles(around.log)
        self._parts = Parts()
        self._recorder: Recorder | None = None
        self._opened = AsyncExitStack()
        """How to close what a start has opened."""

    async def start(self, control: Site) -> dict[str, Address]:
        sealed = self._around.sealed
        self._records = open_records(self._spec)
        self._opened.callback(self._records.close)
        deployment = self._around.deployment
        prover = self._prove if deployment.valkey.cluster else None  # where there is no warden
        self._store = await open_store(deployment, self._spec.id, sealed.campaign.id, Duty.SETTLEMENT, prover)
        self._opened.push_async_callback(self._store.close)

        pause = SettlementPause()
        self._reporting = Reporting(self._around, "recorder")
        await listen_to_switches(self._around, self._parts, self._troubles, pause.apply, self._reporting.apply)
        chained = ChainedLog(self._store, self._records, self._spec.id)
        tables = NotedTables(self._records.note_of, PotFile(self._around.data_dir.pots).table)
        self._recorder = Recorder(
            chained,
            chained,
            sealed.campaign,
            sealed.amounts,
            set_id=self._spec.id,
            pots=tables.table,
            noted=tables.hear,
            paused=pause,
            grants_per_s_max=pause.grants_per_s_max,
            begin=chained.begin,
            trim=LateTrim(self._store.trim, time.monotonic),
            on_fault=self._troubles.listener("recording"),
        )
        self._examined = ExaminedDatabase(self._spec.records.read(), self._spec.id)
        self._opened.push_async_callback(asyncio.to_thread, self._examined.close)
        set_id = self._spec.id
        compared = NotedTables(self._records.note_of, PotFile(self._around.data_dir.pots).table)
        self._reconciling = watch_over(
            self._examined, sealed, self._around.log, set_id, pots=compared.table, noted=compared.hear
        )
        recorder, watch = self._recorder, self._reconciling
        self._parts.add("recorder", recorder.run())
        self._parts.add("reconciliation", watch.run())
        serve_agreement(control, watch)
        self._parts.add(
            "readings",
            self._reporting.run(lambda: readings_of(settlement_figures(recorder, watch, set_id))),
        )
        return {}

    async def _prove(self, link: Link, keys: SetKeys, held: Held) -> str | None:
        """Return what a server that was started anew lacks of what is recorded."""
        try:
            recorded = await asyncio.to_thread(self._records.known)
        except RedrushError as fault:
            return f"cannot be compared with what is recorded: {fault}"
        return None if recorded is None else await lack(link, keys, held, recorded, "the records")

    def readiness(self) -> bytes:
        assert self._recorder is not None
        away_s = self._recorder.records_away_s()
        away = f"the records have not answered for {away_s:.0f} s" if away_s else None
        return ready_unless("; ".join(why for why in (away, self._troubles.current()) if why) or None)

    def readings(self) -> Iterator[Value]:
        assert self._recorder is not None
        yield from settlement_figures(self._recorder, self._reconciling, self._spec.id)
        yield from self._reporting.readings()
        yield from self._troubles.readings()

    def failed(self) -> Awaitable[None]:
        return self._parts.failed()

    async def stop(self) -> None:
        if self._recorder is not None:
            await self._recorder.stop(drain=True)
        await self._parts.cancel()
        await self._opened.aclose()
