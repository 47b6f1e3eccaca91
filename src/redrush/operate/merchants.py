"""Proving what a payments file says of merchants, without moving anything.

Whoever moves money is asked for a number that nobody has ever used: that needs every key and number of the merchant,
and the answer is signed. A shop has no question that is only one; whether its address answers can be seen, whether it
knows our key only an order shows.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from redrush.config import PaymentsFile, ProviderSpec
from redrush.core.load.pace import USED_SHARE
from redrush.core.money.numbers import bill_number
from redrush.http.fetch import Fetcher, Unfetched
from redrush.ports.provider import PayInState, PayOutState, Unknown
from redrush.wiring.providers import Connected, connected

NOBODYS: Final = bill_number("check", "redrush check")
"""A number that no bill ever has."""

REACH_S: Final = 10.0
REACHED: Final = "its address answers, its key is one"
"""What can be seen of a webhook."""


class Proven(msgspec.Struct, frozen=True):
    """How a provider of a payments file answered to questions that move nothing."""

    provider: str
    kind: str
    calls_per_s: float
    shows: str
    """What the answers show."""
    why_not: str | None
    """None: it answers as it should."""
    takes_money: bool
    """Of who buys, or sends a packet."""
    is_shop: bool
    """Whether it is told what was sold."""


def prove(file: PaymentsFile, currency: str, now_us: Callable[[], int]) -> list[Proven]:
    """Ask each provider. ConfigError for a secret that is not there, or is none."""

    async def ask_all() -> list[Proven]:
        return [await prove_one(spec, connected(spec, now_us, currency)) for spec in file.providers]

    return asyncio.run(ask_all())


def doubts_of(file: PaymentsFile) -> list[str]:
    """Return a sentence for each provider whose notices would not be heard."""
    doubts = []
    for spec in file.providers:
        if not (notify := spec.options.get("notify", "")):
            continue
        if file.listen is None:
            doubts.append(f"provider {spec.name}: notifies {notify}, and without [notices] nobody hears it")
        elif not notify.endswith(f"/notices/{spec.name}"):
            doubts.append(f"provider {spec.name}: notifies {notify}; its notices are heard at …/notices/{spec.name}")
    return doubts


def payouts_last_s(file: PaymentsFile, provider: str, winners: int) -> float | None:
    """Return how long so many payouts take at least; None: the file has no such provider."""
    spec = next((one for one in file.providers if one.name == provider), None)
    return None if spec is None else lasts_s(winners, spec.calls_per_s)


def lasts_s(count: int, per_s: float) -> float:
    """Return how long so many take at least, whoever takes so many a second."""
    return count / (per_s * USED_SHARE)


async def prove_one(spec: ProviderSpec, one: Connected) -> Proven:
    """Ask one provider, and end its connections."""
    answers: dict[str, PayInState | PayOutState] = {}
    proven = partial(
        Proven, spec.name, spec.kind, spec.calls_per_s,
        takes_money=one.provider.pay_in is not None, is_shop=one.orders is not None,
    )  # fmt: skip
    try:
        if one.provider.pay_out is not None:
            answers["payouts"] = await one.provider.pay_out.find(NOBODYS)
        if one.provider.pay_in is not None:
            answers["payments"] = await one.provider.pay_in.find(NOBODYS)
        if not answers:
            why_not = await unreachable(spec.url, private=spec.private)
            return proven(shows=REACHED, why_not=why_not)
    finally:
        one.close()
    failed = {what: said.why for what, said in answers.items() if isinstance(said, Unknown)}
    why_not = "; ".join(f"{what}: {why}" for what, why in failed.items()) or None
    if len(failed) == len(answers) and len(set(failed.values())) == 1:
        why_not = next(iter(failed.values()))
    return proven(shows=f"answers about {' and '.join(answers)}", why_not=why_not)


async def unreachable(url: str, *, private: bool) -> str | None:
    """Return why nothing answers at the address of a webhook; None if something does, whatever it says."""
    fetcher = Fetcher(public_only=not private)
    try:
        await fetcher.fetch("OPTIONS", url, deadline_s=REACH_S)
    except Unfetched as fault:
        return str(fault)
    finally:
        fetcher.close()
    return None
