"""What participants can read: the public state of a round, and their own grants."""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from redrush.core.client_policy import ClientPolicy
from redrush.core.instants import http_date, rfc3339
from redrush.core.phase import Phase
from redrush.gate import answers
from redrush.gate.claims import RoundClaims
from redrush.gate.grants import GrantWriter
from redrush.gate.route import Waiter
from redrush.ports.store import Store, StoreFailed

POLICY_CACHED_S = 60
"""How long the client policy may be cached: it is fetched once a visit, and a change need not be quicker than that."""

QUERIES_MAX = 256
"""Grant queries under way at once; above it they are refused, so that they cannot crowd out claims."""


class RoundView:
    """The route of `GET /v1/rounds/{round}`; built once a second, the same bytes for everybody."""

    def __init__(self, claims: RoundClaims, now_us: Callable[[], int], interval_ms: int) -> None:
        """`interval_ms` is the least time between two requests of a client, as the client policy has it."""
        self._claims = claims
        self._now_us = now_us
        self._interval_ms = interval_ms
        self.tick()

    def tick(self) -> None:
        """Renew the answer. Call every second, and when the state changes."""
        round_ = self._claims.round
        self._phase = phase = self._claims.phase()
        self._sold_out = self._claims.sold_out
        self._answer = answers.json_answer(
            {
                "round": round_.id,
                "state": "sold_out" if phase is Phase.OPEN and self._sold_out else phase,
                "opens_at": rfc3339(round_.opens_us),
                "closes_at": rfc3339(round_.closes_us),
                "server_time": rfc3339(self._now_us()),
                "packets": round_.slots.count,
                "interval_ms": self._interval_ms,
            },
            f"Date: {http_date(self._now_us())}\r\nCache-Control: public, max-age=1\r\n",
        )

    def serve(self, waiter: Waiter, user: str) -> bytes:
        """Return the state of the round, at most a second old, but never past an opening or a close."""
        if self._claims.phase() is not self._phase or self._claims.sold_out is not self._sold_out:
            self.tick()
        return self._answer


class GrantsView:
    """The route of `GET /v1/grants`: the caller's grants in every round, in order of the rounds."""

    def __init__(self, store: Store, writers: Mapping[str, GrantWriter], now_us: Callable[[], int]) -> None:
        """`writers` by round id, in the order to answer in."""
        self._store = store
        self._now_us = now_us
        self._writers = writers
        self._queries: set[asyncio.Task[None]] = set()

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer later, when the store has been asked."""
        if len(self._queries) >= QUERIES_MAX:
            return answers.BUSY
        query = asyncio.create_task(self._query(waiter, user))
        self._queries.add(query)
        query.add_done_callback(self._queries.discard)
        return None

    async def _query(self, waiter: Waiter, user: str) -> None:
        grants = []
        try:
            for round_id, writer in self._writers.items():
                claimed = await self._store.find(round_id, user)
                if claimed is not None:
                    grants.append(writer.write(user, claimed.slot, claimed.at_us))
        except StoreFailed:
            waiter.send(answers.STORE_FAILED)
            return
        body = f'{{"grants":[{",".join(grants)}]}}'.encode("ascii")
        head = f"Date: {http_date(self._now_us())}\r\nCache-Control: no-store\r\n"
        waiter.send(answers.answer(200, body, headers=head))


def policy_view(policy: ClientPolicy) -> "Fixed":
    """Return the route of `GET /v1/policy`: the client policy as data."""
    head = f"Cache-Control: public, max-age={POLICY_CACHED_S}\r\n"
    return Fixed(answers.answer(200, msgspec.json.encode(policy), headers=head))


class Fixed:
    """A route that always gives the same answer."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def serve(self, waiter: Waiter, user: str) -> bytes:
        """Return the answer."""
        return self._answer


class Computed:
    """A route whose answer is computed at each request: for the control port, not for the rush."""

    def __init__(self, compute: Callable[[], bytes]) -> None:
        self._compute = compute

    def serve(self, waiter: Waiter, user: str) -> bytes:
        """Compute the answer."""
        return self._compute()
