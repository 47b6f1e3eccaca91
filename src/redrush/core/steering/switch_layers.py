"""Who has set what: the settings of persons and of rules as layers, and what is in force as a pure function of them.

Every setting by hand and every applied playbook is a layer. For each switch the newest layer of a *person* that names
it is in force; without one, the newest layer of a *rule*; without one, the default. So an operator's hand always wins
over a rule, until it is released; and undoing something is taking its layer away, which brings back what was there
before, however things were interleaved. Where another layer has taken over a switch meanwhile, undoing changes nothing
about it, and says so (`kept`).

Rejected: remembering the values before a playbook and writing them back, which brings back what is long outdated when
two playbooks overlap.

What happened is a sequence of actions; the layers are what replaying them gives, so the audit log is also the state.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from redrush.core.steering.switches import Registry, Snapshot, Value

WORDS_MAX: Final = 500
"""Characters of a reason, or of a name: an audit line stays one that can be read."""


class SetByHand(msgspec.Struct, frozen=True, tag_field="action", tag="set"):
    """A person sets one switch."""

    switch: str
    value: Value


class Released(msgspec.Struct, frozen=True, tag_field="action", tag="release"):
    """What a person has set for the switch holds no more: playbooks, rules and the default have it again."""

    switch: str


class Applied(msgspec.Struct, frozen=True, tag_field="action", tag="apply"):
    """A playbook is applied, by a person or by a rule. The settings are kept as they were at that moment."""

    playbook: str
    settings: Mapping[str, Value]
    rule: str | None = None


class Undone(msgspec.Struct, frozen=True, tag_field="action", tag="undo"):
    """A playbook is undone, by a person or by the rule that had applied it."""

    playbook: str
    rule: str | None = None


class SetOrdered(msgspec.Struct, frozen=True, tag_field="action", tag="order"):
    """A person orders something about a set, which changes no switch: it is here so that one log has all that persons
    did to an event. `address` is that of the server concerned, None where the order is about the whole set."""

    set: str
    order: str
    address: str | None = None


Action = SetByHand | Released | Applied | Undone | SetOrdered


class NotInForce(Exception):
    """There is nothing to release or undo."""


class Layer(msgspec.Struct, frozen=True):
    """One setting by hand (`playbook` is None), or one applied playbook, by a person or by a rule."""

    who: str
    settings: Mapping[str, Value]
    playbook: str | None = None
    rule: str | None = None

    @property
    def holder(self) -> str:
        """Whose setting this is, in words."""
        if self.playbook is None:
            return self.who
        return f"{self.who}, playbook {self.playbook}"


class Layers(msgspec.Struct, frozen=True):
    """What is set, oldest first, after `version` actions. At most one layer by hand for each switch, and one of persons
    and one of rules for each playbook, so their number is bounded."""

    version: int = 0
    layers: tuple[Layer, ...] = ()

    def after(self, action: Action, who: str) -> "Layers":
        """Return the layers after the action of `who`. Raises NotInForce if there is nothing to release or undo."""
        new: tuple[Layer, ...] = ()
        match action:
            case SetByHand(switch, value):
                rest = self._without_hand(switch)
                new = (Layer(who, {switch: value}),)
            case Released(switch):
                rest = self._without_hand(switch)
                if len(rest) == len(self.layers):
                    raise NotInForce(f'"{switch}" is not set by hand, there is nothing to release')
            case Applied(playbook, settings, None):
                # A playbook that a rule has applied becomes the person's: the rule will not undo it.
                rest = self._without_playbook(playbook, by_person=True)
                new = (Layer(who, settings, playbook),)
            case Applied(playbook, settings, rule):
                rest = tuple(layer for layer in self.layers if layer.rule is None or layer.playbook != playbook)
                new = (Layer(who, settings, playbook, rule),)
            case Undone(playbook, rule):
                rest = self._without_playbook(playbook, by_person=rule is None)
                if len(rest) == len(self.layers):
                    raise NotInForce(f'playbook "{playbook}" is not applied, there is nothing to undo')
            case SetOrdered():
                rest = self.layers
        return Layers(self.version + 1, rest + new)

    def _without_hand(self, switch: str) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if layer.playbook is not None or switch not in layer.settings)

    def _without_playbook(self, playbook: str, *, by_person: bool) -> tuple[Layer, ...]:
        """A person undoes a playbook whoever applied it, a rule only what rules did."""
        return tuple(
            layer for layer in self.layers if layer.playbook != playbook or (layer.rule is None and not by_person)
        )

    def in_force(self, switch: str) -> Layer | None:
        """Return the layer that decides about the switch, or None for the default."""
        naming = [layer for layer in self.layers if switch in layer.settings]
        persons = [layer for layer in naming if layer.rule is None]
        deciding = persons or naming
        return deciding[-1] if deciding else None

    def applied(self, playbook: str) -> Layer | None:
        """Return the layer of the playbook, that of a person rather than that of a rule, or None."""
        found = [layer for layer in self.layers if layer.playbook == playbook]
        return min(found, key=lambda layer: layer.rule is not None, default=None)

    def snapshot(self, registry: Registry) -> Snapshot:
        """Return the value of every switch. What is set for a switch that is no longer in the registry is left out."""
        values = {name: switch.default for name, switch in registry.items()}
        for by_rule in (True, False):
            for layer in self.layers:
                if (layer.rule is not None) is by_rule:
                    values |= {name: value for name, value in layer.settings.items() if name in registry}
        return Snapshot(self.version, values)


class Change(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """A switch whose value an action has changed."""

    switch: str
    before: Value
    after: Value


class Kept(msgspec.Struct, frozen=True):
    """A switch that an action names, but that stays as `set_by` has it."""

    switch: str
    value: Value
    set_by: str


class Effect(msgspec.Struct, frozen=True):
    """What an action does: the layers after it, the values it changes, and those it would if somebody had not them."""

    layers: Layers
    changes: tuple[Change, ...]
    kept: tuple[Kept, ...]


def effect_of(layers: Layers, action: Action, who: str, registry: Registry) -> Effect:
    """Return what the action does. Raises NotInForce if there is nothing to release or undo."""
    after = layers.after(action, who)
    old, new = layers.snapshot(registry).values, after.snapshot(registry).values
    changes = tuple(Change(name, old[name], new[name]) for name in registry if old[name] != new[name])
    # A switch follows the layer that comes or goes only where that layer decides, or decided, about it.
    comes = isinstance(action, SetByHand | Applied)
    concerned = after.layers[-1:] if comes else [gone for gone in layers.layers if not _has(after.layers, gone)]
    deciding = after if comes else layers
    kept = []
    for name in sorted({name for layer in concerned for name in layer.settings} & set(registry)):
        holder = deciding.in_force(name)
        if holder is not None and not _has(concerned, holder):
            kept.append(Kept(name, new[name], holder.holder))
    return Effect(after, changes, tuple(kept))


def _has(layers: Iterable[Layer], wanted: Layer) -> bool:
    return any(layer is wanted for layer in layers)
