"""Who has set what: hands over rules, the newest hand first, and undoing as taking a layer away."""

import random

import pytest

from redrush.core.steering.switch_layers import (
    Action,
    Applied,
    Change,
    Kept,
    Layers,
    NotInForce,
    Released,
    SetByHand,
    Undone,
    effect_of,
)
from redrush.core.steering.switches import Value, pace_of, registry_of

REGISTRY = registry_of([("r1", None)], ["behind"])
PACE = pace_of("r1")
SHARE = "sampling.non_core"
ENDED = "answer_ended"
CALM: dict[str, Value] = {PACE: 10.0, SHARE: 0.5}
TIGHT: dict[str, Value] = {PACE: 1.0}


def after(*actions: Action) -> Layers:
    layers = Layers()
    for action in actions:
        layers = layers.after(action, "rule" if getattr(action, "rule", None) else "ann")
    return layers


def pace(layers: Layers) -> Value:
    return layers.snapshot(REGISTRY).values[PACE]


def test_without_layers_the_defaults_hold() -> None:
    assert Layers().snapshot(REGISTRY).values == {name: switch.default for name, switch in REGISTRY.items()}


@pytest.mark.parametrize(
    ("actions", "value"),
    [
        ([SetByHand(PACE, 5.0)], 5.0),
        ([SetByHand(PACE, 5.0), SetByHand(PACE, 6.0)], 6.0),
        ([SetByHand(PACE, 5.0), Released(PACE)], "off"),
        ([Applied("calm", CALM)], 10.0),
        ([Applied("calm", CALM), Undone("calm")], "off"),
        ([SetByHand(PACE, 5.0), Applied("calm", CALM)], 10.0),
        ([SetByHand(PACE, 5.0), Applied("calm", CALM), Undone("calm")], 5.0),
        ([Applied("calm", CALM), SetByHand(PACE, 5.0)], 5.0),
        ([Applied("calm", CALM), SetByHand(PACE, 5.0), Undone("calm")], 5.0),
        ([Applied("calm", CALM), Applied("tight", TIGHT), Undone("calm")], 1.0),
        ([Applied("calm", CALM), Applied("tight", TIGHT), Undone("tight")], 10.0),
        ([Applied("calm", CALM), Applied("tight", TIGHT), Applied("calm", CALM)], 10.0),
        # a rule has no say where a person has set something
        ([SetByHand(PACE, 5.0), Applied("tight", TIGHT, "behind")], 5.0),
        ([SetByHand(PACE, 5.0), Applied("tight", TIGHT, "behind"), Released(PACE)], 1.0),
        ([Applied("tight", TIGHT, "behind"), SetByHand(PACE, 5.0)], 5.0),
        ([Applied("calm", CALM), Applied("tight", TIGHT, "behind")], 10.0),
        ([Applied("tight", TIGHT, "behind"), Undone("tight", "behind")], "off"),
        ([Applied("tight", TIGHT, "behind"), Undone("tight")], "off"),
        # what a person applies becomes theirs, and a rule that wants the same adds nothing above a hand
        ([Applied("tight", TIGHT, "behind"), SetByHand(PACE, 5.0), Applied("tight", TIGHT)], 1.0),
    ],
)
def test_what_is_in_force(actions: list[Action], value: Value) -> None:
    assert pace(after(*actions)) == value


def test_a_rule_does_not_undo_what_a_person_applied() -> None:
    layers = after(Applied("tight", TIGHT, "behind"), Applied("tight", TIGHT))
    with pytest.raises(NotInForce, match='"tight" is not applied'):
        layers.after(Undone("tight", "behind"), "rule")
    assert pace(layers) == 1.0


def test_there_is_nothing_to_release_or_undo_twice() -> None:
    with pytest.raises(NotInForce, match="is not set by hand"):
        after(SetByHand(PACE, 1.0), Released(PACE), Released(PACE))
    with pytest.raises(NotInForce, match="is not applied"):
        after(Applied("calm", CALM), Undone("calm"), Undone("calm"))
    with pytest.raises(NotInForce, match="is not set by hand"):
        after(Applied("calm", CALM), Released(PACE))


def test_applying_says_what_it_changes_and_what_a_hand_keeps() -> None:
    layers = after(SetByHand(PACE, 5.0))
    effect = effect_of(layers, Applied("calm", CALM, "behind"), "rule behind", REGISTRY)
    assert effect.changes == (Change(SHARE, 1.0, 0.5),)
    assert effect.kept == (Kept(PACE, 5.0, "ann"),)


def test_undoing_says_what_it_brings_back_and_what_somebody_has_set_since() -> None:
    layers = after(SetByHand(PACE, 5.0), Applied("calm", CALM), SetByHand(SHARE, 0.1))
    effect = effect_of(layers, Undone("calm"), "bob", REGISTRY)
    assert effect.changes == (Change(PACE, 10.0, 5.0),)
    assert effect.kept == (Kept(SHARE, 0.1, "ann"),)
    assert [layer.playbook for layer in effect.layers.layers] == [None, None]


def test_a_setting_for_a_switch_that_is_gone_is_kept_and_left_out() -> None:
    layers = after(SetByHand("rules.gone", False), Applied("calm", {**CALM, "rules.gone": False}))
    assert set(layers.snapshot(REGISTRY).values) == set(REGISTRY)
    assert effect_of(layers, Undone("calm"), "ann", REGISTRY).kept == ()


def test_however_actions_are_interleaved_undoing_all_of_them_leaves_the_defaults() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    chance = random.Random(seed)
    layers = Layers()
    for _ in range(2_000):
        rule = chance.choice([None, "behind"])
        actions: list[Action] = [
            SetByHand(chance.choice([PACE, SHARE]), round(chance.random(), 2)),
            Released(chance.choice([PACE, SHARE])),
            Applied(chance.choice(["calm", "tight"]), chance.choice([CALM, TIGHT]), rule),
            Undone(chance.choice(["calm", "tight"]), rule),
        ]
        action = chance.choice(actions)
        try:
            layers = layers.after(action, "somebody")
        except NotInForce:
            continue
        assert len(layers.layers) <= 2 + 2 * 2, "layers are bounded"
        hands = [layer for layer in layers.layers if layer.rule is None and PACE in layer.settings]
        if hands:
            assert pace(layers) == hands[-1].settings[PACE]
    for name in ("calm", "tight"):
        if layers.applied(name) is not None:
            layers = layers.after(Undone(name), "ann")
    for switch in (PACE, SHARE):
        if layers.in_force(switch) is not None:
            layers = layers.after(Released(switch), "ann")
    assert layers.snapshot(REGISTRY).values == Layers().snapshot(REGISTRY).values
