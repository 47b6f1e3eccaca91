"""Verdicts, pairs and turns of the benchmark: pure arithmetic."""

import pytest

from redrush.drill.bench.figures import Better, Figure, Result, Unit, Verdict, judge, pairwise, turns


def figure(better: Better, bar: float, aim: float | None) -> Figure:
    return Figure(name="f", title="a figure", unit=Unit.RATIO, better=better, bar=bar, aim=aim)


@pytest.mark.parametrize(
    ("better", "bar", "aim", "value", "verdict"),
    [
        (Better.HIGHER, 0.7, 0.9, 0.95, Verdict.AIM),
        (Better.HIGHER, 0.7, 0.9, 0.90, Verdict.AIM),
        (Better.HIGHER, 0.7, 0.9, 0.89, Verdict.BAR),
        (Better.HIGHER, 0.7, 0.9, 0.70, Verdict.BAR),
        (Better.HIGHER, 0.7, 0.9, 0.69, Verdict.MISSED),
        (Better.LOWER, 3.0, 2.0, 1.90, Verdict.AIM),
        (Better.LOWER, 3.0, 2.0, 2.00, Verdict.AIM),
        (Better.LOWER, 3.0, 2.0, 2.10, Verdict.BAR),
        (Better.LOWER, 3.0, 2.0, 3.00, Verdict.BAR),
        (Better.LOWER, 3.0, 2.0, 3.01, Verdict.MISSED),
        (Better.LOWER, 20.0, None, 1.0, Verdict.BAR),
        (Better.LOWER, 20.0, None, -3.0, Verdict.BAR),
        (Better.LOWER, 20.0, None, None, Verdict.NOT_MEASURED),
    ],
)
def test_a_value_is_judged_by_bar_and_aim(
    better: Better, bar: float, aim: float | None, value: float | None, verdict: Verdict
) -> None:
    assert judge(figure(better, bar, aim), value) is verdict


def test_only_a_reached_bar_passes() -> None:
    assert [verdict for verdict in Verdict if verdict.passed] == [Verdict.AIM, Verdict.BAR]


def test_a_result_is_the_median_of_its_samples() -> None:
    result = Result(figure=figure(Better.HIGHER, 0.7, 0.9), samples=(0.1, 0.8, 0.75, 5.0, 0.2))
    assert result.value == 0.75
    assert result.verdict is Verdict.BAR


def test_a_result_without_samples_is_not_measured() -> None:
    result = Result(figure=figure(Better.LOWER, 3.0, 2.0), reason="no disk")
    assert result.value is None
    assert result.verdict is Verdict.NOT_MEASURED


def test_ratios_are_taken_pair_by_pair() -> None:
    # A machine that halves its speed between the first pair and the second changes no ratio.
    assert pairwise([80.0, 40.0], [100.0, 50.0]) == (0.8, 0.8)


@pytest.mark.parametrize(("ours", "theirs"), [([1.0], [0.0]), ([1.0, 2.0], [1.0])])
def test_a_pair_that_is_none_is_refused(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match=r"peer|argument"):
        pairwise(ours, theirs)


def test_contenders_take_turns_and_nobody_is_always_first() -> None:
    assert turns(["a", "b", "c"], 3) == ["a", "b", "c", "c", "b", "a", "a", "b", "c"]
