"""What a crowd needs is the rule of docs/how-to/sizing.md, figure for figure."""

from pathlib import Path

import pytest

from redrush.core.load.capacity import GATE_REQUESTS_PER_S, need_of

SIZING = (Path(__file__).parents[3] / "docs/how-to/sizing.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("people", "window_ms", "requests_per_s", "gates"),
    [(2_000, 1_000, 6_000, 1), (100_000, 1_000, 300_000, 12), (500_000, 10_000, 150_000, 6),
     (5_000_000, 10_000, 1_500_000, 60), (0, 1_000, 0, 1), (1, 60_000, 1, 1), (2_000, 0, 6_000, 1)],
)  # fmt: skip
def test_a_crowd_needs_what_the_page_says(people: int, window_ms: int, requests_per_s: int, gates: int) -> None:
    need = need_of(people, window_ms)
    assert (need.requests_per_s, need.gates, need.connections) == (requests_per_s, gates, people)


def test_the_page_says_the_same_figures() -> None:
    assert f"plan with **half** of that, {GATE_REQUESTS_PER_S:,}" in SIZING
    for row in ("6,000 |", "300,000 | 12 |", "150,000 | 6 |", "1,500,000 | 60 |"):
        assert row in SIZING
    assert "The peak is people ÷ seconds × 3" in SIZING
