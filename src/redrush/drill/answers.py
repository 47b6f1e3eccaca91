"""Reading answers as cheaply as a load generator may: status, length, outcome - and all of it only for a grant.

A full HTTP parser is what the gate has; here the sender is known, so three searches in the bytes replace it. What does
not fit (no Content-Length, chunks, garbage) is `MalformedAnswer`, which the crowd counts and shows.
"""

from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec

from redrush.drill.observations import Ending

ANSWER_BYTES_MAX = 64 * 1024
"""No answer of the contract comes near this; more means that the other side speaks something else."""

REFUSALS_REMEMBERED_MAX = 1_024
"""Refusals found to be well-formed: a gate's are prebuilt and change once a second, so nearly all are known."""

_OUTCOME_PREFIX = b'{"outcome":"'
_ENDINGS = {ending.label.encode(): ending for ending in Ending if ending <= Ending.NOT_ELIGIBLE}


class MalformedAnswer(Exception):
    """The bytes are not an answer of the contract. Stays inside the crowd, which counts it."""


class Answer(NamedTuple):
    """One complete answer: its status, head and body, and where the next one would begin."""

    status: int
    head: bytes
    body: bytes
    end: int


class Grant(msgspec.Struct, frozen=True, gc=False):
    """The grant in a `granted` body."""

    id: str
    round: str
    slot: int
    amount: str
    currency: str
    granted_at: str
    receipt: str


class GrantedBody(msgspec.Struct, frozen=True, gc=False):
    """The body of an answer `granted`."""

    outcome: str
    grant: Grant
    repeat: bool


class _NotOpenBody(msgspec.Struct, frozen=True):
    opens_at: datetime


class _Problem(msgspec.Struct, frozen=True):
    type: str
    title: str
    status: int
    detail: str


_granted_decoder = msgspec.json.Decoder(GrantedBody)
_problem_decoder = msgspec.json.Decoder(_Problem)
_not_open_decoder = msgspec.json.Decoder(_NotOpenBody)


def read_answer(data: bytes) -> Answer | None:
    """Return the first answer in `data`, or None while it is incomplete. Raises MalformedAnswer."""
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        if len(data) > ANSWER_BYTES_MAX or not b"HTTP/1.1 ".startswith(data[:9]):
            raise MalformedAnswer("no HTTP/1.1 head")
        return None
    head = data[: head_end + 2]
    if not head.startswith(b"HTTP/1.1 ") or not head[9:12].isdigit():
        raise MalformedAnswer("no HTTP/1.1 status line")
    length = header_number(head, b"content-length")
    if length is None or length > ANSWER_BYTES_MAX:
        raise MalformedAnswer("no usable Content-Length")
    end = head_end + 4 + length
    if len(data) < end:
        return None
    return Answer(int(head[9:12]), head, data[head_end + 4 : end], end)


def header_number(head: bytes, name: bytes) -> int | None:
    """Return the non-negative integer in the header `name` (lower case), or None."""
    start = head.find(b"\r\n" + name.title() + b":")
    if start < 0:
        start = head.lower().find(b"\r\n" + name + b":")
        if start < 0:
            return None
    value = head[start + len(name) + 3 : head.find(b"\r\n", start + 2)].strip()
    return int(value) if value.isdigit() and len(value) < 10 else None


def closes_connection(head: bytes) -> bool:
    """Say whether the sender announced that it closes the connection after this answer."""
    return b"\r\nconnection: close" in head.lower()


def ending_of(status: int, body: bytes) -> Ending:
    """Return how a request with this answer ended. Raises MalformedAnswer for an outcome outside the contract."""
    if status != 200:
        return Ending.REFUSED
    if not body.startswith(_OUTCOME_PREFIX):
        raise MalformedAnswer("a body without an outcome")
    name = body[12 : body.find(b'"', 12)]
    ending = _ENDINGS.get(name)
    if ending is None:
        raise MalformedAnswer(f"unknown outcome {name!r}")
    return ending


@lru_cache(REFUSALS_REMEMBERED_MAX)
def check_refusal(status: int, head: bytes, body: bytes) -> None:
    """Raise MalformedAnswer unless this is a refusal by RFC 9457: people never get an error page."""
    if b"\r\ncontent-type: application/problem+json\r\n" not in head.lower():
        raise MalformedAnswer(f"a {status} that is no problem+json")
    try:
        problem = _problem_decoder.decode(body)
    except msgspec.DecodeError as error:
        raise MalformedAnswer(str(error)) from None
    if problem.status != status or not problem.title:
        raise MalformedAnswer(f"a {status} whose problem is another one")


def read_granted(body: bytes) -> GrantedBody:
    """Return the typed body of a `granted` answer. Raises MalformedAnswer."""
    try:
        return _granted_decoder.decode(body)
    except msgspec.DecodeError as error:
        raise MalformedAnswer(str(error)) from None


def read_opens_at(body: bytes) -> float:
    """Return `opens_at` of a `not_open` answer in seconds since the Unix epoch. Raises MalformedAnswer."""
    try:
        opens_at = _not_open_decoder.decode(body).opens_at
    except msgspec.DecodeError as error:
        raise MalformedAnswer(str(error)) from None
    if opens_at.tzinfo is None:
        raise MalformedAnswer("opens_at without an offset")
    return opens_at.timestamp()
