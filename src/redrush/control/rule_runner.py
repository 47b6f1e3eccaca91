"""Runs the automatic rules of a switchboard: takes readings, steps every rule, does what it wishes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from redrush.control.switch_log import SwitchLogFailed
from redrush.control.switchboard import Switchboard, TooManyChanges
from redrush.core.steering.rules import Move, RuleState
from redrush.core.steering.switch_layers import NotInForce
from redrush.core.steering.switches import WrongSetting, enabled_of
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
        while True:
            await self.step()
            await self._sleep(STEP_S)

    def _follow_plans(self) -> None:
        """Let amended rules act; one that is as before goes on where it is."""
        rules = self._board.plans.rules
        if [state.rule for state in self._states] != list(rules):
            known = {state.rule: state for state in self._states}
            self._states = [known.get(rule) or RuleState(rule) for rule in rules]

    async def step(self) -> None:
        """Take the readings once, and do what every rule wishes."""
        await self._undo_orphans()
        self._follow_plans()
        readings = self._readings()
        for state in self._states:
            rule = state.rule
            layer = self._board.applied(rule.playbook)
            in_force = layer is not None and layer.rule == rule.name
            taken = layer is not None and not in_force  # a person, or another rule, has applied it: nothing to add
            enabled = self._board.snapshot.flag(enabled_of(rule.name))
            value = readings.get(rule.reading)
            move = state.step(self._now_s(), value, in_force=in_force, enabled=enabled)
            if move is Move.NOTHING or (move is Move.APPLY and taken):
                continue
            why = f"{rule.reading} is {value:g}" if enabled else "switched off"
            if await self._do(move, rule.playbook, rule.name, why):
                state.done(move, self._now_s())

    async def _undo_orphans(self) -> None:
        """Undo what was applied by rules that are no longer in the campaign file: nobody else would."""
        for layer in self._board.applied_by_rules():
            if not any((layer.rule, layer.playbook) == (rule.name, rule.playbook) for rule in self._board.plans.rules):
                await self._do(Move.UNDO, str(layer.playbook), str(layer.rule), "there is no such rule any more")

    async def _do(self, move: Move, playbook: str, rule: str, why: str) -> bool:
        """Return whether it is done."""
        who = f"rule {rule}"
        act = self._board.apply_by_rule if move is Move.APPLY else self._board.undo_by_rule
        try:
            await act(playbook, who, why, rule)
        except NotInForce:
            return False  # a person was quicker
        except (SwitchLogFailed, WrongSetting, TooManyChanges) as fault:
            if not self._faulted:
                self._faulted = True
                self._on_fault(RedrushError(f"{who} cannot act: {fault}"))
            return False
        self._faulted = False
        return True
