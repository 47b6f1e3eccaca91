"""Who a campaign lets in, in the serving process: its gate, and the pots of its rounds."""

import asyncio
from collections.abc import Iterable, Sequence

from redrush.control.code_file import codes_of
from redrush.control.control_api import Operation
from redrush.control.event import Event
from redrush.control.stock_api import StockApi
from redrush.core.rush.additions import Added
from redrush.core.rush.campaign import Pot
from redrush.gate.asking import asking_rules
from redrush.gate.manners import Home
from redrush.ports.pot_terms import returned_pot
from redrush.settle.closing import Closer
from redrush.settle.joining import join
from redrush.wiring.embedded_part import EMBEDDED_SET, Part
from redrush.wiring.gate_of_event import gate_of_event


class OwnGate(Part):
    """The gate. It is there before the switchboard, which it follows, and before its pots are opened."""

    async def open(self) -> None:
        """Make it, over the one set."""
        ground = self.ground
        ground.gate = gate_of_event(
            ground.sealed,
            ground.terms,
            ground.keys,
            ground.audience,
            ground.limits,
            self._homes,
            now_us=ground.process.clock.now_us,
            failed=ground.process.failed,
            clock_check=ground.process.clocks.check,
            group=ground.group,
            codes=codes_of(ground.data_dir, ground.sealed.campaign),
        )
        ground.opened.callback(ground.gate.close)

    def _homes(self, pot: Pot) -> list[Home]:
        return [Home(EMBEDDED_SET, self.ground.store, pot.slots)]

    async def amend(self, event: Event) -> None:
        """Serve its rounds, by its terms; connections stay."""
        gate, campaign, terms = self.ground.gate, event.sealed.campaign, event.open
        await gate.add_rounds(campaign, self._homes)
        gate.amend(campaign)
        asking = asking_rules(terms.limits, terms.client, gate.site.limits.connections_max)
        gate.retune(campaign.id, terms.admission, terms.client, terms.page, asking)


class Pots(Part):
    """The pots of the rounds: opened, joined by packets that were added, and closed. They are opened once the gate
    follows the switchboard, and joined once it knows what is added."""

    async def open(self) -> None:
        """Open them, and know what is in them."""
        ground = self.ground
        for rush in ground.gate.rounds.values():
            await rush.warm_up()
        await ground.store.open([returned_pot()])
        for pot in await self._join(ground.terms.added):
            if pot in ground.gate.pots:
                await ground.gate.pots[pot].learn()
        self._closer = Closer(
            ground.store,
            ground.sealed.campaign,
            ground.process.clock,
            drain=self._drained,
            moved=self._leftover_moved,
            paused=ground.paused,
            on_fault=ground.process.troubles.listener("closing"),
        )

    def begin(self) -> None:
        """Close pots at their instants."""
        self._closing = self.ground.tasks.add("closer", self._closer.run())

    def operations(self) -> Iterable[Operation]:
        """Return what tells of the stock."""
        ground = self.ground
        return StockApi(
            lambda: ground.sealed.campaign,
            lambda: {EMBEDDED_SET: ground.store},
            lambda _round: (EMBEDDED_SET,),
            lambda round_id: next((it.state for it in ground.gate.waiting_rooms if it.round.id == round_id), None),
            lambda: ground.steering.board.snapshot,
        ).operations()

    def has_unsettled(self) -> bool:
        """Whether a round that is over is not closed."""
        return not self._closing.done() and self._closer.is_behind()

    async def amend(self, event: Event) -> None:
        """Give added packets to their pots, and close by these instants."""
        for pot in await self._join(event.open.added[len(self.ground.terms.added) :]):
            self._refilled(pot)
        self._closer.amend(event.sealed.campaign)
        if self._closing.done():  # all rounds were over, and one was added
            self.begin()

    async def stop(self) -> None:
        """Have the closer end."""
        self._closer.stop()

    async def _join(self, added: Sequence[Added]) -> list[str]:
        """Give added packets to the rounds that were there; return the pots that were given any."""
        ground, given = self.ground, list[str]()
        for one in added:
            if one.new is None:
                given += await join(ground.store, ground.sealed.campaign, one, ground.process.clock.now_us())
        return given

    async def _drained(self, pot: str) -> None:
        await self.ground.up_to_date()  # what was added before the close is there before the leftover is counted
        await self.ground.gate.pots[pot].drained()

    def _leftover_moved(self, pot: str) -> None:
        self.ground.process.log.info("the leftover of a closed round was moved", to=pot)
        self._refilled(pot)

    def _refilled(self, pot: str) -> None:
        if pot in self.ground.gate.pots:
            knows = self.ground.gate.pots[pot]
            knows.refilled()
            self._counting = asyncio.ensure_future(knows.recount())
