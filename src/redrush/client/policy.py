"""The client policy as a machine: from what became of one request to when the next may be sent, and what to show.

Pure: the clock and the random numbers are handed in, nothing is sent here. Both the Python client and the simulated
crowd run it, so what the drills measure is what participants do. One machine is one participant asking one round; it
has one request under way at most, and its state is four numbers and two counts.

An *answer* of the contract (`missed` and `not_open` too) is an accept; it paces the next request by the interval.
Everything else is a failure (429 and 503, no answer, a broken connection), and failures are what storms are made of:

- A **retry** soon after a failure is paid from a budget: a token bucket that earns `retry_share` per request. A client
  that asks once has earned a tenth of a token, so the bucket begins with a random part of one: over a crowd exactly
  that share retries, and nobody knows beforehand who. Full jitter, exponential backoff. (Google SRE book, chapters 21
  and 22; full jitter: M. Brooker, "Exponential Backoff And Jitter".)
- Whoever has no token **comes back** much later: after half to one and a half of `come_back_ms`, doubled each time. An
  outage of some seconds is waited out by nine in ten, and its wave is spread over several times its length.
- The **adaptive throttle** holds even these back with p = max(0, (requests − K·accepts) / (requests + 1)), counted
  before sending; one held back draws another pause, and reaches no server.
- **Another gate** is where the next request goes after any failure of a gate (`Gates` remembers which have failed, for
  a while). That changes where, not how often: the budget is a person's, whatever the number of gates. A refusal that
  says so may be followed there at once, for a token; without one the come-back is within half its span. A second gate
  must not get all of the first one's load.
- Two moves are free, and take some tenths of a second. From a gate that could **not be reached**: that has cost no
  server anything, and can happen once a gate. From one that **hangs**: its time-out is short while there is another,
  and the move is free once until the next answer, so that gates that all hang get two requests, not many.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from redrush.core.load.client_policy import TEXTS, ClientPolicy, WaitingTexts
from redrush.core.rush.outcomes import Outcome

TOKENS_MAX = 2.0
"""Retries that a client of a calm hour can save up: enough for a bad minute, not for a storm."""
GATE_AVOIDED_S = 30.0
"""How long a gate that failed is not chosen while there is another; doubled with each failure until it answers."""
GATE_AVOIDED_DOUBLINGS_MAX = 3
GATE_DEADLINE_S = 3.0
"""How long an answer is waited for while there is another gate: refusals under overload take less, so who says nothing
for so long is likely to say nothing at all; and asking again elsewhere finds what this one may have done."""
COME_BACK_DOUBLINGS_MAX = 3
"""A come-back waits at most eight times the first one."""
RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""Refusals that another time may not give. Every other one is final: asking again cannot change a wrong ticket."""

GATE_FAILED_STATUSES = frozenset({500, 502, 503, 504})
"""Refusals of which another gate may know nothing. 408 and 429 are about who asks, and follow them everywhere."""


class Showing(StrEnum):
    """What the participant is in, to be shown honestly."""

    BEFORE = "before"
    """The round opens later; the client asks by itself."""
    ASKING = "asking"
    AGAIN = "again"
    """Missed: may shake again after the pause."""
    WAITING = "waiting"
    """No answer to be had now; the client asks again by itself after the pause."""
    DECIDED = "decided"
    """A final outcome."""
    REFUSED = "refused"
    """A refusal that asking again cannot change, such as of the ticket."""
    GIVEN_UP = "given_up"
    """Too many failures in a row; the person may begin again."""


class Step(msgspec.Struct, frozen=True, gc=False):
    """What to do next: ask again after `pause_s`, or stop if it is None; and what to show meanwhile."""

    pause_s: float | None
    showing: Showing
    elsewhere: bool = False
    """Ask another gate than the last one."""


DECIDED = Step(None, Showing.DECIDED)
_REFUSED = Step(None, Showing.REFUSED)
_GIVEN_UP = Step(None, Showing.GIVEN_UP)


class Gates:
    """Which of an event's gates one participant asks. Pure; `now_s` is any clock that only goes forward."""

    def __init__(self, count: int, draw: Callable[[], float]) -> None:
        """They are numbered from 0, the preferred one, which is asked first."""
        self.at = 0
        self._draw = draw
        self._avoided_until_s = [float("-inf")] * count
        self._failures = [0] * count

    def another(self, now_s: float) -> bool:
        """Whether there is another gate that is not avoided."""
        return bool(self._others(now_s))

    def failed(self, now_s: float, *, spoke: bool = False) -> None:
        """The gate that was asked has failed: ask another one, any of those that have not. If all have, stay with one
        that `spoke` (it refused), else ask the one whose failure is the longest ago."""
        doublings = min(self._failures[self.at], GATE_AVOIDED_DOUBLINGS_MAX)
        self._failures[self.at] += 1
        self._avoided_until_s[self.at] = now_s + GATE_AVOIDED_S * 2.0**doublings
        others = self._others(now_s)
        if others:
            self.at = others[min(int(self._draw() * len(others)), len(others) - 1)]
        elif not spoke:
            self.at = min(range(len(self._failures)), key=self._avoided_until_s.__getitem__)

    def answered(self) -> None:
        """The gate that was asked has answered as the contract says."""
        self._failures[self.at] = 0
        self._avoided_until_s[self.at] = float("-inf")

    def _others(self, now_s: float) -> list[int]:
        return [gate for gate, until_s in enumerate(self._avoided_until_s) if gate != self.at and until_s <= now_s]


class Asking:
    """One participant asking one round. Call `begin` once, then `sending` before and one of the others after each
    request. `draw` gives numbers uniform in [0, 1); `now_s` is any clock that only goes forward."""

    __slots__ = (
        "_accepts", "_come_backs", "_draw", "_failures", "_forgets_s", "_moved", "_requests", "_retrying", "_tokens",
        "policy",
    )  # fmt: skip

    def __init__(self, policy: ClientPolicy, draw: Callable[[], float]) -> None:
        self.policy = policy
        """May be replaced by a newer one; what was counted stays."""
        self._draw = draw
        self._tokens = draw()
        self._retrying = False
        self._moved = False
        self._failures = self._come_backs = 0
        self._requests = self._accepts = 0
        self._forgets_s = float("-inf")

    def begin(self, opens_in_s: float) -> Step:
        """Return when to ask first, if the round opens in `opens_in_s` (negative: has opened).

        Whoever waits for the opening asks at a random moment of the start window; whoever comes later is spread already
        and asks at once.
        """
        if opens_in_s <= 0:
            return Step(0.0, Showing.ASKING)
        return Step(opens_in_s + self._draw() * self.policy.start_window_ms / 1e3, Showing.BEFORE)

    def sending(self, now_s: float) -> Step | None:
        """Count a request that is about to be sent; return None if it may go, or what to do instead."""
        if now_s >= self._forgets_s:
            self._requests = self._accepts = 0
            self._forgets_s = now_s + self.policy.throttle_window_ms / 1e3
        held_back = (self._requests - self.policy.throttle_k * self._accepts) / (self._requests + 1)
        self._requests += 1
        if held_back > 0 and self._draw() < held_back:
            return Step(self._interval_s(None) + self._backoff_s(), Showing.WAITING)
        if not self._retrying:
            self._tokens = min(self._tokens + self.policy.retry_share, TOKENS_MAX)
        return None

    def answered(self, outcome: Outcome, *, interval_ms: int | None = None, opens_in_s: float | None = None) -> Step:
        """Return what follows an answer of the contract. `interval_ms` is what it advised, `opens_in_s` comes with
        `not_open`, and says with `held_out` when there is a chance again."""
        self.served()
        if outcome.final:
            return DECIDED
        if outcome is Outcome.NOT_OPEN and opens_in_s is not None and opens_in_s > 0:
            return self.begin(opens_in_s)
        interval_s = self._interval_s(interval_ms)
        if outcome is Outcome.HELD_OUT and opens_in_s is not None and opens_in_s > interval_s:
            # All who were held out hear the same instant: they come spread, as at an opening.
            return Step(opens_in_s + self._draw() * self.policy.start_window_ms / 1e3, Showing.AGAIN)
        return Step(interval_s * (1 + self._draw() / 2), Showing.AGAIN)

    def served(self) -> None:
        """Count an answer of the contract; what it says of a claim, if anything, `answered` is told."""
        self._accepts += 1
        self._failures = self._come_backs = 0
        self._retrying = self._moved = False

    def refused(
        self,
        status: int,
        *,
        retry_after_s: float | None = None,
        interval_ms: int | None = None,
        elsewhere: bool = False,
        another: bool = False,
    ) -> Step:
        """Return what follows an answer that is a refusal. Nothing is sent before `retry_after_s` has passed, except to
        another gate, if the answer says so. `another`: there is a gate that has not failed."""
        if status not in RETRIED_STATUSES:
            return _REFUSED
        if another:
            self._forget_requests()
        if elsewhere and not self._moved and self._tokens >= 1:
            self._tokens -= 1
            self._failures += 1
            self._moved = self._retrying = True
            return Step(self._backoff_s(), Showing.WAITING, elsewhere=True)
        at_least_s = self._interval_s(interval_ms)
        if elsewhere and another:
            return self._after_failure(at_least_s, come_back=0.5)
        return self._after_failure(max(at_least_s, retry_after_s or 0.0))

    def failed(self, *, reached: bool = True, another: bool = False) -> Step:
        """Return what follows a connection refused or broken, a time-out, or an answer that cannot be read.

        `reached` is False if the request surely came to no server; `another`: there is a gate that has not failed."""
        if another and (not reached or not self._moved):
            self._moved = self._moved or reached
            self._retrying = True
            self._forget_requests()
            return Step(self._draw() * self.policy.backoff_first_ms / 1e3, Showing.WAITING, elsewhere=True)
        return self._after_failure(self._interval_s(None))

    def _forget_requests(self) -> None:
        """The throttle is about the gate that did not accept; the next request goes to another."""
        self._requests = self._accepts = 0

    def _after_failure(self, at_least_s: float, come_back: float = 1.0) -> Step:
        """`come_back` is the part of the usual span after which somebody without a token comes back."""
        self._failures += 1
        if self._failures >= self.policy.attempts_max:
            self._failures = self._come_backs = 0
            return _GIVEN_UP
        self._retrying = self._tokens >= 1
        if self._retrying:
            self._tokens -= 1
            return Step(at_least_s + self._backoff_s(), Showing.WAITING)
        come_back_s = (self.policy.come_back_ms << min(self._come_backs, COME_BACK_DOUBLINGS_MAX)) / 1e3
        self._come_backs += 1
        if come_back < 1:
            return Step(at_least_s + come_back_s * come_back * self._draw(), Showing.WAITING)
        return Step(at_least_s + come_back_s * (0.5 + self._draw()), Showing.WAITING)

    def _backoff_s(self) -> float:
        """Return a random part of a span that doubles with each failure in a row."""
        policy = self.policy
        span_ms = min(policy.backoff_max_ms, policy.backoff_first_ms << max(0, self._failures - 1))
        return self._draw() * span_ms / 1e3

    def _interval_s(self, advised_ms: int | None) -> float:
        return max(self.policy.interval_ms, advised_ms or 0) / 1e3


UNREACHED: Final[Mapping[str, WaitingTexts]] = {
    "en": WaitingTexts(
        asking=TEXTS["en"].asking,
        waiting="The event cannot be reached ({why}). Trying again by itself in about {seconds} s.",
        given_up="The event could not be reached ({why}). Check the address and the network, then begin again.",
    ),
    "zh": WaitingTexts(
        asking=TEXTS["zh"].asking,
        waiting="连不上活动的服务（{why}）。约 {seconds} 秒后会自动再试。",
        given_up="没能连上活动的服务（{why}）。请检查地址和网络，然后重新开始。",
    ),
}
"""What is true while no gate has ever answered: then nobody knows whether many people are asking. Not in the campaign
file, which cannot be had then."""


def waiting_text(policy: ClientPolicy, step: Step, language: str, *, unreached: str | None = None) -> str:
    """Return what to tell a person in `language` (English if the campaign has no texts in it); "" where an outcome
    speaks for itself. Seconds are rounded up. `unreached` says why no gate could be reached ever."""
    if unreached is not None and step.showing in (Showing.WAITING, Showing.GIVEN_UP):
        told = UNREACHED.get(language.partition("-")[0], UNREACHED["en"])
        seconds = str(int(step.pause_s or 0.0) + 1)
        text = told.waiting if step.showing is Showing.WAITING else told.given_up
        return text.replace("{why}", unreached).replace("{seconds}", seconds)
    texts = policy.texts.get(language) or policy.texts.get(language.partition("-")[0]) or policy.texts["en"]
    if step.showing is Showing.WAITING and step.pause_s is not None:
        return texts.waiting.replace("{seconds}", str(int(step.pause_s) + 1))
    if step.showing is Showing.ASKING:
        return texts.asking
    return texts.given_up if step.showing is Showing.GIVEN_UP else ""
