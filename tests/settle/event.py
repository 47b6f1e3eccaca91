"""A small event, made as the engine makes it, for settlement tests to record, close, break and reconcile."""

import hashlib
from array import array
from collections.abc import Iterable
from pathlib import Path

import msgspec

from redrush.core.rush.campaign import RETURNED_POT, Campaign, Kind, Leftover, Round, Slots
from redrush.ports.store import PotTerms, Store, claims_of

OPENS_US = 1_800_000_000_000_000
SECOND_US = 1_000_000


def campaign_of(
    *slot_counts: int, leftover: Iterable[Leftover] | None = None, lasts_s: int = 60
) -> tuple[Campaign, "array[int]"]:
    """Return a campaign with rounds r1, r2, … one after the other, and amounts of 1, 2, 3, … minor units by slot."""
    amounts = array("q", range(1, sum(slot_counts) + 1))
    policies = list(leftover) if leftover else [Leftover.NEXT] * len(slot_counts)
    rounds = []
    first = 0
    for number, (count, policy) in enumerate(zip(slot_counts, policies, strict=True)):
        opens_us = OPENS_US + number * lasts_s * SECOND_US
        rounds.append(
            Round(
                id=f"r{number + 1}",
                opens_us=opens_us,
                closes_us=opens_us + lasts_s * SECOND_US,
                kind=Kind.LUCKY,
                total_minor=sum(amounts[first : first + count]),
                min_minor=1,
                max_minor=len(amounts),
                slots=Slots(first, count),
                leftover=policy,
            )
        )
        first += count
    return Campaign(id="cny", name="CNY", currency="CNY", rounds=tuple(rounds)), amounts


def write_terms(data_dir: Path, campaign: Campaign, amounts: "array[int]") -> None:
    """Write what a sealed campaign leaves in its data directory."""
    raw = amounts.tobytes()
    sealed = {"version": 1, "campaign": campaign, "seed": "00", "amounts_sha256": hashlib.sha256(raw).hexdigest()}
    (data_dir / "campaign.json").write_bytes(msgspec.json.encode(sealed))
    (data_dir / "amounts.i64").write_bytes(raw)


async def open_pots(store: Store, campaign: Campaign) -> None:
    for round_ in campaign.rounds:
        await store.open([PotTerms(round_.id, round_.slots)])
    await store.open([PotTerms(RETURNED_POT, Slots(0, 0))])


async def rush(store: Store, round_: Round, users: int, *, batch: int = 50, prefix: str = "u") -> None:
    """Let `users` users claim in batches, a microsecond apart, from the opening on."""
    for number, first in enumerate(range(0, users, batch)):
        names = [f"{prefix}{user}" for user in range(first, min(first + batch, users))]
        await store.claim(claims_of(round_.id, names), round_.opens_us + number)
