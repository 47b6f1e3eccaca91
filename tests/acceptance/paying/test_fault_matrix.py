"""Ten runs of the fault matrix in `make test`, two hundred in `make soak`, there on a stack too."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.acceptance.paying import stack_matrix
from tests.acceptance.paying.matrix import play


def test_the_books_match_to_the_cent_whatever_went_wrong(tmp_path: Path) -> None:
    asyncio.run(play(tmp_path, seed=20_270_206, runs=10))


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", range(1, 11))
def test_they_match_after_two_hundred_runs(tmp_path: Path, seed: int) -> None:
    asyncio.run(play(tmp_path, seed, runs=20))


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_they_match_on_a_stack_whoever_is_killed(tmp_path: Path) -> None:
    runs = int(os.environ.get("REDRUSH_SOAK_RUNS", "200"))
    killed = stack_matrix.play(tmp_path, seed=int(os.environ.get("REDRUSH_SOAK_SEED", "7")), runs=runs)
    assert runs < 20 or set(killed) == set(stack_matrix.VICTIMS)
