"""The switchboard: takes changes of switches one after the other, makes each durable, and hands on what holds then.

First the line in the audit log, then the effect: a change that nobody could account for later never happens. Those who
act on switches are told in this process by a call (`follow`); others wait for the next version (`newer_than`), which is
what a long poll on the control port does.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from redrush.control.orders import ApplyPlaybook, ChangeOrder, Given, ReleaseSwitch, SetSwitch, UndoPlaybook
from redrush.control.plans import Plans
from redrush.control.switch_log import Entry, SwitchLog, SwitchLogFailed
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.instants import rfc3339
from redrush.core.steering.switch_layers import (
    WORDS_MAX,
    Action,
    Applied,
    Effect,
    Layer,
    Released,
    SetByHand,
    SetOrdered,
    Undone,
    effect_of,
)
from redrush.core.steering.switches import Playbook, Snapshot, in_one_line, switch_of

Follower = Callable[[Snapshot], None]

CHANGES_WAITING_MAX: Final = 64
"""Changes waiting for the disk at once. People and rules make one at a time; more is somebody's runaway script."""


class TooManyChanges(Exception):
    """More changes wait for the disk than anybody can mean."""


class ChangedMeanwhile(Exception):
    """The switches are not any more as whoever gives the order has seen them."""


class Switchboard:
    """The one writer of the switches of an event. Lives on the event loop; only the fsync is in a thread."""

    def __init__(self, log: SwitchLog, plans: Plans, campaign: Campaign, now_us: Callable[[], int]) -> None:
        self.plans = plans
        self.registry = plans.registry(campaign)
        self.snapshot = log.layers.snapshot(self.registry)
        """What holds now."""
        self._log = log
        self._now_us = now_us
        self._followers: list[Follower] = []
        self._changing = asyncio.Lock()
        self._waiting = 0
        self._ended = False
        self._changed = asyncio.Event()

    def follow(self, follower: Follower) -> None:
        """Call `follower` now with what holds, and again after every change, before whoever made it is answered."""
        self._followers.append(follower)
        follower(self.snapshot)

    def amend(self, plans: Plans, campaign: Campaign) -> None:
        """Let other plans and defaults hold, of a campaign that was amended; what is set stays set."""
        self.plans = plans
        self.registry = plans.registry(campaign)
        self.snapshot = self._log.layers.snapshot(self.registry)
        for follower in self._followers:
            follower(self.snapshot)

    async def newer_than(self, version: int) -> Snapshot:
        """Return what holds as soon as it has another version than this one, or as the board ends.

        Another, not a greater one: after a restore of the data directory everybody shall follow what is there.
        """
        while self.snapshot.version == version and not self._ended:
            await self._changed.wait()
        return self.snapshot

    async def end(self) -> None:
        """Finish the change that is under way, send those who wait for another version home, and close the log."""
        self._ended = True
        self._changed.set()
        async with self._changing:
            self._log.close()

    # -- changes

    async def change(self, order: ChangeOrder, given: Given) -> Effect:
        """Do what a person orders. Raises WrongSetting for a wrong name or value, NotInForce for what is not to be
        undone, ChangedMeanwhile, SwitchLogFailed if the disk refuses."""
        return await self._change(self._action(order), given.who, order.why, given.said, given.expects)

    def preview(self, order: ChangeOrder, who: str) -> Effect:
        """Return what the order would do now, and do nothing. Raises WrongSetting and NotInForce as `change` does."""
        return effect_of(self._log.layers, self._action(order), who, self.registry)

    def _action(self, order: ChangeOrder) -> Action:
        match order:
            case SetSwitch(name, value):
                return SetByHand(name, switch_of(self.registry, name).check(value))
            case ReleaseSwitch(name):
                return Released(switch_of(self.registry, name).name)
            case ApplyPlaybook(playbook):
                return Applied(playbook, self.playbook(playbook).settings)
            case UndoPlaybook(playbook):  # also one that the campaign file no longer has
                return Undone(playbook)

    async def apply_by_rule(self, playbook: str, who: str, why: str, rule: str) -> Effect:
        """Apply a playbook for a rule. Raises WrongSetting if there is none, SwitchLogFailed."""
        return await self._change(Applied(playbook, self.playbook(playbook).settings, rule), who, why, "")

    async def undo_by_rule(self, playbook: str, who: str, why: str, rule: str) -> Effect:
        """Undo what the rule has applied. Raises NotInForce, SwitchLogFailed."""
        return await self._change(Undone(playbook, rule), who, why, "")

    async def note_order(self, order: SetOrdered, who: str, why: str, said: str = "") -> None:
        """Write an order about a set down, before whoever calls carries it out. Raises SwitchLogFailed."""
        await self._change(order, who, why, said)

    async def _change(self, action: Action, who: str, why: str, said: str, expects: int | None = None) -> Effect:
        if self._waiting >= CHANGES_WAITING_MAX:
            raise TooManyChanges(f"{self._waiting} changes are waiting for the disk already")
        self._waiting += 1
        try:
            # A cancelled caller must not let the file and the memory part: the change is finished behind its back.
            return await asyncio.shield(
                asyncio.ensure_future(self._in_turn(action, _words(who), _words(why), _words(said), expects))
            )
        finally:
            self._waiting -= 1

    async def _in_turn(self, action: Action, who: str, why: str, said: str, expects: int | None) -> Effect:
        async with self._changing:
            if self._ended:
                raise SwitchLogFailed("the server is stopping, nothing was switched")
            if expects not in {None, self.snapshot.version}:
                raise ChangedMeanwhile(
                    f"somebody has switched meanwhile (version {self.snapshot.version}, not {expects}), so nothing was "
                    "changed; look again at what this would do"
                )
            return await self._make(action, who, why, said)

    async def _make(self, action: Action, who: str, why: str, said: str) -> Effect:
        effect = effect_of(self._log.layers, action, who, self.registry)
        entry = Entry(
            version=effect.layers.version,
            at=rfc3339(self._now_us()),
            who=who,
            why=why,
            what=action,
            changes=effect.changes,
            kept=effect.kept,
            said=said,
        )
        await asyncio.to_thread(self._log.append, entry, effect.layers)
        self.snapshot = effect.layers.snapshot(self.registry)
        for follower in self._followers:
            follower(self.snapshot)
        self._changed.set()
        self._changed = asyncio.Event()
        return effect

    # -- what can be seen

    def playbook(self, name: str) -> Playbook:
        """Return the playbook of that name. Raises WrongSetting if the campaign has none."""
        return self.plans.playbook(name)

    def applied(self, playbook: str) -> Layer | None:
        """Return the layer of the playbook if it is applied."""
        return self._log.layers.applied(playbook)

    def applied_by_rules(self) -> list[Layer]:
        """Return the layers of playbooks that rules have applied."""
        return [layer for layer in self._log.layers.layers if layer.rule is not None]

    def describe_switches(self) -> list[dict[str, Any]]:
        """Return every switch with its value, who has set it, and what it is about, as JSON has it."""
        return [
            {
                "name": switch.name,
                "value": self.snapshot.values[switch.name],
                "default": switch.default,
                "set_by": None if (layer := self._log.layers.in_force(switch.name)) is None else layer.holder,
                "accepts": switch.accepts,
                "acts": switch.acts,
                "does": switch.does,
            }
            for switch in self.registry.values()
        ]

    def describe_playbooks(self) -> list[dict[str, Any]]:
        """Return every playbook with whether it is applied and by whom, and those that are applied and no longer in
        the campaign file."""
        rows = [
            _row(book.name, book.description, book.settings, self.applied(book.name)) for book in self.plans.playbooks
        ]
        known = {book.name for book in self.plans.playbooks}
        gone = {layer.playbook: layer for layer in self._log.layers.layers if layer.playbook not in {None, *known}}
        return rows + [_row(str(name), "", layer.settings, layer) for name, layer in gone.items()]


def _words(text: str) -> str:
    return in_one_line(text)[:WORDS_MAX]


def _row(name: str, description: str, settings: Mapping[str, Any], layer: Layer | None) -> dict[str, Any]:
    return {
        "name": name,
        "description": description,
        "settings": dict(settings),
        "applied_by": None if layer is None else layer.who,
    }
