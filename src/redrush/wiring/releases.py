"""How a gate of a stack comes by its share of the release paces: it tells what it let go, and hears what it may."""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec

from redrush.errors import RedrushError
from redrush.gate.switches import GateSwitches
from redrush.http.ask import ControlAddress, ControlUnreachable, ask

TELL_S: Final = 0.2
IDLE_S: Final = 1.0
"""How long is waited between two looks while nothing is let go at a pace, or by this gate alone."""
TELL_MAX_S: Final = 0.2
UNHEARD_S: Final = 1.5
"""A share that was not renewed for so long is out of date: an equal one is right then."""


class SharedPaces:
    """See the module."""

    def __init__(
        self,
        switches: GateSwitches,
        address: ControlAddress,
        token: str,
        on_fault: Callable[[RedrushError], None],
    ) -> None:
        """`address` and `token` are those of the control role."""
        self._switches = switches
        self._address = address
        self._token = token
        self._on_fault = on_fault
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
        try:
            answered = await ask(self._address, self._token, "POST", "/v1/releases/told", fields, TELL_MAX_S)
            if answered.status != 200:
                said = answered.fields.get("detail")
                raise ControlUnreachable(f"the control role does not share paces: {answered.status}, {said}")
        except ControlUnreachable as fault:
            self._on_fault(fault)
            if time.monotonic() - self._heard_s > UNHEARD_S:
                self._switches.share_out({})
            return
        self._heard_s = time.monotonic()
        self._switches.share_out(msgspec.convert(answered.fields, _Heard).paces)


class _Heard(msgspec.Struct, frozen=True):
    paces: dict[str, float]
