"""How often one user, and one address, may ask a gate: who asks too often is slowed first, and then refused.

*Slowed* is advice: the answer is the one that was asked for, and says in `interval_ms` how long to wait before the
next. *Refused* is a 429 with `Retry-After`. Nothing is ever held back to be answered later: a queue of delayed answers
is what somebody who asks too often could fill, and a person who waits for one taps again.

The user's limit is for requests with a ticket, the address's for every request. Both hold in each gate process by
itself: a limit that held over all gates would need a call to somewhere else before each answer, or be late. Who reaches
more gates may ask more often; who is behind a balancer that spreads requests reaches all.

The fields are those of draft-ietf-httpapi-ratelimit-headers-11.
"""

import math
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from redrush.core.load.buckets import BURST_MIN, REFUSED, SLOWED, Buckets, Rate
from redrush.http import answers
from redrush.http.client_address import ClientAddresses, Network

QUOTA_EXCEEDED: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"
"""The problem type that the draft registers."""

ADVISED_MAX: Final = 64
"""Answers with advice that are kept: those without a grant are the same for everybody for a second."""

BURST_S: Final = 2
"""Seconds of its rate that a limit lets through at once, where no burst is configured."""

ADVISED_PART: Final = 4
"""The advised pace is this part of the rate: at half the rate nobody is slowed, for so fast the first half of a bucket
fills up; at half of that it fills up although its user goes on asking."""


class AskingRules(msgspec.Struct, frozen=True, kw_only=True):
    """What is configured. None: no limit."""

    user: Rate | None = None
    address: Rate | None = None
    connections_per_address_max: int | None = None
    trusted_proxies: tuple[Network, ...] = ()


def rate_of(per_second: float, burst: int | None) -> Rate:
    """Return the rate, with the usual burst if none is given. Raises ValueError if it cannot be."""
    return Rate(per_second, max(BURST_MIN, math.ceil(BURST_S * per_second)) if burst is None else burst)


class Frequency:
    """One of the limits, with what it says. `rate` and `buckets` are None while it does not hold."""

    def __init__(self, name: str, who: str, rate: Rate | None) -> None:
        """`name` is the policy's; `who` is for people."""
        self.name = name
        self.slowed = 0
        self.refused = 0
        self.refusal = b""
        self.buckets: Buckets | None = None
        self._who = who
        self.rate: Rate | None = None
        self._configured = rate
        self._overriding: float | None = None
        self._advised: dict[bytes, bytes] = {}
        self._set(rate)

    def override(self, per_second: float | None) -> None:
        """Let this rate hold instead of the configured one, with its burst; None: the configured one holds again."""
        configured = self._configured
        self._overriding = per_second
        if per_second is None:
            self._set(configured)
        else:
            self._set(rate_of(per_second, None if configured is None else configured.burst))

    def configure(self, rate: Rate | None) -> None:
        """Let this be the configured rate from now on."""
        self._configured = rate
        self.override(self._overriding)

    def _set(self, rate: Rate | None) -> None:
        if rate == self.rate:
            return
        self.rate = rate
        self._advised.clear()
        if rate is None:
            self.buckets = None
            return
        if self.buckets is None:
            self.buckets = Buckets(rate)
        else:
            self.buckets.set_rate(rate)
        self._interval_ms = math.ceil(1_000 * ADVISED_PART / rate.per_second)
        wait_s = max(1, math.ceil(rate.recovers_s / 2))
        policy = f'RateLimit-Policy: "{self.name}";q={rate.burst};w={math.ceil(rate.recovers_s)}\r\n'
        self._advice = f"{policy}{answers.INTERVAL_HEADER}: {self._interval_ms}\r\n"
        self.refusal = answers.problem(
            429,
            f"{self._who} asks too often; wait for as long as Retry-After says",
            f'Retry-After: {wait_s}\r\n{policy}RateLimit: "{self.name}";r=0;t={wait_s}\r\n'
            f"{answers.INTERVAL_HEADER}: {1_000 * wait_s}\r\n",
            **{"type": QUOTA_EXCEEDED, "violated-policies": [self.name], "interval_ms": 1_000 * wait_s},
        )

    def advise(self, answer: bytes) -> bytes:
        """Return the answer with the advice to take longer, unless it is a grant: who has won need not ask again."""
        found = self._advised.get(answer)
        if found is None:
            if b'"grant":' in answer:
                return answer
            if len(self._advised) >= ADVISED_MAX:
                self._advised.clear()
            found = self._advised[answer] = answers.advising(answer, self._interval_ms, self._advice)
        return found


Check = Callable[[str, bytes], bytes | Frequency | None]


class AskingLimits:
    """The limits of one site, shared by its connections. Not thread-safe: it lives on the event loop."""

    def __init__(self, rules: AskingRules, now_s: Callable[[], float]) -> None:
        """`now_s` tells positive seconds that never go back; where they start does not matter."""
        self.users = Frequency("user", "this user", rules.user)
        self.addresses = Frequency("address", "this network address", rules.address)
        self.clients = ClientAddresses(rules.trusted_proxies)
        self._connections_max = rules.connections_per_address_max
        self._connections: Counter[bytes] = Counter()
        self._now_s = now_s
        self.check: Check | None = None
        """Counts a request, by user ("" without a ticket) and address; None while there is no limit. Returns None if it
        may be served, the refusal if it may not, or the limit whose advice goes with its answer."""
        self._choose()

    def override(self, user_per_second: float | None, address_per_second: float | None) -> None:
        """Let these rates hold instead of the configured ones; None: the configured one holds."""
        self.users.override(user_per_second)
        self.addresses.override(address_per_second)
        self._choose()

    def amend(self, rules: AskingRules) -> None:
        """Let these rules be the configured ones from now on, but for the proxies. Who has too many connections keeps
        them, and gets no more."""
        self.users.configure(rules.user)
        self.addresses.configure(rules.address)
        self._connections_max = rules.connections_per_address_max
        self._choose()

    def _choose(self) -> None:
        """Let `check` do no more than it must: this is done once, that for every request."""
        if self.addresses.buckets is not None:
            self.check = self._check_address
        else:
            self.check = None if self.users.buckets is None else self._check_user

    def _check_address(self, user: str, address: bytes) -> bytes | Frequency | None:
        addresses = self.addresses
        assert addresses.buckets is not None
        standing = addresses.buckets.take(hash(address), self._now_s())
        if standing == REFUSED:
            addresses.refused += 1
            return addresses.refusal
        limit = self._check_user(user, address)
        if standing != SLOWED:
            return limit
        addresses.slowed += 1
        # An answer without a ticket is the same for everybody, and may be cached as such: no advice goes with it.
        return limit or (addresses if user else None)

    def _check_user(self, user: str, _address: bytes) -> bytes | Frequency | None:
        users = self.users
        buckets = users.buckets
        if not user or buckets is None or not (standing := buckets.take(hash(user), self._now_s())):
            return None
        if standing == REFUSED:
            users.refused += 1
            return users.refusal
        users.slowed += 1
        return users

    def pardon(self) -> None:
        """The request that was refused last, by its address, is served all the same: it counts as no refusal."""
        self.addresses.refused -= 1

    # -- connections

    def enter(self, address: bytes) -> bool:
        """Whether the address may have one connection more; it is counted then, until it leaves."""
        if self._connections_max is not None and self._connections[address] >= self._connections_max:
            return False
        self._connections[address] += 1
        return True

    def leave(self, address: bytes) -> None:
        """A connection that was counted has ended."""
        self._connections[address] -= 1
        if not self._connections[address]:
            del self._connections[address]
