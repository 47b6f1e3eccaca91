import pytest

from redrush.core.rush.campaign import RETURNED_POT, Campaign, Kind, Leftover, Round, Slots
from redrush.core.rush.leftover import carried_in, destination, sweep_id, transfer_id


def a_round(round_id: str, opens_us: int, closes_us: int, leftover: Leftover = Leftover.NEXT) -> Round:
    return Round(
        id=round_id,
        opens_us=opens_us,
        closes_us=closes_us,
        kind=Kind.EQUAL,
        total_minor=10,
        min_minor=1,
        max_minor=1,
        slots=Slots(0, 10),
        leftover=leftover,
    )


CAMPAIGN = Campaign(
    id="c",
    name="C",
    currency="CNY",
    rounds=(
        a_round("long", 100, 400),
        a_round("short", 150, 200),
        a_round("third", 300, 500),
        a_round("kept", 600, 700, Leftover.RETURN),
        a_round("last", 800, 900),
    ),
)


BESIDE = Campaign(
    id="b",
    name="B",
    currency="CNY",
    rounds=(
        a_round("first", 100, 150),
        a_round("day", 100, 400),
        a_round("hour", 100, 200),
        a_round("hours", 100, 300),
    ),
)


@pytest.mark.parametrize(
    ("closed", "pot"),
    [
        ("first", "day"),
        ("hour", "hours"),  # rounds that stand after it go first
        ("hours", "day"),  # none after it, but one before it is still open
        ("day", RETURNED_POT),
    ],
)
def test_leftover_goes_to_a_round_that_is_still_open_if_no_other_comes(closed: str, pot: str) -> None:
    round_ = BESIDE.round(closed)
    assert round_ is not None
    assert destination(BESIDE, round_.pots[0], round_.closes_us) == pot


def test_a_set_that_was_added_later_gives_to_no_round_that_it_does_not_serve() -> None:
    hours = BESIDE.rounds[3]
    assert destination(BESIDE, hours.pots[0], hours.closes_us, {"hour", "hours"}.__contains__) == RETURNED_POT


@pytest.mark.parametrize(
    ("closed", "now_us", "pot"),
    [
        pytest.param("short", 200, "third", id="the next round, though it is not open yet"),
        pytest.param("long", 400, "third", id="past a round that opened later and closed earlier"),
        pytest.param("short", 499, "third", id="a round may take it until its last microsecond"),
        pytest.param("short", 500, "kept", id="a round that closes at this instant takes nothing"),
        pytest.param("third", 750, "last", id="late, the first that is still to close"),
        pytest.param("third", 900, RETURNED_POT, id="too late for every round"),
        pytest.param("kept", 700, RETURNED_POT, id="returned, because the round says so"),
        pytest.param("last", 900, RETURNED_POT, id="returned, because nothing comes after"),
    ],
)
def test_leftover_goes_to(closed: str, now_us: int, pot: str) -> None:
    round_ = CAMPAIGN.round(closed)
    assert round_ is not None
    assert destination(CAMPAIGN, round_.pots[0], now_us) == pot


@pytest.mark.parametrize(
    ("now_us", "carried"),
    [
        pytest.param(149, {}, id="before any has closed"),
        pytest.param(150, {"day": 7}, id="to the round beside it that is open"),
        pytest.param(200, {"day": 7, "hours": 4}, id="past one that is over"),
        pytest.param(400, {"day": 7 + 14, "hours": 4}, id="what was carried in is carried on"),
    ],
)
def test_what_a_round_got_comes_from_those_that_really_passed_it_on(now_us: int, carried: dict[str, int]) -> None:
    granted = {"first": 3, "hour": 6, "hours": 0}
    assert carried_in(BESIDE, granted, now_us) == {"first": 0, "day": 0, "hour": 0, "hours": 0, **carried}


def test_what_returns_to_the_sponsor_is_carried_into_no_round() -> None:
    carried = carried_in(CAMPAIGN, {"long": 10, "short": 10, "third": 9}, 10_000)
    assert carried == {"long": 0, "short": 0, "third": 0, "kept": 1, "last": 0}


def test_a_transfer_has_one_id_for_ever() -> None:
    assert transfer_id(CAMPAIGN.pots[0]) == "leftover:long"


def test_every_sweep_of_every_set_has_an_id_of_its_own() -> None:
    ids = {sweep_id(pot, set_id, sweep) for pot in CAMPAIGN.pots for set_id in ("s1", "s2") for sweep in (0, 1)}
    assert len(ids) == 4 * len(CAMPAIGN.rounds)
    assert "leftover:long:s1:0" in ids
