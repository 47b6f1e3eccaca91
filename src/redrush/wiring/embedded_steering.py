"""The switchboard of a campaign in the serving process, its control API, and its automatic rules."""

import asyncio

from redrush.control.event import Event
from redrush.core.load.histogram import summed
from redrush.core.steering.figure import readings_of
from redrush.core.steering.figures import Interface
from redrush.core.steering.quantiles import LatelyTook
from redrush.gate.readings import GateReadings
from redrush.wiring.embedded_part import Part
from redrush.wiring.steering import Steering, operation_failed


class OwnSteering(Part):
    """See the module. The process stops it before all other parts: whoever waits for a change has a connection."""

    async def open(self) -> None:
        """Take the switches over, and have the gate follow them. SwitchLogInUse if another process has them."""
        ground = self.ground
        ground.steering = Steering.open(
            ground.data_dir,
            ground.terms.plans,
            ground.sealed.campaign,
            ground.process.clock.now_us,
            operation_failed(ground.process.log),
        )
        ground.opened.push_async_callback(ground.steering.stop)
        ground.steering.board.follow(ground.gate.switches.apply)
        now_s = asyncio.get_running_loop().time
        self._of_gate = GateReadings(ground.gate, now_s)
        self._took = LatelyTook(lambda: {Interface.CONTROL: summed(site.times for site in ground.control_sites)}, now_s)

    def begin(self) -> None:
        """Let rules act."""
        self.ground.steering.run_rules(self._readings, self.ground.process.troubles.listener("rules"))

    def _readings(self) -> dict[str, float]:
        ground, money = self.ground, self.ground.process.till.part.readings()
        return {**self._of_gate(), **readings_of([*ground.settlement(), *money, *self._took()])}

    async def amend(self, event: Event) -> None:
        """Have its switches, playbooks and rules, once the gate has the rounds that they are of."""
        self.ground.steering.board.amend(event.open.plans, event.sealed.campaign)
