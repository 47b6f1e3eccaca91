"""The winners' filter: never wrong about a winner, seldom about a loser."""

import random

import pytest

from redrush.gate.knowledge import winners
from redrush.gate.knowledge.winners import WinnersFilter

SEED = 20270206


@pytest.mark.parametrize("packets", [0, 1, 7, 20_000])
def test_every_winner_is_found_and_few_losers_are(packets: int) -> None:
    rng = random.Random(SEED)
    found = WinnersFilter(packets)
    assert "anybody" not in found
    won = [f"user{rng.randrange(10**12)}" for _ in range(packets)]
    for start in range(0, packets, 64):
        found.add(won[start : start + 64])
    assert all(user in found for user in won), SEED
    lost = [f"loser{number}" for number in range(20_000)]
    assert sum(user in found for user in lost) < 0.02 * len(lost) + 1


def test_more_winners_than_expected_make_it_less_sharp_and_not_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winners, "CELLS_MAX", 1 << 10)
    found = WinnersFilter(1_000_000)
    won = [f"user{number}" for number in range(5_000)]
    found.add(won)
    assert all(user in found for user in won)
    assert len(found._cells) == 1 << 10
