"""Exchanging a ticket for a proven one, by the client policy: a challenge, work, and the solution.

The work is done in slices between which the event loop goes on; a thread would not help, since hashing short texts
holds the interpreter. A program with many participants does the work of all of them on one core.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import msgspec

from redrush.client.answers import UnreadableAnswer, read_challenge, read_problem, read_retry_after_s, read_ticket
from redrush.client.http import aiohttp
from redrush.client.policy import Asking, Showing, Step
from redrush.core.identity.proof_of_work import Challenge, tries

TRIES_AT_ONCE = 1_024
"""Hashes between two turns of the event loop: about a millisecond."""
RESTS_MAX = 8
"""Openings in a row that a counter may rest around before its rest counts as a failure."""
HASHES_MAX = 1 << 26
"""A challenge that asks for more is none of a campaign file; nobody should work for it."""

UNREACHABLE = (aiohttp.ClientError, TimeoutError, OSError, UnreadableAnswer)
"""All the ways in which no answer of the contract may be had."""

_Read = TypeVar("_Read")

Request = Callable[[str, str, bytes | None], Awaitable[tuple[int, Mapping[str, str], bytes]]]
"""Sends method, path and JSON with the ticket; returns status, headers and body, or raises one of UNREACHABLE."""


async def exchange_ticket(
    request: Request,
    asking: Asking,
    wait: Callable[[Step], Awaitable[None]],
    failed: Callable[[Exception], Step],
) -> str | Step:
    """Return the proven ticket; or, if there is none to be had, the step with which the asking ended.

    `asking` decides whether and when something is sent again, and `wait` waits for that; `failed` is told why there was
    no answer, and says what follows.
    """
    challenge = await ask_until_told(request, asking, wait, failed, "GET", "/v1/challenge", None, read_challenge)
    if isinstance(challenge, Step):
        return challenge
    solution = await solve(challenge)
    if solution is None:
        return asking.refused(400)
    body = msgspec.json.encode({"altcha": solution})
    return await ask_until_told(request, asking, wait, failed, "POST", "/v1/ticket", body, read_ticket)


async def solve(challenge: Challenge) -> str | None:
    """Return the solution as it is to be sent, or None if there is none, or too much would be asked."""
    if challenge.maxnumber > HASHES_MAX:
        return None
    for solution in tries(challenge, TRIES_AT_ONCE):
        if solution is not None:
            return solution
        await asyncio.sleep(0)
    return None


async def ask_until_told(  # noqa: PLR0913, PLR0917 - one request with all that belongs to it
    request: Request,
    asking: Asking,
    wait: Callable[[Step], Awaitable[None]],
    failed: Callable[[Exception], Step],
    method: str,
    path: str,
    body: bytes | None,
    read: Callable[[bytes], _Read],
) -> _Read | Step:
    """Ask until there is an answer of the contract, or no asking again could change a thing."""
    step = Step(0.0, Showing.ASKING)
    rests = 0
    while step.pause_s is not None:
        await wait(step)
        held_back = asking.sending(asyncio.get_running_loop().time())
        if held_back is not None:
            step = held_back
            continue
        try:
            status, headers, answer = await request(method, path, body)
            if status == 200:
                found = read(answer)
                asking.served()
                return found
            problem, retry_after_s = read_problem(answer), read_retry_after_s(headers.get("Retry-After"))
            if problem.resting and retry_after_s is not None and rests < RESTS_MAX:
                rests += 1
                asking.served()
                step = asking.begin(retry_after_s)
            else:
                step = asking.refused(status, retry_after_s=retry_after_s, interval_ms=problem.interval_ms)
        except UNREACHABLE as fault:
            step = failed(fault)
    return step
