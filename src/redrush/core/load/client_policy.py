"""The client policy: how a participant's client asks, waits and gives up. Data of the campaign, served by the gate.

A client must carry its protection in advance, for when it is needed most it cannot be fetched: the defaults here are
what a client does that has never reached a gate. The machine that follows the policy is `redrush.client.policy`.
"""

from collections.abc import Mapping
from typing import Final

import msgspec


class WaitingTexts(msgspec.Struct, frozen=True, kw_only=True):
    """What people are told meanwhile, in one language. `{seconds}` stands for the time to the next request."""

    asking: str
    waiting: str
    given_up: str


TEXTS: Final[Mapping[str, WaitingTexts]] = {
    "en": WaitingTexts(
        asking="Asking for you …",
        waiting=(
            "Very many people are asking right now, and there is no answer for you yet. This page asks again by "
            "itself in about {seconds} s; tapping does not make it faster. What you have won stays yours."
        ),
        given_up=(
            "There was no answer for you. If you have won, it is yours and will be shown when you come back; "
            "please try again later."
        ),
    ),
    "zh": WaitingTexts(
        asking="正在抢……",
        waiting="现在人太多了，您的请求还没有结果。约 {seconds} 秒后会自动再试，多点不会更快。已经抢到的红包不会丢。",
        given_up="暂时没能得到结果。如果已经抢到，红包一定是您的，再次打开页面就能看到。请稍后再试。",
    ),
}
"""True whatever happened: an unanswered claim may have been granted, and then asking again shows the grant."""


class ClientPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """See the module. Times are milliseconds, as a client reads them in `GET /v1/policy`."""

    start_window_ms: int = 1_000
    """The first request goes out at a random moment of this time after the opening."""
    interval_ms: int = 1_000
    """The least time between two requests of one client; an answer may ask for more."""
    backoff_first_ms: int = 500
    """A retry waits a random part of this (full jitter), doubled with each further failure, up to `backoff_max_ms`."""
    backoff_max_ms: int = 8_000
    come_back_ms: int = 10_000
    """Who failed and has no retry left in the budget comes back after half to one and a half of this, doubled with each
    further failure: most people wait an outage out, instead of knocking through it."""
    answer_deadline_ms: int = 8_000
    """How long an answer is waited for: longer than a gate lets a claim wait for its store, to hear the gate's word."""
    retry_share: float = 0.1
    """The retry budget: retries per request, over the whole crowd. The rest come back."""
    throttle_k: float = 2.0
    """The adaptive throttle holds a request back with p = max(0, (requests − K·accepts) / (requests + 1))."""
    throttle_window_ms: int = 10_000
    """What the throttle counts is forgotten after this time."""
    attempts_max: int = 4
    """Failures in a row after which the client stops by itself and says so."""
    proof_of_work: bool = False
    """Whether a ticket must be exchanged before it can claim: see `redrush.core.identity.proof_of_work`. Said by the
    gate."""
    texts: Mapping[str, WaitingTexts] = msgspec.field(default_factory=lambda: dict(TEXTS))
    """By language."""
