"""Ten runs of the fault matrix in `make test`, two hundred in `make soak`."""

import asyncio
from pathlib import Path

import pytest

from tests.acceptance.paying.matrix import play


def test_the_books_match_to_the_cent_whatever_went_wrong(tmp_path: Path) -> None:
    asyncio.run(play(tmp_path, seed=20_270_206, runs=10))


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", range(1, 11))
def test_they_match_after_two_hundred_runs(tmp_path: Path, seed: int) -> None:
    asyncio.run(play(tmp_path, seed, runs=20))
