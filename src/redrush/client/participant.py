"""One participant over HTTP: fetches the policy and the time, waits for the opening, asks, and keeps to the policy.

    async with Participant(["https://hongbao.example"], ticket, show=print) as participant:
        result = await participant.grab("r20")
        if result.grant is not None:
            print(result.grant.amount, result.grant.currency)

What is decided is decided by `redrush.client.policy`; here is only what it cannot do: sockets and waiting. aiohttp and
not httpx: both are well kept, and a program with many participants wants the one that costs less per request.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

import msgspec

from redrush.client.answers import (
    Grant,
    UnreadableAnswer,
    read_grab,
    read_policy,
    read_problem,
    read_retry_after_s,
    read_round,
)
from redrush.client.asked import Asked, unreached_why
from redrush.client.clock import ServerClock
from redrush.client.exchanging import UNREACHABLE, exchange_ticket
from redrush.client.http import aiohttp
from redrush.client.policy import (
    DECIDED,
    GATE_DEADLINE_S,
    GATE_FAILED_STATUSES,
    RETRIED_STATUSES,
    Asking,
    Gates,
    Showing,
    Step,
    waiting_text,
)
from redrush.client.queueing import InLine
from redrush.core.identity.tickets import is_proven
from redrush.core.load.client_policy import ClientPolicy
from redrush.core.rush.outcomes import Outcome

ANSWER_BYTES_MAX = 65_536
"""No answer of the contract comes near this; what is longer is not read to its end."""
READ_DEADLINE_S = 3.0
"""For policy and state, which a cache answers: a client that cannot have them begins without."""
READ_SOON_S = 1.5
"""The same while there is another gate to ask."""
CONNECT_S = 1.5
"""How long a connection may take where there is another gate: one lost packet is sent again within a second."""
SAMPLES_MAX = 4
SAMPLE_EVERY_S = 0.3
"""Times of the server before an opening, which a gate renews every second: one of them is at most 0.4 s old."""
SHAKES_MAX = 1_000
"""Tries after which a program that keeps missing stops: at the interval of a second, a quarter of an hour."""

LINES_MAX = 8
"""Times that a program stands in one line: who is let in and does not claim in time may stand in it again."""

PROBLEM = "application/problem+json"
"""What every refusal of a gate is; another one, from a captive portal or a redirect, must not end the asking."""


class Shown(msgspec.Struct, frozen=True):
    """What to show now: `text` is in the participant's language, "" where the outcome speaks for itself; `next_in_s` is
    None when the client has stopped."""

    showing: Showing
    text: str
    next_in_s: float | None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a grab ended. `outcome` is None if no answer could be had (`given_up`), or only a refusal (`refused`).

    Without an outcome the claim may still have been granted: asking again tells.
    """

    showing: Showing
    outcome: Outcome | None
    grant: Grant | None
    status: int
    """Of the last claim; 0 if it got no answer, or if nothing was claimed as the ticket could not be exchanged."""
    requests: int
    """Claims that were sent."""
    play: int | None = None
    """The number of the play, in a draw."""
    plays_left: int | None = None


class Participant:
    """A context. `gates` are base URLs of gates of one event, the preferred one first.

    `show` is called with every change of what a person should see. `draw` gives numbers uniform in [0, 1) and is the
    only source of chance. One `grab` at a time: one request under way is the policy.
    """

    def __init__(
        self,
        gates: Sequence[str],
        ticket: str,
        *,
        language: str = "en",
        show: Callable[[Shown], None] | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        if not gates or not all(gate.startswith(("http://", "https://")) for gate in gates):
            raise ValueError(f"a participant needs at least one gate, as http:// or https:// URLs, not {list(gates)}")
        self._gates = [gate.rstrip("/") for gate in gates]
        self._chosen = Gates(len(self._gates), draw)
        self._ticket = ticket
        self._admission: str | None = None
        """The ticket that leads out of the line of the round that is asked, if it has one."""
        self._language = language
        self._show = show
        self._draw = draw
        self._session: aiohttp.ClientSession | None = None
        self._one = asyncio.Lock()
        self._clock = ServerClock()
        self._advised_ms: int | None = None
        self._unreached: str | None = None
        """Why no gate can be reached, until one has answered for the first time: then all is as with any server."""
        self._reached = False
        self._keys: dict[str, str] = {}
        """Of rounds that have one, what follows the path of a claim."""
        # One for all grabs: whoever asks again by hand, or in a loop, has no fresh budget.
        self._asking = Asking(ClientPolicy(), draw)

    @property
    def policy(self) -> ClientPolicy:
        """The newest policy that could be fetched, until then the built-in one."""
        return self._asking.policy

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def grab(self, round_id: str) -> Result:
        """Ask for a packet of the round, from before its opening if need be, until there is a final outcome.

        Returns when the outcome is final, a refusal is final, `attempts_max` failures came in a row, or SHAKES_MAX
        requests were sent. Raises nothing for what networks and servers do.
        """
        async with self._one:
            return await self._grab(round_id)

    async def play(self, round_id: str, number: int | None = None) -> Result:
        """Make one play of a draw, from before its opening if need be, until it is decided: granted, missed, or none.

        `number` is that of the play; None: the next one that the gate knows of. What a number comes to never changes,
        so after an answer that was lost the same number is asked again, and nobody loses a play by it. Raises nothing
        for what networks and servers do.
        """
        body = b"{}" if number is None else b'{"play":%d}' % number
        async with self._one:
            return await self._grab(round_id, body)

    async def _grab(self, round_id: str, body: bytes | None = None) -> Result:
        """`body`: of a play, which a miss decides."""
        await self._refresh_policy()
        asking = self._asking
        requests = lines = 0
        self._admission = None
        ended = await self._prove() if self.policy.proof_of_work else None
        step = ended or asking.begin(await self._opens_in_s(round_id))
        asked = Asked(step)
        while step.pause_s is not None and requests < SHAKES_MAX:
            await self._wait(step)
            held_back = asking.sending(asyncio.get_running_loop().time())
            if held_back is not None:
                step = held_back
                continue
            self._tell(Step(0.0, Showing.ASKING))
            requests += 1
            asked = await self._ask(round_id, body)
            step = asked.step
            if asked.unproven:
                step = await self._prove() or Step(0.0, Showing.ASKING)
            elif asked.in_line and lines < LINES_MAX:
                lines += 1
                asked = await self._stand_in_line(round_id)
                step = asked.step
        self._tell(step)
        return Result(
            showing=step.showing,
            outcome=asked.outcome,
            grant=asked.grant,
            status=asked.status,
            requests=requests,
            play=asked.play,
            plays_left=asked.plays_left,
        )

    async def _ask(self, round_id: str, body: bytes | None) -> Asked:
        """Send one claim and return what came of it."""
        asking, gates = self._asking, self._chosen
        loop = asyncio.get_running_loop()
        sent_s = loop.time()
        try:
            path = f"/v1/rounds/{round_id}/grab{self._keys.get(round_id, '')}"
            status, headers, said = await self._request(
                "POST", path, self._deadline_s(), body=body, ticket=self._admission or self._ticket
            )
            if status != 200:
                if status not in RETRIED_STATUSES and headers.get("Content-Type") != PROBLEM:
                    raise UnreadableAnswer("a refusal by something else than a gate")
                problem = read_problem(said)
                unproven = status == 401 and problem.exchange is not None and not is_proven(self._ticket)
                step = asking.refused(
                    status,
                    retry_after_s=read_retry_after_s(headers.get("Retry-After")),
                    interval_ms=problem.interval_ms,
                    elsewhere=problem.elsewhere and len(self._gates) > 1,
                    another=gates.another(loop.time()),
                )
                if problem.elsewhere or status in GATE_FAILED_STATUSES:
                    gates.failed(loop.time(), spoke=True)
                in_line = problem.line is not None or (status == 401 and self._admission is not None)
                return Asked(step, status=status, unproven=unproven, in_line=in_line)
            answer = read_grab(said)
        except UNREACHABLE as fault:
            return Asked(self._gate_failed(fault))
        gates.answered()
        if answer.server_time is not None:
            self._clock.observe(sent_s, loop.time(), answer.server_time.timestamp())
        instant = answer.opens_at or answer.next_chance_at
        opens_in_s = None if instant is None else self._until_s(instant)
        if answer.outcome is Outcome.NOT_OPEN and opens_in_s is not None and opens_in_s <= 0:
            await self._sample(round_id)  # it is open, so there is a key, which the public state tells
        interval_ms = answer.interval_ms or self._advised_ms
        step = asking.answered(answer.outcome, interval_ms=interval_ms, opens_in_s=opens_in_s)
        if body is not None and answer.outcome in {Outcome.MISSED, Outcome.LIMIT} and not answer.ask_again:
            step = DECIDED  # of a play: another one has another number
        return Asked(step, answer.outcome, answer.grant, status, play=answer.play, plays_left=answer.plays_left)

    def _deadline_s(self) -> float:
        """Return how long an answer is waited for: less where there is another gate to turn to."""
        deadline_s = self.policy.answer_deadline_ms / 1e3
        another = self._chosen.another(asyncio.get_running_loop().time())
        return min(deadline_s, GATE_DEADLINE_S) if another else deadline_s

    def _gate_failed(self, fault: Exception) -> Step:
        """Return what follows no answer of the contract, and turn to another gate."""
        now_s = asyncio.get_running_loop().time()
        reached = not isinstance(fault, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
        step = self._asking.failed(reached=reached, another=self._chosen.another(now_s))
        self._chosen.failed(now_s)
        return step

    # Before the opening

    async def _stand_in_line(self, round_id: str) -> Asked:
        """Wait in the round's line, and claim with what it gives from then on."""
        self._admission = None
        line = InLine(
            lambda method, path, body: self._request(method, path, self._deadline_s(), body=body, ticket=self._ticket),
            self._asking,
            self._wait,
            self._gate_failed,
            self._draw,
            round_id,
        )
        found = await line.stand()
        if isinstance(found, Step):
            return Asked(found)
        if isinstance(found, Outcome):
            return Asked(Step(None, Showing.DECIDED), found, status=200)
        self._admission = found
        return Asked(Step(0.0, Showing.ASKING))

    async def _prove(self) -> Step | None:
        """Have the ticket exchanged, unless it is proven; return how the asking ended if that cannot be."""
        if is_proven(self._ticket):
            return None
        found = await exchange_ticket(
            lambda method, path, body: self._request(method, path, self._deadline_s(), body=body, ticket=self._ticket),
            self._asking,
            self._wait,
            self._gate_failed,
        )
        if isinstance(found, Step):
            return found
        self._ticket = found
        return None

    async def _refresh_policy(self) -> None:
        """Fetch the policy from the first gate that has it; keep the one there is if that cannot be.

        So a gate that is dead, or hangs, costs one short time-out before the opening, and no claim."""
        for _ in self._gates:
            try:
                status, _, body = await self._request("GET", "/v1/policy", self._read_deadline_s())
                if status == 200:
                    self._asking.policy = read_policy(body)
                    return
            except UNREACHABLE:
                pass
            now_s = asyncio.get_running_loop().time()
            if not self._chosen.another(now_s):
                return
            self._chosen.failed(now_s)

    def _read_deadline_s(self) -> float:
        another = self._chosen.another(asyncio.get_running_loop().time())
        return READ_SOON_S if another else READ_DEADLINE_S

    async def _opens_in_s(self, round_id: str) -> float:
        """Return when the round opens, or 0 if that cannot be learned: then the claim itself will tell.

        Before the opening the time is asked for several times within a second, since each answer may be a second old.
        """
        opens_in_s = await self._sample(round_id)
        for _ in range(SAMPLES_MAX - 1):
            if opens_in_s < 2 * SAMPLE_EVERY_S:
                break
            await asyncio.sleep(SAMPLE_EVERY_S * (0.8 + 0.4 * self._draw()))
            opens_in_s = await self._sample(round_id)
        return opens_in_s

    async def _sample(self, round_id: str) -> float:
        loop = asyncio.get_running_loop()
        sent_s = loop.time()
        try:
            status, _, body = await self._request("GET", f"/v1/rounds/{round_id}", self._read_deadline_s())
            if status != 200:
                return 0.0
            state = read_round(body)
        except UNREACHABLE:
            return 0.0
        self._clock.observe(sent_s, loop.time(), state.server_time.timestamp())
        self._advised_ms = state.interval_ms
        if state.key is not None:
            self._keys[round_id] = f"/{state.key}"
        return self._until_s(state.opens_at)

    def _until_s(self, instant: datetime) -> float:
        if not self._clock.known:
            return 0.0
        return self._clock.until_s(instant.timestamp(), asyncio.get_running_loop().time())

    # Sockets and waiting

    async def _request(
        self, method: str, path: str, deadline_s: float, *, body: bytes | None = None, ticket: str | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body; with this ticket, if any. Raises one of UNREACHABLE."""
        assert self._session is not None, "use the participant as a context: async with Participant(…) as participant"
        headers = {} if ticket is None else {"Authorization": f"Bearer {ticket}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        gate = self._gates[self._chosen.at]
        connect_s = CONNECT_S if len(self._gates) > 1 else None
        timeout = aiohttp.ClientTimeout(total=deadline_s, sock_connect=connect_s)
        try:
            request = self._session.request(
                method, gate + path, data=body, headers=headers, timeout=timeout, allow_redirects=False
            )
            response = await request
        except (aiohttp.ClientError, OSError) as fault:
            self._unreached = f"{gate}: {unreached_why(fault)}"
            raise
        async with response:
            self._reached = True
            answer = b""
            async for chunk in response.content.iter_any():
                answer += chunk
                if len(answer) > ANSWER_BYTES_MAX:
                    raise UnreadableAnswer("longer than any answer of the contract")
            return response.status, response.headers, answer

    async def _wait(self, step: Step) -> None:
        self._tell(step)
        if step.pause_s:
            await asyncio.sleep(step.pause_s)

    def _tell(self, step: Step) -> None:
        if self._show is not None:
            unreached = None if self._reached else self._unreached
            text = waiting_text(self.policy, step, self._language, unreached=unreached)
            self._show(Shown(step.showing, text, step.pause_s))
