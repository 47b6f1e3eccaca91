"""The role that opens pots in time and moves what closed rounds have left."""

from collections.abc import Awaitable, Iterator

from redrush.config.deployment_file import Duty
from redrush.core.sets.address import Address
from redrush.core.steering import figures
from redrush.core.steering.figure import Value
from redrush.http.site import Site
from redrush.settle.anew import again_whenever_anew
from redrush.settle.joining import joinings_of
from redrush.settle.opening import PotOpener
from redrush.settle.sweeping import SetsCloser
from redrush.stores.valkey import ValkeyStore
from redrush.watch.clocks import ClockWatch
from redrush.wiring.following import SettlementPause, listen_to_switches
from redrush.wiring.role import Offstage, Parts, Surroundings, ready_unless
from redrush.wiring.set_stores import close_all, open_stores, times_of
from redrush.wiring.troubles import Troubles


class SettleRole(Offstage):
    """Opens pots in time, and moves what closed rounds have left."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._troubles = Troubles(around.log)
        self._parts = Parts()
        self._stores: dict[str, ValkeyStore] = {}
        self._closer: SetsCloser | None = None

    async def start(self, control: Site) -> dict[str, Address]:
        around, campaign = self._around, self._around.sealed.campaign
        self._stores = await open_stores(around.deployment, campaign.id, Duty.SETTLEMENT)
        joining = joinings_of(around.terms.added, around.division.shares, around.amended_us)
        opener = PotOpener(
            self._stores,
            campaign,
            around.division,
            around.clock,
            warm_up_us=around.deployment.warm_up_us,
            on_fault=self._troubles.listener("opening"),
            joining=joining,
        )
        pause = SettlementPause()
        clocks = self._clocks = ClockWatch("this settlement", around.clock, times_of(self._stores), around.log)
        await listen_to_switches(around, self._parts, self._troubles, pause.apply, clocks.apply)
        self._parts.add("clock watch", clocks.run())

        def close() -> Awaitable[None]:
            self._closer = SetsCloser(
                self._stores,
                campaign,
                around.clock,
                sets_of=around.sets_of,
                joining=joining,
                moved=lambda pot: around.log.info("the leftover of a closed round was moved", to=pot),
                # Nothing may be taken out of a round that is open by everybody else's clock.
                paused=lambda: pause() or clocks.doubt is not None,
                on_fault=self._troubles.listener("closing"),
            )
            return self._closer.run()

        self._parts.add("opener", again_whenever_anew(self._stores, opener.run))
        self._parts.add("closer", again_whenever_anew(self._stores, close))
        return {}

    def readiness(self) -> bytes:
        return ready_unless(self._clocks.doubt or self._troubles.current())

    def readings(self) -> Iterator[Value]:
        yield from self._clocks.readings()
        unsettled = len(self._closer.unsettled) if self._closer is not None else len(self._around.sealed.campaign.pots)
        yield figures.ROUNDS_UNSETTLED(unsettled)
        yield from self._troubles.readings()

    def failed(self) -> Awaitable[None]:
        return self._parts.failed()

    async def stop(self) -> None:
        if self._closer is not None:
            self._closer.stop()
        await self._parts.cancel()
        await close_all(self._stores)
