"""Runs the automatic rules of a switchboard: takes readings, steps every rule, does what it wishes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from redrush.control.switch_log import SwitchLogFailed
from redrush.control.switchboard import Switchboard, TooManyChanges
from redrush.core.rules import Move, Rule, RuleState
from redrush.core.switch_layers import NotInForce
from redrush.core.switches import WrongSetting, enabled_of
from redrush.errors import RedrushError

STEP_S: Final = 0.1
"""Between two readings: a rule's `after` is seconds, and a reading costs microseconds."""


class RuleRunner:
    """`run` it as a task; cancel it to end it."""

    def __init__(
        self,
        board: Switchboard,
        readings: Callable[[], Mapping[str, float]],
        now_s: Callable[[], float],
        *,
        on_fault: Callable[[RedrushError], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`readings` are those there are now, by name; `now_s` is any clock that does not jump."""
        self._board = board
        self._readings = readings
        self._now_s = now_s
        self._on_fault = on_fault
        self._sleep = sleep
        self._states = [RuleState(rule) for rule in board.plans.rules]
        self._faulted = False

    async def run(self) -> None:
        """Step for ever. A disk that refuses the audit line is reported once, and tried again."""
        while self._states:
            await self.step()
            await self._sleep(STEP_S)

    async def step(self) -> None:
        """Take the readings once, and do what every rule wishes."""
        readings = self._readings()
        for state in self._states:
            rule = state.rule
            layer = self._board.applied(rule.playbook)
            in_force = layer is not None and layer.rule == rule.name
            taken = layer is not None and not in_force  # a person, or another rule, has applied it: nothing to add
            enabled = self._board.snapshot.flag(enabled_of(rule.name))
            value = readings.get(rule.reading)
            move = state.step(self._now_s(), value, in_force=in_force, enabled=enabled)
            if move is Move.UNDO or (move is Move.APPLY and not taken):
                await self._do(move, state, rule, value, enabled=enabled)

    async def _do(self, move: Move, state: RuleState, rule: Rule, value: float | None, *, enabled: bool) -> None:
        who = f"rule {rule.name}"
        why = "switched off" if not enabled else f"{rule.reading} is {value:g}"
        try:
            if move is Move.APPLY:
                await self._board.apply(rule.playbook, who, why, rule.name)
            else:
                await self._board.undo(rule.playbook, who, why, rule.name)
                state.undone()
        except NotInForce:
            return  # a person was quicker
        except (SwitchLogFailed, WrongSetting, TooManyChanges) as fault:
            if not self._faulted:
                self._faulted = True
                self._on_fault(RedrushError(f"{who} cannot act: {fault}"))
            return
        self._faulted = False
