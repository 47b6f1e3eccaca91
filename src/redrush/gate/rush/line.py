"""A waiting room before a round of any kind: `POST …/line` gives a pass, `POST …/enter` takes one and lets in.

Nobody is asked here: a pass is signed, `serving` is in memory, and what lets somebody into the round is a ticket of its
own (`redrush.core.identity.tickets.Admission`), the only one that the round takes. So a person reaches a gate twice
before they claim, and a claim costs what it always does. Whoever waits reads the public state, which is the same for
all.
"""

from collections.abc import Callable, Container
from typing import Any, Final

import msgspec

from redrush.core.identity.passes import Flaw, Pass, Passes
from redrush.core.identity.tickets import Admission, KeyRing, TicketVerifier, sign_admission
from redrush.core.rush.campaign import Round
from redrush.core.rush.instants import http_date, rfc3339
from redrush.core.rush.line import START, LineState, LineTerms, Order, commitment
from redrush.core.rush.outcomes import Outcome
from redrush.core.rush.phase import Phase
from redrush.gate.rush.places import Places
from redrush.gate.rush.rush import Rush
from redrush.http import answers
from redrush.http.route import Route, Waiter
from redrush.http.ticket_check import TicketCheck

ABOUT: Final = 0.2
"""Estimates are told as a range of so much to both sides."""

AROUND_US: Final = 5_000_000
"""The line is moved from so long before it opens to so long after its round."""

INTERVAL_MS: Final = 1_000
"""How long who waits is asked to wait before they look again, at least: the state is as fresh."""
INTERVAL_MAX_MS: Final = 30_000

_SAID: Final = {
    Flaw.UNREADABLE: 'send {"pass": "…"} with the pass that POST …/line gave',
    Flaw.FORGED: "this pass is none of yours for this round; get one with POST …/line",
    Flaw.EXPIRED: "the pass has expired; get a new one with POST …/line",
}
_REFUSALS: Final = {flaw: answers.problem(400, said, reason=str(flaw)) for flaw, said in _SAID.items()}


class _Body(msgspec.Struct, frozen=True):
    ticket: str = msgspec.field(name="pass")


_decoder = msgspec.json.Decoder(_Body)


class WaitingRoom:
    """See the module. Lives on the event loop."""

    def __init__(
        self,
        rush: Rush,
        campaign: str,
        key: bytes,
        ring: KeyRing,
        now_us: Callable[[], int],
        audience: Container[str] | None,
    ) -> None:
        """`rush` has a round with a line; `key` is what its places are drawn with."""
        assert rush.round.line is not None
        self.terms: LineTerms = rush.round.line
        self.rush = rush
        self.places = Places(key, self.terms.order)
        self.state = LineState()
        self._key = key
        self._ring = ring
        self._passes = Passes(ring, campaign)
        self._admission = Admission(campaign, rush.round.id)
        self._now_us = now_us
        self._audience = audience
        self._commitment = commitment(key)

    def tickets(self) -> TicketCheck:
        """Return what tells the tickets that the round takes; who has another one of the campaign is sent to the
        line."""
        path = f"/v1/campaigns/{self._admission.campaign}/rounds/{self.rush.round.id}"
        first = answers.problem(
            409,
            f"this round has a waiting room: POST {path}/line gives a pass, POST {path}/enter takes it when it is its "
            "turn, and gives the ticket to claim with",
            line={"join": f"{path}/line", "enter": f"{path}/enter"},
        )
        admitted = TicketVerifier(self._ring, admitted=self._admission)
        check = TicketCheck(admitted, unproven=TicketVerifier(self._ring))
        check.must_exchange = first
        return check

    @property
    def round(self) -> Round:
        """The round behind the line."""
        return self.rush.round

    def moves_at(self, now_us: int) -> bool:
        """Whether the line is to be moved about this time: somebody may have joined, and the round is not over."""
        opens_us = self.round.opens_us - self.terms.opens_before_us
        return opens_us - AROUND_US <= now_us < self.round.closes_us + AROUND_US

    def show(self, state: LineState) -> None:
        """Let the line stand so from now on; it never goes back."""
        if state.serving < self.state.serving:
            state = msgspec.structs.replace(state, serving=self.state.serving)
        self.state = state
        self.places.show(state, self._now_us(), self.terms.grace_us)

    # -- joining

    def join(self, user: str) -> bytes:
        """Give the user a pass, the same each time; or say why there is none."""
        now_us = self._now_us()
        refusal = self._refusal(now_us)
        if refusal is not None:
            return refusal
        if now_us < (opens_us := self.round.opens_us - self.terms.opens_before_us):
            return self._answer(Outcome.NOT_OPEN, now_us, opens_at=rfc3339(opens_us), server_time=rfc3339(now_us))
        if self._audience is not None and user not in self._audience:
            return self._answer(Outcome.NOT_ELIGIBLE, now_us)
        place = self.places.place_of(user, self.state.lapsed)
        if place is None:
            most = self.terms.places_max
            if self.state.closed or (most is not None and self.places.joined >= most):
                return self._answer(Outcome.LINE_CLOSED, now_us)
            place = self.places.give(user, now_us, started=now_us >= self.round.opens_us)
        return self._stands(Outcome.IN_LINE, user, place, now_us, told=True)

    def _stands(
        self, outcome: Outcome, user: str, place: int, now_us: int, *, told: bool = False, again: bool = False
    ) -> bytes:
        """Return how somebody stands in line, with the pass if they are to be `told` of it."""
        state, opens_us = self.state, self.round.opens_us
        fields: dict[str, Any] = {}
        if told:
            issued_us = place if place >= START else opens_us - self.terms.opens_before_us
            one = Pass(
                round=self.round.id,
                place=place,
                issued_s=issued_us // 1_000_000,
                expires_s=-(-self.round.closes_us // 1_000_000),
                again=again,
            )
            fields["pass"] = self._passes.sign(one, user)
        fields |= {"place": place, "serving": state.serving, "joined": max(state.joined, self.places.joined)}
        if now_us < opens_us:
            fields["opens_at"] = rfc3339(opens_us)
        if now_us >= opens_us or self.terms.order is Order.FIFO:
            fields["ahead"] = state.ahead(place)
        wait_s = state.wait_s(place)
        if now_us >= opens_us and wait_s is not None:
            fields["wait_s"] = [int(wait_s * (1 - ABOUT)), int(wait_s * (1 + ABOUT)) + 1]
            fields["interval_ms"] = min(INTERVAL_MAX_MS, max(INTERVAL_MS, int(wait_s * 100)))
        else:
            fields["interval_ms"] = INTERVAL_MS
        if state.paused:
            fields["paused"] = True
        return self._answer(outcome, now_us, **fields)

    # -- going in

    def enter(self, body: bytes, user: str) -> bytes:
        """Let the user in whose turn it is; or say where they stand, or what is wrong."""
        now_us = self._now_us()
        try:
            text = _decoder.decode(body).ticket
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _REFUSALS[Flaw.UNREADABLE]
        one = self._passes.read(text, self.round.id, user, now_us // 1_000_000)
        refusal = self._refusal(now_us)
        if refusal is not None:
            return refusal
        if isinstance(one, Flaw):
            return _REFUSALS[one]
        state = self.state
        if one.place > state.serving or now_us < self.round.opens_us:
            return self._stands(Outcome.WAITING, user, one.place, now_us)
        if one.place <= state.lapsed:
            return self._passed(one, user, now_us)
        self.places.enter(one.place, now_us)
        expires_s = min(now_us + self.terms.admitted_us, self.round.closes_us) // 1_000_000 + 1
        ticket = sign_admission(self._ring, self._admission, user, expires_s)
        return self._answer(Outcome.ADMITTED, now_us, ticket=ticket, expires_at=rfc3339(expires_s * 1_000_000))

    def _passed(self, one: Pass, user: str, now_us: int) -> bytes:
        """Answer who comes too late: with another place, once, if there is such; else they may join again."""
        if self.terms.soft_return is None or one.again:
            return self._answer(Outcome.PASSED, now_us)
        place = self.state.place_behind(self.terms.soft_return)
        return self._stands(Outcome.PASSED, user, place, now_us, told=True, again=True)

    # -- what both have in common, and what is public

    def _refusal(self, now_us: int) -> bytes | None:
        """Return why nobody gets anything here now, or None."""
        if self.rush.phase() is Phase.CLOSED:
            return self._answer(Outcome.CLOSED, now_us)
        return self._answer(Outcome.EMPTY, now_us) if self.rush.sold_out else None

    def _answer(self, outcome: Outcome, now_us: int, **fields: Any) -> bytes:
        head = f"Date: {http_date(now_us)}\r\nCache-Control: no-store\r\n"
        return answers.json_answer({"outcome": outcome, **fields}, head)

    def fields(self, now_us: int) -> dict[str, Any]:
        """Return what is public of the line: from it everybody can tell where they stand. The key of the places is
        told when the round is over; what it was fixed by, from the first."""
        state, opens_us = self.state, self.round.opens_us - self.terms.opens_before_us
        over = self.rush.phase() is Phase.CLOSED
        shown: dict[str, Any] = {
            "state": self._state(now_us, opens_us, over=over),
            "opens_at": rfc3339(opens_us),
            "order": self.terms.order,
            "serving": state.serving,
            "lapsed": state.lapsed,
            "joined": state.joined,
            "waiting": state.waiting,
            "called_per_second": state.called_per_s,
            "marks": [list(msgspec.structs.astuple(mark)) for mark in state.marks],
        }
        if self.terms.order is Order.RANDOM:
            shown["commitment"] = self._commitment
            if over:
                shown["key"] = self._key.hex()
        return shown

    def _state(self, now_us: int, opens_us: int, *, over: bool) -> str:
        if over:
            return "over"
        if now_us < opens_us:
            return "not_open"
        if self.state.closed:
            return "closed"
        return "paused" if self.state.paused else "open"


class Joining:
    """The route of `POST …/line`."""

    def __init__(self, room: WaitingRoom) -> None:
        self._room = room

    def serve(self, waiter: Waiter, user: str) -> bytes:
        """Give a pass."""
        return self._room.join(user)


class Entering:
    """The route of `POST …/enter`, for one body."""

    def __init__(self, room: WaitingRoom, body: bytes) -> None:
        self._room = room
        self._body = body

    def serve(self, waiter: Waiter, user: str) -> bytes:
        """Let in, or not yet."""
        return self._room.enter(self._body, user)


def entering(room: WaitingRoom) -> Callable[[bytes], Route]:
    """Return what makes the route for a body."""
    return lambda body: Entering(room, body)
