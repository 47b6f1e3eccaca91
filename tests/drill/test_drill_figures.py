"""From made-up observations to the figures of drills: each figure moves with what it is to show, and with nothing
else."""

import numpy as np
import pytest

from redrush.drill import hot_user
from redrush.drill.beside import Windows, compare
from redrush.drill.crowd import CrowdResult
from redrush.drill.observations import Ending, ObservationColumns
from redrush.drill.overload import AFTER, CALM, PEAK, USUAL, WAVE, Part, Shape, figures, verdicts
from redrush.drill.overload_figures import Leg, Span, accepted_ms, goodput_per_s, late_ms, offered_per_s, plots_of
from redrush.drill.schedules import independent
from redrush.drill.server_watch import Sample, ServerWatch

Row = tuple[float, float, float, Ending]
"""(planned, late, from the send to the end, how) of one person's only request."""


def watch_of(*samples: tuple[float, int]) -> ServerWatch:
    watch = ServerWatch(0, "http://127.0.0.1:1", 0.0)
    watch.samples = [Sample(at_s, resident, {"redrush_parked": at_s}) for at_s, resident in samples]
    return watch


def leg(rows: list[Row], *spans: Span, watch: ServerWatch | None = None) -> Leg:
    columns = ObservationColumns(len(rows))
    for user, (planned_s, late_s, took_s, ending) in enumerate(rows):
        status = 503 if ending is Ending.REFUSED else 200
        columns.add(planned_s, late_s + took_s, late_s, status, ending, 0, False, user)
    result = CrowdResult(
        rounds=("r1",), observations=columns.finish(), acknowledged=[], breaches={}, connections=1, reconnects=0,
        given_up=0, held_back=0, starts_us=0,
    )  # fmt: skip
    return Leg(spans, np.array([row[0] for row in rows]), result, watch or watch_of((0.0, 100)))


def people(from_s: float, to_s: float, per_s: int, took_s: float = 0.01, ending: Ending = Ending.GRANTED) -> list[Row]:
    return [(from_s + k / per_s, 0.0, took_s, ending) for k in range(round((to_s - from_s) * per_s))]


SPANS = (Span(CALM, 50, 1.0), Span(WAVE, 1_000, 2.0), Span(AFTER, 50, 3.0))


def rush(
    *,
    got_ms: float = 20,
    refused_ms: float = 20,
    got_per_s: int = 95,
    normal_from_s: float = 3.0,
    ill: Ending | None = None,
    memory: int = 120,
) -> Leg:
    rows = people(0, 1, 50) + people(1, 3, got_per_s, got_ms / 1e3)
    rows += people(1, 3, 1_000 - got_per_s, refused_ms / 1e3, Ending.REFUSED)
    rows += people(3, normal_from_s, 50, 0.3) + people(normal_from_s, 6, 50)
    if ill is not None:
        rows.append((2.0, 0.0, 0.01, ill))
    return leg(rows, *SPANS, watch=watch_of((0.5, 100), (2.0, memory)))


def part(rush_: Leg, store_per_s: float = 105.0) -> Part:
    before = leg(people(0, 1, 50, 0.009) + people(1, 2, 100), Span(USUAL, 50, 1.0), Span(PEAK, 130, 1.0))
    return Part("store", before, rush_, Shape(store_per_s=store_per_s), ())


def failing(rush_: Leg) -> set[str]:
    return {verdict.name.removeprefix("store: ") for verdict in verdicts(part(rush_)) if not verdict.holds}


def test_a_rush_in_which_all_is_well_meets_every_bar() -> None:
    assert failing(rush()) == set()
    assert part(rush()).peak_per_s == pytest.approx(100, rel=0.03)


@pytest.mark.parametrize(
    ("seen", "fails"),
    [
        (rush(got_per_s=80), {"goodput"}),
        (rush(got_ms=60), {"accepted p99"}),  # more than 50 ms
        (rush(got_ms=28), {"accepted p99"}),  # more than three times 9 ms
        (rush(refused_ms=60), {"rejects p99"}),
        (rush(normal_from_s=4.3), {"normal again"}),
        (rush(ill=Ending.MALFORMED), {"well-formed"}),
        (rush(ill=Ending.TIMEOUT), {"well-formed"}),
        (rush(ill=Ending.LOST), set()),  # a closed connection, which clients turn into "please wait"; it is counted
        (rush(memory=131), {"memory"}),
    ],
)
def test_each_bar_is_missed_by_what_it_is_about(seen: Leg, fails: set[str]) -> None:
    assert failing(seen) == fails


def test_a_gate_that_turns_away_whom_its_store_could_serve_has_no_peak() -> None:
    found = verdicts(part(rush(), store_per_s=120.0))
    assert [verdict.name for verdict in found if not verdict.holds] == ["store: peak"]


def test_a_wave_that_the_generator_could_not_send_is_not_judged_as_one() -> None:
    rows = people(0, 1, 50) + people(1, 3, 95) + people(1, 3, 905, 0.01, Ending.REFUSED)
    late = [(planned, 3.0 if planned >= 2.8 else 0.0, took, ending) for planned, _, took, ending in rows]
    assert "offered" in failing(leg(late + people(3, 6, 50), *SPANS, watch=watch_of((0.5, 100), (2.0, 100))))


def test_what_the_generator_was_late_is_no_latency_of_the_server_and_is_told() -> None:
    seen = leg([(0.5, 0.3, 0.01, Ending.GRANTED)], Span(WAVE, 1, 1.0))
    assert accepted_ms(seen, WAVE, 0.99) == pytest.approx(10.0)
    assert late_ms(seen, WAVE) == pytest.approx(300.0)
    assert offered_per_s(seen, WAVE) == goodput_per_s(seen, WAVE) == 1.0


def test_the_figures_and_plots_of_a_part_are_those_of_its_spans() -> None:
    found = figures(part(rush()))
    assert found["store_memory_ratio"] == 1.2
    assert found["store_goodput_per_s"] == pytest.approx(95, rel=0.03)
    assert found["store_wave_rejected_p99_ms"] == pytest.approx(20.0)
    plots = plots_of(rush(), "Store", WAVE, 100.0, "redrush_level")
    assert [plot.unit for plot in plots] == ["per second", "per second", "milliseconds", "claims", "level"]
    assert {len(values) for plot in plots for values in plot.series.values()} == {60}
    assert plots[0].broken == ((1.0, 3.0),)


def test_windows_are_compared_in_pairs_and_a_stall_of_the_machine_spoils_one() -> None:
    windows = Windows(pairs=3, window_s=10.0, skip_s=1.0, settle_s=5.0, leave_s=0.5)
    sent_s = np.arange(0.0, windows.lasts_s, 0.01)
    latency_s = np.full(len(sent_s), 0.004)
    beside = np.array([windows.is_beside(now_s) for now_s in sent_s])
    latency_s[beside] *= 1.5
    latency_s[(sent_s >= 5) & (sent_s < 15)] *= 10  # the machine stalls in the first window without it
    latency_s[(sent_s >= 15) & (sent_s < 15.9)] = 9.0  # while it comes nothing counts
    latency_s[(sent_s >= 24.6) & (sent_s < 25)] = 9.0  # nor while it goes
    found = compare(windows, sent_s, latency_s)
    assert found.ratio == pytest.approx(1.5)
    assert found.spread == pytest.approx(10.0)
    assert found.beside_ms == pytest.approx([6.0] * 3)


def test_a_window_that_nobody_came_to_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="nobody was answered"):
        compare(Windows(pairs=1, window_s=1.0, skip_s=0.0, settle_s=0.0), np.array([0.5]), np.array([0.1]))


def test_the_hot_user_asks_in_every_second_window_and_the_others_once_in_each_round() -> None:
    shape = hot_user.Shape()
    schedule = hot_user.schedule_of(shape)
    hot = schedule.users == shape.users
    assert all(shape.windows.is_beside(float(now_s)) for now_s in schedule.times_s[hot])
    assert hot.sum() == shape.hot_per_s * shape.windows.window_s * shape.windows.pairs
    asked = schedule.users[~hot].astype(np.int64) + shape.users * schedule.rounds[~hot].astype(np.int64)
    assert len(np.unique(asked)) == len(asked)
    assert int(schedule.rounds.max()) < len(shape.rounds)


def test_independent_people_come_in_order_of_time_at_their_rate_and_not_evenly() -> None:
    seed = 7
    times_s = independent(1_000.0, 20.0, seed=seed)
    assert len(times_s) == pytest.approx(20_000, rel=0.05), f"seed {seed}"
    gaps_s = np.diff(times_s)
    assert gaps_s.min() >= 0
    assert float(gaps_s.std() / gaps_s.mean()) == pytest.approx(1.0, abs=0.1), f"seed {seed}"
    assert 0 <= times_s[0] < times_s[-1] < 20.0
    assert times_s.tolist() == independent(1_000.0, 20.0, seed=seed).tolist()
    with pytest.raises(ValueError, match="positive"):
        independent(0.0, 1.0, seed=seed)


def test_a_watch_tells_the_most_memory_of_a_span_and_the_last_value_of_each_bucket() -> None:
    watch = watch_of((0.5, 100), (1.5, 300), (2.5, 200))
    assert watch.resident_max(0.0, 1.0) == 100
    assert watch.resident_max(1.0, 9.0) == 300
    assert watch.resident_max(5.0, 9.0) == 0
    found = watch.series("redrush_parked", np.array([0.0, 0.4, 1.0, 2.0, 3.0]))
    assert np.isnan(found[0])
    assert found[1:] == [0.5, 1.5, 2.5]
    assert np.isnan(watch.series("no_such_metric", np.array([0.0, 9.0]))).all()
