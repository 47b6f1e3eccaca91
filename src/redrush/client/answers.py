"""Reading what a gate says, from HTTP to typed values: the boundary of the client.

Whatever is not of the contract is `UnreadableAnswer`, which the client treats like no answer at all: a proxy's error
page or a captive portal must not end somebody's asking.
"""

from datetime import datetime
from typing import TypeVar

import msgspec

from redrush.core.identity.proof_of_work import Challenge
from redrush.core.load.client_policy import ClientPolicy
from redrush.core.rush.outcomes import Outcome

_Shape = TypeVar("_Shape", bound=msgspec.Struct)


class UnreadableAnswer(Exception):
    """Not an answer of the contract. Stays inside the client."""


class Hold(msgspec.Struct, frozen=True):
    """Until when a unit waits for its buyer to pay."""

    expires_at: datetime


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What was won. `amount` is in whole units of `currency`, as text, exact; keep the receipt.

    What is no money has `holds` instead: "unit", "item:A-12". What is only held has no receipt yet.
    """

    id: str
    round: str
    slot: int
    amount: str = ""
    currency: str = ""
    holds: str | None = None
    hold: Hold | None = None
    granted_at: datetime
    receipt: str = ""
    code: str | None = None
    """The code itself."""
    prize: str | None = None
    prize_name: str | None = None
    """Which prize of a draw it is, and what that is called."""


class GrabAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A 200 of `POST /v1/rounds/{round}/grab`."""

    outcome: Outcome
    grant: Grant | None = None
    repeat: bool = False
    opens_at: datetime | None = None
    server_time: datetime | None = None
    interval_ms: int | None = None
    next_chance_at: datetime | None = None
    """When what others hold now may be had."""
    play: int | None = None
    """The number of the play, in a draw."""
    plays_left: int | None = None
    ask_again: bool = False
    """Nothing is decided of the play: ask again with its number."""


class LineOfRound(msgspec.Struct, frozen=True, kw_only=True):
    """How the line before a round stands, as far as a client needs it."""

    serving: int
    """Everybody up to this place may go in."""


class RoundState(msgspec.Struct, frozen=True, kw_only=True):
    """A 200 of `GET /v1/rounds/{round}`, as far as a client needs it."""

    state: str
    opens_at: datetime
    server_time: datetime
    interval_ms: int | None = None
    line: LineOfRound | None = None
    key: str | None = None
    """The secret part of the URL of a sale that is open."""


class LineAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A 200 of `POST /v1/rounds/{round}/line` or `…/enter`."""

    outcome: Outcome
    pass_: str | None = msgspec.field(name="pass", default=None)
    place: int | None = None
    ticket: str | None = None
    interval_ms: int | None = None


class ProvenTicket(msgspec.Struct, frozen=True, kw_only=True):
    """A 200 of `POST /v1/ticket`."""

    ticket: str
    expires_at: datetime


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal. Everything in it is optional: a proxy may have spoken instead of a gate."""

    detail: str = ""
    interval_ms: int | None = None
    elsewhere: bool = False
    """Another gate may have room."""
    exchange: dict[str, str] | None = None
    """The ticket must be exchanged first."""
    line: dict[str, str] | None = None
    """The round has a waiting room, which comes first."""
    resting: bool = False
    """Nothing has failed: this is not served for as long as `Retry-After` says, and will be then."""


def read_policy(body: bytes) -> ClientPolicy:
    """Return the policy. Raises UnreadableAnswer."""
    return _read(body, ClientPolicy)


def read_round(body: bytes) -> RoundState:
    """Return the state of a round. Raises UnreadableAnswer."""
    return _read(body, RoundState)


def read_grab(body: bytes) -> GrabAnswer:
    """Return the answer to a claim. Raises UnreadableAnswer, also for a grant that is missing."""
    answer = _read(body, GrabAnswer)
    if (answer.outcome is Outcome.GRANTED) is (answer.grant is None):
        raise UnreadableAnswer("a grant without `granted`, or `granted` without a grant")
    if answer.grant is not None and not (answer.grant.amount and answer.grant.receipt) and answer.grant.holds is None:
        raise UnreadableAnswer("a grant of nothing")
    return answer


def read_line(body: bytes) -> LineAnswer:
    """Return what a waiting room says. Raises UnreadableAnswer, also for an admission without its ticket."""
    answer = _read(body, LineAnswer)
    if (answer.outcome is Outcome.ADMITTED) is (answer.ticket is None):
        raise UnreadableAnswer("a ticket without `admitted`, or `admitted` without a ticket")
    return answer


def read_challenge(body: bytes) -> Challenge:
    """Return the challenge. Raises UnreadableAnswer."""
    return _read(body, Challenge)


def read_ticket(body: bytes) -> str:
    """Return the ticket that was given for a solution. Raises UnreadableAnswer."""
    return _read(body, ProvenTicket).ticket


def read_problem(body: bytes) -> Problem:
    """Return the refusal; an empty one if the body is not of ours."""
    try:
        return _read(body, Problem)
    except UnreadableAnswer:
        return Problem()


def read_retry_after_s(value: str | None) -> float | None:
    """Return `Retry-After` in seconds if it is given as such; a date (RFC 9110, 10.2.3) is not taken: clocks differ."""
    return float(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 7 else None


def _read(body: bytes, shape: type[_Shape]) -> _Shape:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise UnreadableAnswer(str(fault)) from fault
