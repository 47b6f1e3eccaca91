"""The auditor of a draw: what the crowd was told against what was written down, and each against the sealed key.

It shares no code with what it audits: lots, intervals and release instants are worked out here once more, from the
seed in `campaign.json`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.drill.audit import Verdict, none_wrong

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ALL_LOTS: Final = 2**64


class Told(msgspec.Struct, frozen=True):
    """One answer to a play: when, µs since the epoch, and the grant as the gate told it, None for a miss."""

    user: str
    play: int
    at_us: int
    grant: dict[str, Any] | None


class SealedDraw:
    """The draw of a data directory, as an outsider reads it."""

    def __init__(self, data_dir: Path, round_id: str) -> None:
        sealed = json.loads((data_dir / "campaign.json").read_bytes())
        rounds = sorted(sealed["campaign"]["rounds"], key=lambda entry: entry["slots"][0])
        index = next(number for number, entry in enumerate(rounds) if entry["id"] == round_id)
        self.entry = rounds[index]
        self.prizes: list[dict[str, Any]] = self.entry["draw"]["prizes"]
        floor = self.entry["draw"].get("floor") or {}
        self.led_to = {prize.get("otherwise") for prize in self.prizes} | {floor.get("prize")}
        """Prizes that plays get for another reason than their own odds or release."""
        seed = hashlib.blake2b(
            bytes.fromhex(sealed["seed"]), person=b"round", salt=index.to_bytes(8, "little")
        ).digest()
        self._key = hashlib.blake2b(seed, person=b"redrush.draw", digest_size=32).digest()

    def lot(self, text: str) -> int:
        """Return the 64 bits that are drawn for a text."""
        return int.from_bytes(
            hashlib.blake2b(text.encode(), key=self._key, digest_size=8, person=b"redrush.draw").digest(), "big"
        )

    def prize_of(self, user: str, play: int) -> str | None:
        """Return the prize whose odds the play hits."""
        lot, at = self.lot(f"{play}~{user}"), 0
        for prize in self.prizes:
            if "odds" in prize:
                above, below = prize["odds"]
                width = _ALL_LOTS * above // below
                if at <= lot < at + width:
                    return str(prize["id"])
                at += width
        return None

    def released_us(self, prize: Mapping[str, Any], number: int) -> float | None:
        """Return when the slot of that number, from 0, is released; None if the prize has odds."""
        opens_us, span_us = self.entry["opens_us"], self.entry["closes_us"] - self.entry["opens_us"]
        if prize.get("spread"):
            part = (number * _ALL_LOTS + self.lot(f"release~{prize['id']}~{number}")) * span_us
            return float(opens_us + part // (prize["count"] * _ALL_LOTS))
        if prize.get("per_second") is not None:
            return float(opens_us + (number + 1) / prize["per_second"] * 1e6)
        return None


def audit_draw(told: Sequence[Told], exported: Sequence[Mapping[str, Any]], sealed: SealedDraw) -> tuple[Verdict, ...]:
    """Return the verdicts, in order of how bad a failure would be."""
    written = {row["grant"]: (row["user"], row["prize"], row["slot"]) for row in exported}
    heard = [(one, one.grant) for one in told if one.grant is not None]
    lost = [g["id"] for one, g in heard if written.get(g["id"]) != (one.user, g["prize"], g["slot"])]
    per_prize = Counter(row["prize"] for row in exported)
    per_user = Counter((row["prize"], row["user"]) for row in exported)
    beyond = [str(p["id"]) for p in sealed.prizes if per_prize[p["id"]] > p["count"]]
    beyond += [slot for slot, times in Counter(str(row["slot"]) for row in exported).items() if times > 1]
    limits = {p["id"]: p.get("limit_per_user", 1) for p in sealed.prizes}
    over = [f"{user}: {prize}" for (prize, user), times in per_user.items() if times > limits[prize]]
    return (
        none_wrong("lost", lost, "{wrong} of {all} grants that were told", len(heard)),
        none_wrong("oversold", beyond, "{wrong} of {all} grants beyond a stock, or of a slot twice", len(exported)),
        none_wrong("limits", over, "{wrong} of {all} grants beyond what a person may have", len(exported)),
        none_wrong("one prize a play", list(_two_prizes(told)), "{wrong} of {all} plays with two prizes", len(told)),
        none_wrong("lots", list(_wrong_lots(told, sealed)), "{wrong} of {all} answers that the key denies", len(told)),
        none_wrong(
            "release", list(_early(exported, sealed)), "{wrong} of {all} grants before their release", len(exported)
        ),
    )


def _two_prizes(told: Sequence[Told]) -> Iterator[str]:
    first: dict[tuple[str, int], str] = {}
    for one in told:
        if one.grant is not None and first.setdefault((one.user, one.play), one.grant["id"]) != one.grant["id"]:
            yield f"{one.user} {one.play}"


def _wrong_lots(told: Sequence[Told], sealed: SealedDraw) -> Iterator[str]:
    """A play that hits a prize is told it, unless that is gone, or the user has as many as one may; and no other play
    is told a prize with odds that nothing leads to."""
    by_id = {prize["id"]: prize for prize in sealed.prizes}
    granted = Counter(one.grant["prize"] for one in told if one.grant is not None)
    for one in told:
        hit = sealed.prize_of(one.user, one.play)
        prize = None if one.grant is None else one.grant["prize"]
        if prize == hit:
            continue
        if hit is None and prize is not None and "odds" in by_id[prize] and prize not in sealed.led_to:
            yield f"{one.user} {one.play} was told {prize}"
        if hit is not None and prize is None and granted[hit] == 0:
            yield f"{one.user} {one.play} missed {hit}"


def _early(exported: Sequence[Mapping[str, Any]], sealed: SealedDraw) -> Iterator[str]:
    for prize in (prize for prize in sealed.prizes if prize["id"] not in sealed.led_to):
        at_us = sorted(_us(row["granted_at"]) for row in exported if row["prize"] == prize["id"])
        for number, instant_us in enumerate(at_us):
            released_us = sealed.released_us(prize, number)
            if released_us is not None and instant_us < released_us - 1:
                yield f"{prize['id']} {number}"


def _us(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
