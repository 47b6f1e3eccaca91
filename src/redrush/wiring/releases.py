"""How a gate of a stack comes by its share of the release paces: it tells what it let go, and hears what it may."""

import asyncio
import secrets
import time
from typing import Final

import msgspec

from redrush.gate.switches import GateSwitches
from redrush.wiring.asking import Asking

TELL_S: Final = 0.2
IDLE_S: Final = 1.0
"""How long is waited between two looks while nothing is let go at a pace, or by this gate alone."""
TELL_MAX_S: Final = 0.2
UNHEARD_S: Final = 1.5
"""A share that was not renewed for so long is out of date: an equal one is right then."""


class SharedPaces:
    """See the module."""

    def __init__(self, switches: GateSwitches, control: Asking) -> None:
        self._switches = switches
        self._control = control
        self._life = f"gate {secrets.token_hex(8)}"
        self._heard_s = 0.0

    async def run(self) -> None:
        """Tell and hear, for ever."""
        while True:
            rounds = self._switches.released() if self._switches.gates > 1 else {}
            if rounds:
                await self._tell({"gate": self._life, "rounds": msgspec.to_builtins(rounds)})
            elif self._switches.shares:
                self._switches.share_out({})
            await asyncio.sleep(TELL_S if rounds else IDLE_S)

    async def _tell(self, fields: dict[str, object]) -> None:
        answered = await self._control.ask("POST", "/v1/releases/told", fields, TELL_MAX_S, "share paces")
        if answered is None:
            if time.monotonic() - self._heard_s > UNHEARD_S:
                self._switches.share_out({})
            return
        self._heard_s = time.monotonic()
        self._switches.share_out(msgspec.convert(answered, _Heard).paces)


class _Heard(msgspec.Struct, frozen=True):
    paces: dict[str, float]
