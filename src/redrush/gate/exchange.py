"""The counter where tickets are exchanged for proven ones: `GET /v1/challenge` and `POST /v1/ticket`.

What is checked here is checked before the rush, and bounded so that even then claims do not notice: so many solutions a
second, one a second of each user (else a single one with wrong solutions would use all of them up), and nothing at all
around an opening. There is no memory but the users of the current second: see `redrush.core.identity.proof_of_work`.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from redrush.core.identity.proof_of_work import Challenger, ProofOfWork, Verdict
from redrush.core.identity.tickets import KeyRing, Ticket, sign_ticket
from redrush.core.rush.instants import http_date, rfc3339
from redrush.gate.views import Computed
from redrush.http import answers
from redrush.http.route import Route


class _Body(msgspec.Struct, frozen=True):
    altcha: str


_SAID = {
    Verdict.UNREADABLE: 'send {"altcha": "…"} with the payload of an ALTCHA widget or library: base64 of JSON',
    Verdict.FORGED: "the challenge is none of this event, or was changed; get one with GET /v1/challenge",
    Verdict.FOREIGN: "the challenge was given to another user; get your own with GET /v1/challenge",
    Verdict.EXPIRED: "the challenge has expired; get a new one with GET /v1/challenge",
    Verdict.WRONG: "the number does not solve the challenge",
}
_REFUSALS = {verdict: answers.problem(400, said, reason=str(verdict)) for verdict, said in _SAID.items()}

_decoder = msgspec.json.Decoder(_Body)


class Exchange:
    """See the module. Lives on the event loop; no call waits for anything."""

    def __init__(
        self, ring: KeyRing, terms: ProofOfWork, openings_us: Iterable[int], now_us: Callable[[], int]
    ) -> None:
        """`openings_us` are the openings around which the counter rests."""
        self._ring = ring
        self._rest_us = terms.rest_us
        self._openings_us = sorted(openings_us)
        self._now_us = now_us
        self._challenger = Challenger(ring, terms)
        self._second = 0
        self._served: set[str] = set()
        self.per_s = terms.exchanges_per_s
        """Solutions checked a second at most; a switch changes it."""
        self.counts: Counter[str] = Counter()
        """By verdict; what was not checked is under "busy"."""

    def rest_around(self, openings_us: Iterable[int]) -> None:
        """Rest around these openings from now on."""
        self._openings_us = sorted(openings_us)

    def challenge_for(self, ticket: Ticket, body: bytes) -> Route:
        """Return the route of `GET /v1/challenge` for whoever has this ticket."""
        return Computed(partial(self._challenge, ticket))

    def ticket_for(self, ticket: Ticket, body: bytes) -> Route:
        """Return the route of `POST /v1/ticket` for whoever has this ticket and sends this body."""
        return Computed(partial(self._exchange, ticket, body))

    def _challenge(self, ticket: Ticket) -> bytes:
        now_us = self._now_us()
        if (rests_s := self._rests_s(now_us)) > 0:
            return _resting(rests_s)
        challenge = self._challenger.challenge(ticket.user, now_us // 1_000_000)
        return answers.answer(200, msgspec.json.encode(challenge), headers=_head(now_us))

    def _exchange(self, ticket: Ticket, body: bytes) -> bytes:
        now_us = self._now_us()
        refusal = self._refusal(ticket.user, now_us)
        if refusal is not None:
            self.counts["busy"] += 1
            return refusal
        verdict = self._verdict(ticket, body, now_us // 1_000_000)
        self.counts[verdict] += 1
        if verdict is not Verdict.ACCEPTED:
            return _REFUSALS[verdict]
        proven = sign_ticket(self._ring, ticket.user, ticket.expires_s, proven=True)
        sold = {"ticket": proven, "expires_at": rfc3339(ticket.expires_s * 1_000_000)}
        return answers.json_answer(sold, _head(now_us))

    def _verdict(self, ticket: Ticket, body: bytes, now_s: int) -> Verdict:
        try:
            solution = _decoder.decode(body).altcha
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Verdict.UNREADABLE
        return self._challenger.judge(solution, ticket, now_s)

    def _refusal(self, user: str, now_us: int) -> bytes | None:
        """Return why nothing is checked for the user now, or None after counting that something is."""
        if (rests_s := self._rests_s(now_us)) > 0:
            return _resting(rests_s)
        if now_us // 1_000_000 != self._second:
            self._second = now_us // 1_000_000
            self._served.clear()
        if user in self._served:
            return answers.EXCHANGED_TOO_SOON
        if len(self._served) >= self.per_s:
            return answers.EXCHANGES_BUSY
        self._served.add(user)
        return None

    def _rests_s(self, now_us: int) -> int:
        """Return for how many seconds more the counter rests, rounded up; 0 if it is open."""
        first = bisect_right(self._openings_us, now_us - self._rest_us)
        end = bisect_left(self._openings_us, now_us + self._rest_us)
        if first >= end:
            return 0
        rests_us = self._openings_us[end - 1] + self._rest_us - now_us
        return -(-rests_us // 1_000_000)


def _head(now_us: int) -> str:
    return f"Date: {http_date(now_us)}\r\nCache-Control: no-store\r\n"


def _resting(rests_s: int) -> bytes:
    return answers.problem(
        503,
        "no tickets are exchanged around an opening; try again after it",
        f"Retry-After: {rests_s}\r\n",
        resting=True,
    )
