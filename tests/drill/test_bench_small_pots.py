"""The measurement of small pots, with few of them."""

import asyncio
from pathlib import Path

import pytest

from redrush.drill.bench.run import MEASUREMENTS
from redrush.drill.bench.small_pots import SMALL_POTS, STORES, batches_of, claims_per_s, terms_of


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("kind", ["big", "small"])
def test_every_claim_is_granted_on_every_store(name: str, kind: str, tmp_path: Path) -> None:
    assert asyncio.run(claims_per_s(STORES[name], tmp_path, kind, 300, 2_000)) > 0


def test_both_kinds_are_asked_for_as_many_slots_by_as_many_users() -> None:
    big, small = (batches_of(terms_of(kind, 50), 500) for kind in ("big", "small"))
    assert [[claim.user for claim in batch] for batch in big] == [[claim.user for claim in batch] for batch in small]
    assert {claim.pot for batch in small for claim in batch} == {terms.pot for terms in terms_of("small", 50)}
    assert SMALL_POTS in MEASUREMENTS
