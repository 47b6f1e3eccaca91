"""The secret keys of sales, drawn at their openings and told to whoever lets people in below them.

In the serving process of the embedded form that is one part (`DrawnKeys`). On a stack the control role draws them, and
notes them where it may write; each gate asks it from the opening on, until it knows (`KeysElsewhere`). Before its
opening a key is nowhere.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

from redrush.control.control_api import Fields, Operation
from redrush.control.sale_keys import SaleKeys
from redrush.core.rush.campaign import Campaign, Round
from redrush.errors import RedrushError
from redrush.wiring.asking import Asking

LOOK_AGAIN_S: Final = 0.5
"""Longest sleep before the clock is asked again."""

ASK_AGAIN_S: Final = 0.1
"""How soon a gate asks again for a key that is not drawn yet by the control role's clock, or while that is away."""

ASK_MAX_S: Final = 0.5

Tell = Callable[[str, str], None]
"""Hears of a round and its key."""


def locked_rounds(campaign: Campaign) -> list[Round]:
    """Return the sales that are reached only below a key."""
    return [one for one in campaign.rounds if one.sale is not None and one.sale.secret_url]


class DrawnKeys:
    """Draws the key of each sale at its opening. See the module."""

    def __init__(
        self,
        keys: SaleKeys,
        campaign: Callable[[], Campaign],
        now_us: Callable[[], int],
        on_fault: Callable[[RedrushError], None],
    ) -> None:
        """`campaign` returns it as it is now; `on_fault` hears that a key cannot be written down: nobody is told it."""
        self.drawn: dict[str, str] = {}
        """By round; of those that have opened."""
        self._keys = keys
        self._campaign = campaign
        self._now_us = now_us
        self._on_fault = on_fault

    async def run(self, tell: Tell) -> None:
        """Draw each, and tell it, for ever."""
        while True:
            now_us, wait_s = self._now_us(), LOOK_AGAIN_S
            for round_ in locked_rounds(self._campaign()):
                if round_.opens_us > now_us:
                    wait_s = min(wait_s, (round_.opens_us - now_us) / 1e6)
                elif round_.id not in self.drawn:
                    await self._draw(round_.id, tell)
            await asyncio.sleep(wait_s)

    async def _draw(self, round_id: str, tell: Tell) -> None:
        try:
            key = await asyncio.to_thread(self._keys.drawn, round_id)
        except RedrushError as fault:
            self._on_fault(fault)
            return
        self.drawn[round_id] = key
        tell(round_id, key)

    def operations(self) -> Iterator[Operation]:
        """Yield the operation by which gates ask for the keys."""
        yield Operation("GET", "/v1/sales/keys", self._say)

    async def _say(self, _fields: Fields, _who: str) -> tuple[int, dict[str, Any]]:
        return 200, {"keys": dict(self.drawn)}


class KeysElsewhere:
    """Asks the control role for the keys, from a gate of a stack."""

    def __init__(
        self,
        campaign: Callable[[], Campaign],
        now_us: Callable[[], int],
        control: Asking,
    ) -> None:
        self._campaign = campaign
        self._now_us = now_us
        self._control = control
        self._known: set[str] = set()

    async def run(self, tell: Tell) -> None:
        """Ask from each opening on, and tell what is heard, for ever."""
        while True:
            now_us = self._now_us()
            locked = [one for one in locked_rounds(self._campaign()) if one.id not in self._known]
            missing = [one for one in locked if one.opens_us <= now_us]
            if missing:
                await self._ask(tell)
                await asyncio.sleep(ASK_AGAIN_S)
                continue
            until_s = min(((one.opens_us - now_us) / 1e6 for one in locked), default=LOOK_AGAIN_S)
            await asyncio.sleep(min(until_s, LOOK_AGAIN_S))

    async def _ask(self, tell: Tell) -> None:
        answered = await self._control.ask("GET", "/v1/sales/keys", None, ASK_MAX_S, "tell keys of sales")
        if answered is None:
            return
        for round_id, key in answered["keys"].items():
            if round_id not in self._known:
                self._known.add(round_id)
                tell(round_id, key)
