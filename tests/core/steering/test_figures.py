"""The table of figures: every name once, every reading of rules a row, and what rules read made of the rows."""

import re

from redrush.core.load.histogram import Histogram
from redrush.core.roles import ROLES
from redrush.core.steering import figures
from redrush.core.steering.figure import EMBEDDED, Kind, readings_of
from redrush.core.steering.figures import FIGURES, QUANTILE_OF, Interface
from redrush.core.steering.quantiles import LatelyTook
from redrush.core.steering.rules import READINGS


def test_every_name_is_there_once() -> None:
    names = [row.name for row in FIGURES]
    readings = [row.reading for row in FIGURES if row.reading is not None]
    assert len(names) == len(set(names))
    assert len(readings) == len(set(readings))
    assert list(READINGS) == readings


def test_every_row_is_of_roles_that_there_are_and_says_what_it_is() -> None:
    known = {EMBEDDED, *(row.name for row in ROLES)}
    for row in FIGURES:
        assert row.roles
        assert set(row.roles) <= known, row.name
        assert re.match(r"[A-Zp]", row.help), row.name


def test_names_follow_the_rules_of_metrics() -> None:
    for row in FIGURES:
        if row.kind is Kind.WINDOW:
            assert re.fullmatch(r"[a-z]+\.[a-z0-9_]+", row.name)
            assert (row.reading, row.labels) == (row.name, ())
        else:
            assert re.fullmatch(r"redrush_[a-z_]+", row.name)
            assert not row.name.endswith("_total")
            assert row.name.endswith("_seconds") is (row.unit == "seconds"), row.name


def test_rules_read_the_greatest_of_a_figure_in_their_own_unit() -> None:
    values = [figures.QUEUEING(0.25, "s1"), figures.QUEUEING(0.5, "s2"), figures.SET_PARKED(7, "s1")]
    assert readings_of(values) == {"gate.queueing_ms": 500.0}


def test_what_answers_took_lately_is_that_of_the_last_whole_second() -> None:
    times, now_s = Histogram(), [0.0]
    took = LatelyTook(lambda: {Interface.GRAB: times}, lambda: now_s[0])
    times.add(900, 99)
    times.add(500_000)
    assert took() == []
    now_s[0] = 1.0
    lately = readings_of(took())
    assert set(lately) == {"grab.p50_ms", "grab.p99_ms"}
    assert 0.512 <= lately["grab.p50_ms"] <= 1.024
    times.add(500_000, 100)
    now_s[0] = 1.5
    assert readings_of(took()) == lately
    now_s[0] = 2.0
    assert 262 <= readings_of(took())["grab.p50_ms"] <= 525
    now_s[0] = 3.0
    assert readings_of(took())["grab.p99_ms"] == 0.0


def test_each_interface_has_its_quantiles() -> None:
    assert {f"{interface}.{name}_ms" for interface in Interface for name in ("p50", "p99")} <= READINGS.keys()
    assert len(QUANTILE_OF) == 2 * len(Interface)
