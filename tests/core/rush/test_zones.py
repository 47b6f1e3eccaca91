from datetime import UTC, datetime, timedelta

import pytest

from redrush.core.rush.zones import NoSuchZone, local_text, offsets_of, parse_zone, zone_of_offset

AT_US = 1_801_915_200_123_456  # 2027-02-06T12:00:00.123456Z
FROM_S = AT_US // 1_000_000


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("UTC", "2027-02-06 12:00:00 UTC"),
        ("+08:00", "2027-02-06 20:00:00 +08:00"),
        ("Asia/Shanghai", "2027-02-06 20:00:00 +08:00"),
        ("-03:30", "2027-02-06 08:30:00 -03:30"),
        ("America/New_York", "2027-02-06 07:00:00 -05:00"),
    ],
)
def test_an_instant_is_read_on_the_clocks_of_a_zone(zone: str, text: str) -> None:
    assert local_text(AT_US, parse_zone(zone)) == text


@pytest.mark.parametrize("wrong", ["", "Beijing", "+8", "+08:60", "+99:00", "../etc/passwd", "Asia", "\0"])
def test_what_is_no_zone_is_told_with_what_would_be(wrong: str) -> None:
    with pytest.raises(NoSuchZone, match=r'write "\+08:00"'):
        parse_zone(wrong)


@pytest.mark.parametrize(
    ("written", "zone"),
    [
        ("2027-02-06T20:00:00+08:00", "+08:00"),
        ("2027-02-06T12:00:00+00:00", "UTC"),
        ("2027-01-01T00:00:00-03:30", "-03:30"),
    ],
)
def test_the_zone_of_an_instant_is_the_offset_that_it_was_written_with(written: str, zone: str) -> None:
    assert zone_of_offset(datetime.fromisoformat(written)) == zone


@pytest.mark.parametrize(
    "name", ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Shanghai", "+08:00"]
)
def test_the_clocks_of_a_zone_are_told_with_the_second_of_each_change(name: str) -> None:
    zone, until_s = parse_zone(name), FROM_S + 2 * 366 * 86_400
    told = offsets_of(zone, FROM_S, until_s)
    for at_s in range(FROM_S, until_s, 1_800):
        minutes = next(ahead for since_s, ahead in reversed(told) if since_s <= at_s)
        assert datetime.fromtimestamp(at_s, zone).utcoffset() == timedelta(minutes=minutes)
    for since_s, _ in told[1:]:
        assert (
            datetime.fromtimestamp(since_s - 1, zone).utcoffset() != datetime.fromtimestamp(since_s, zone).utcoffset()
        )


def test_the_changes_of_berlin_are_those_that_people_of_berlin_know() -> None:
    told = offsets_of(parse_zone("Europe/Berlin"), FROM_S, FROM_S + 366 * 86_400)
    assert [(str(datetime.fromtimestamp(since_s, UTC))[:16], ahead) for since_s, ahead in told] == [
        ("2027-02-06 12:00", 60),
        ("2027-03-28 01:00", 120),
        ("2027-10-31 01:00", 60),
    ]
