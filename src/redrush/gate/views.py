"""What participants can read: the public state of a round, and their own grants."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from redrush.core.load.client_policy import ClientPolicy
from redrush.core.rush.instants import http_date, rfc3339
from redrush.core.rush.phase import Phase
from redrush.dependency import Unanswered
from redrush.gate.answer_times import AnswerTimes
from redrush.gate.queries import Queries, refused
from redrush.gate.rush.line import WaitingRoom
from redrush.gate.rush.rush import TIME_FRESH_US, Rush
from redrush.http import answers
from redrush.http.route import Tagged, Waiter

POLICY_CACHED_S = 60
"""How long the client policy may be cached: it is fetched once a visit, and a change need not be quicker than that."""


class RoundView:
    """The route of `GET /v1/rounds/{round}`: built when asked for, once in TIME_FRESH_US, the same for everybody."""

    def __init__(self, rush: Rush, now_us: Callable[[], int], interval_ms: int, times: AnswerTimes) -> None:
        """`interval_ms` is the least time between two requests of a client, as the client policy has it; what is
        advised under overload goes before it."""
        self._rush = rush
        self._now_us = now_us
        self.interval_ms = interval_ms
        self._times = times
        self._fresh_until_us = 0
        self._answer = b""
        self.line: WaitingRoom | None = None
        """Where people wait for the round, if they must."""
        self.fields: dict[str, Any] = {}

    def _renew(self) -> None:
        rush = self._rush
        round_, now_us, packets = rush.round, self._now_us(), rush.slots
        self._fresh_until_us = now_us + TIME_FRESH_US
        self._packets = packets
        self._phase = phase = rush.phase()
        self._sold_out = rush.sold_out
        self._advised_ms = rush.advised_ms
        self.fields = {
            "round": round_.id,
            "state": "sold_out" if phase is Phase.OPEN and self._sold_out else phase,
            "opens_at": rfc3339(round_.opens_us),
            "closes_at": rfc3339(round_.closes_us),
            "server_time": rfc3339(now_us),
            "packets": packets,
            "interval_ms": self._advised_ms or self.interval_ms,
        }
        self.fields |= rush.public_fields(now_us)
        if self.line is not None:
            self.fields["line"] = self.line.fields(now_us)
        self._answer = answers.json_answer(self.fields, _public_head(now_us))

    def renew(self) -> bool:
        """Renew the answer if the state has changed, or its time is out of date; returns whether it had."""
        rush = self._rush
        if (
            self._now_us() >= self._fresh_until_us
            or rush.phase() is not self._phase
            or rush.sold_out is not self._sold_out
            or rush.advised_ms != self._advised_ms
            or rush.slots != self._packets
        ):
            self._renew()
            return True
        return False

    def serve(self, waiter: Waiter, user: str) -> bytes:
        """Return the state of the round, as of TIME_FRESH_US ago at most, and never past an opening or a close."""
        self._times.states_told += 1
        self.renew()
        return self._answer


class RoundsView:
    """The route of `GET /v1/rounds`: the public states of all rounds, in their order; the same bytes for everybody."""

    def __init__(self, views: Sequence[RoundView], now_us: Callable[[], int], times: AnswerTimes) -> None:
        self._views = views
        self._times = times
        self._now_us = now_us
        self._answer: bytes | None = None

    def serve(self, waiter: Waiter, user: str) -> bytes:
        """Return the list, as fresh as the states of the rounds are."""
        self._times.states_told += 1
        changed = [view.renew() for view in self._views]
        if self._answer is None or any(changed):
            states = [view.fields for view in self._views]
            now_us = self._now_us()
            listed = {"rounds": states, "server_time": rfc3339(now_us)}
            self._answer = answers.json_answer(listed, _public_head(now_us))
        return self._answer


def _public_head(now_us: int) -> str:
    return f"Date: {http_date(now_us)}\r\nCache-Control: public, max-age=1\r\n"


class GrantsView:
    """The route of `GET /v1/grants`: the caller's grants, in order of the rounds, and their plays."""

    def __init__(
        self,
        rounds: Sequence[Rush],
        queries: Queries,
        now_us: Callable[[], int],
        others: Callable[[str], Awaitable[Sequence[str]]] | None = None,
    ) -> None:
        """`rounds` in the order to answer in; `others` returns the user's grants of what is no round, as JSON: these
        come last. None: there are none such."""
        self._rounds = rounds
        self._others = others
        self._now_us = now_us
        self._queries = queries

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer later, when the user's home set of every round has been asked: the sets at the same time, the rounds
        of one set in turn. An answer without one of them would be a lie, so a set that is away is told as such."""
        return self._queries.answer(waiter, self._grants(user))

    async def _grants(self, user: str) -> bytes:
        now_us = self._now_us()
        by_set: dict[str, list[Rush]] = {}
        for rush in self._rounds:
            if rush.round.opens_us <= now_us:
                by_set.setdefault(rush.home(user).lane.set, []).append(rush)
        grants: dict[str, list[str]] = {}
        for refusal in await asyncio.gather(*(_collect(rounds, user, grants) for rounds in by_set.values())):
            if refusal is not None:
                return refused(refusal)
        found = [grant for rush in self._rounds for grant in grants.get(rush.round.id, ())]
        if self._others is not None:
            found += await self._others(user)
        text = ",".join(found)
        plays = {
            rush.round.id: told
            for rush in self._rounds
            if rush.round.opens_us <= now_us < rush.round.closes_us and (told := rush.plays_of(user)) is not None
        }
        of_plays = f',"plays":{json.dumps(plays)}' if plays else ""
        head = f"Date: {http_date(now_us)}\r\nCache-Control: no-store\r\n"
        return answers.answer(200, f'{{"grants":[{text}]{of_plays}}}'.encode("ascii"), headers=head)


async def _collect(rounds: Sequence[Rush], user: str, grants: dict[str, list[str]]) -> Unanswered | None:
    """Add what the user has in these rounds of one set; or return why that is not known."""
    for rush in rounds:
        found = await rush.grants_of(user)
        if isinstance(found, Unanswered):
            return found
        grants[rush.round.id] = found
    return None


class PolicyView(Tagged):
    """The route of `GET /v1/policy`: the client policy as data."""

    def __init__(self, policy: ClientPolicy) -> None:
        self.show(policy)

    def show(self, policy: ClientPolicy) -> None:
        """Tell of this policy from now on."""
        self.say(msgspec.json.encode(policy), f"Cache-Control: public, max-age={POLICY_CACHED_S}\r\n")


class Computed:
    """A route whose answer is computed at each request: for the control port, not for the rush."""

    def __init__(self, compute: Callable[[], bytes]) -> None:
        self._compute = compute

    def serve(self, waiter: Waiter, user: str) -> bytes:
        """Compute the answer."""
        return self._compute()
