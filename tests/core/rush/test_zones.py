from datetime import datetime

import pytest

from redrush.core.rush.zones import NoSuchZone, local_text, parse_zone, zone_of_offset

AT_US = 1_801_915_200_123_456  # 2027-02-06T12:00:00.123456Z


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
