"""What becomes of what was won, in the serving process: winners are paid, and told, as it is recorded."""

from redrush.control.event import Event
from redrush.settle.pages import recorded_pages
from redrush.wiring.embedded_part import Part
from redrush.wiring.till import OfLog


class Winners(Part):
    """See the module."""

    async def open(self) -> None:
        """Let participants ask for their money, and know what the campaign says to them."""
        ground, till = self.ground, self.ground.process.till
        till.part.serve(ground.gate, ground.sealed.campaign, ground.terms, ground.records)
        till.messages.serve(ground.data_dir, ground.sealed.campaign, ground.terms)
        self._of_log = OfLog(
            till,
            ground.sealed,
            ground.terms,
            recorded_pages(ground.records, ground.store),
            pots=ground.table,
            busy=ground.rushing,
            on_fault=ground.process.troubles.listener("payments"),
        )

    def begin(self) -> None:
        """Pay, and tell, who need not ask."""
        self._of_log.start(self.ground.tasks)

    def has_unsettled(self) -> bool:
        """Whether winners are still to be paid or told by itself."""
        return self._of_log.is_behind(self.ground.records.cursor())

    async def amend(self, event: Event) -> None:
        """Pay by its terms, and say what it says."""
        campaign, terms, till = event.sealed.campaign, event.open, self.ground.process.till
        till.part.amend(campaign, terms)
        till.messages.amend(campaign, terms)
        self._of_log.amend(campaign, terms)

    async def stop(self) -> None:
        """End after the pages under way."""
        self._of_log.stop()
