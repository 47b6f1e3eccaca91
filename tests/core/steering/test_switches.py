"""The table of switches: what each can be set to, and what is said to who sets it wrongly."""

import pytest

from redrush.core.steering.switches import (
    CLAIMS_WAITING_MAX,
    OFF,
    Snapshot,
    Type,
    Value,
    WrongSetting,
    check_settings,
    enabled_of,
    ended_of,
    pace_of,
    registry_of,
    shown,
    switch_of,
)

REGISTRY = registry_of([("r20", 2_000.0), ("r21", None)], ["behind"])


def test_the_switches_of_an_event_are_those_of_the_campaign_its_rounds_and_its_rules() -> None:
    assert list(REGISTRY) == [
        "answer_ended",
        "flow.store.claims_waiting_max",
        "sampling.non_core",
        "settlement.paused",
        "limits.user_per_second",
        "limits.address_per_second",
        "reporting.dropped",
        "admission.level_floor",
        "admission.level_at_opening",
        "flow.gate.connections_max",
        "flow.settle.grants_per_second_max",
        "clocks.apart_ms_max",
        "notice.zh",
        "notice.en",
        "release.r20.per_second",
        "answer_ended.r20",
        "release.r21.per_second",
        "answer_ended.r21",
        "rules.behind",
    ]
    assert (REGISTRY[pace_of("r20")].default, REGISTRY[pace_of("r21")].default) == (2_000.0, OFF)


@pytest.mark.parametrize("name", REGISTRY)
def test_every_switch_says_what_it_does_and_takes_its_own_default(name: str) -> None:
    switch = REGISTRY[name]
    assert switch.name == name
    assert len(switch.does) > 20
    assert switch.check(switch.default) == switch.default
    assert switch.type is Type.FLAG or switch.least < switch.most


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("answer_ended", True, True),
        ("answer_ended", "on", True),
        ("answer_ended", " False ", False),
        (ended_of("r20"), "yes", True),
        (enabled_of("behind"), "off", False),
        (pace_of("r20"), 0, 0.0),
        (pace_of("r20"), "12.5", 12.5),
        (pace_of("r20"), OFF, OFF),
        (pace_of("r20"), 1e9, 1e9),
        ("sampling.non_core", 1, 1.0),
        ("sampling.non_core", "0", 0.0),
        (CLAIMS_WAITING_MAX, "1", 1.0),
        (CLAIMS_WAITING_MAX, 1_000_000, 1_000_000.0),
        (CLAIMS_WAITING_MAX, OFF, OFF),
        ("notice.en", "  Back at\n20:15. ", "Back at 20:15."),
        ("notice.zh", "系统稍忙，请勿离开", "系统稍忙，请勿离开"),
        ("notice.en", "x" * 200, "x" * 200),
        ("notice.en", "off", OFF),
    ],
)
def test_a_value_is_understood_as_a_person_the_file_or_json_writes_it(name: str, given: object, value: Value) -> None:
    found = REGISTRY[name].check(given)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("answer_ended", 1),
        ("answer_ended", "maybe"),
        ("answer_ended", None),
        (pace_of("r20"), -1),
        (pace_of("r20"), 1e9 + 1),
        (pace_of("r20"), True),
        (pace_of("r20"), "nan"),
        (pace_of("r20"), "inf"),
        (pace_of("r20"), float("nan")),
        (pace_of("r20"), 10**400),
        (pace_of("r20"), "fast"),
        (pace_of("r20"), [1]),
        ("sampling.non_core", 1.01),
        ("sampling.non_core", OFF),
        (CLAIMS_WAITING_MAX, 0),
        (CLAIMS_WAITING_MAX, 1.5),
        ("notice.en", "x" * 201),
        ("notice.en", " \n "),
        ("notice.en", ""),
        ("notice.en", "\u202egpj.exe"),
        ("notice.en", True),
        ("notice.en", 5),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(name: str, given: object) -> None:
    with pytest.raises(WrongSetting) as refused:
        REGISTRY[name].check(given)
    assert str(refused.value).startswith(f'"{name}" cannot be ')
    assert str(refused.value).endswith(f": set it to {REGISTRY[name].accepts}")
    assert len(str(refused.value)) < 300


def test_a_wrong_name_is_answered_with_names_like_it() -> None:
    with pytest.raises(WrongSetting, match=r"there are release\.r20\.per_second, release\.r21\.per_second$"):
        switch_of(REGISTRY, "release.r22.per_second")
    with pytest.raises(WrongSetting, match=r"there are answer_ended, .*, …$"):
        check_settings(REGISTRY, {"answer_ended": True, "nothing": 1})


def test_a_snapshot_is_read_by_type() -> None:
    snapshot = Snapshot(3, {"flag": True, "pace": 5.0, "off": OFF})
    assert (snapshot.flag("flag"), snapshot.number("pace"), snapshot.number("off")) == (True, 5.0, None)
    told = Snapshot(4, {"said": "hello", "off": OFF})
    assert (told.text("said"), told.text("off"), told.text("of another version")) == ("hello", None, None)


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (5.0, "5"), (1e9, "1000000000"), (OFF, "off")])
def test_a_value_is_shown_as_a_person_would_write_it(value: object, text: str) -> None:
    assert shown(value) == text
