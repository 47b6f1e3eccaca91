"""A waiting room over real sockets: a pass, the place, the way in, and that there is no other."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from redrush.core.identity.passes import Pass, Passes
from redrush.core.identity.proof_of_work import ProofOfWork
from redrush.core.rush.line import START, LineState, LineTerms, Mark, Order, commitment, drawn_place, line_key
from redrush.core.rush.serving import Serving
from redrush.gate.rush.line import WaitingRoom
from tests import openapi
from tests.gate.world import (
    CLOSES_US,
    OPENS_US,
    SECOND_US,
    SEED,
    TICKET_RING,
    Answer,
    Client,
    RunningGate,
    request,
    running_gate,
)

LINE, ENTER, GRAB, ROUND = (f"/v1/rounds/r1{suffix}" for suffix in ("/line", "/enter", "/grab", ""))
JSON = ("Content-Type: application/json",)
KEY = line_key(SEED, "r1")
TERMS = LineTerms(
    opens_before_us=600 * SECOND_US,
    order=Order.RANDOM,
    pace_per_s=10.0,
    grace_us=10 * SECOND_US,
    admitted_us=20 * SECOND_US,
)
BEFORE_US = OPENS_US - 60 * SECOND_US


def changed(**fields: Any) -> LineTerms:
    return msgspec.structs.replace(TERMS, **fields)


def room_of(gate: RunningGate) -> WaitingRoom:
    [room] = gate.gate.waiting_rooms
    return room


def show(gate: RunningGate, **state: Any) -> None:
    room_of(gate).show(LineState(**state))


class Person:
    """Somebody with a connection, whose answers are held against the OpenAPI document."""

    def __init__(self, gate: RunningGate, client: Client, user: str) -> None:
        self._gate = gate
        self._client = client
        self.user = user
        self.passed = ""

    async def ask(self, method: str, path: str, ticket: str | None, body: Any = None) -> Answer:
        data = b"" if body is None else json.dumps(body).encode()
        answer = await self._client.ask(request(method, path, ticket, data, JSON if data else ()))
        openapi.check(method, path, answer)
        return answer

    async def join(self) -> Any:
        answer = await self.ask("POST", LINE, self._gate.ticket(self.user))
        self.passed = answer.json.get("pass", self.passed)
        return answer.json

    async def enter(self, pass_: str | None = None) -> Any:
        body = {"pass": self.passed if pass_ is None else pass_}
        return (await self.ask("POST", ENTER, self._gate.ticket(self.user), body)).json

    async def grab(self, ticket: str | None = None) -> Answer:
        return await self.ask("POST", GRAB, ticket or self._gate.ticket(self.user))

    async def line(self) -> Any:
        return (await self.ask("GET", ROUND, None)).json["line"]


async def person(gate: RunningGate, user: str) -> Person:
    return Person(gate, await gate.connect(), user)


async def test_who_comes_early_has_a_drawn_place_the_same_each_time_and_goes_in_when_it_is_served() -> None:
    async with running_gate(line=TERMS, now_us=BEFORE_US) as gate:
        ann = await person(gate, "ann")
        joined = await ann.join()
        place = drawn_place(KEY, "ann")
        assert (joined["outcome"], joined["place"]) == ("in_line", place)
        assert joined["opens_at"] == "2027-01-15T08:00:00.000000Z"
        assert (await ann.join())["pass"] == joined["pass"]
        assert (await ann.enter())["outcome"] == "waiting", "before the round opens nobody goes in"
        gate.at(OPENS_US)
        show(gate, serving=place - 1, called_per_s=2.0, joined=1, marks=(Mark(place - 1, 0), Mark(START, 40)))
        waiting = await ann.enter()
        assert (waiting["outcome"], waiting["ahead"], waiting["wait_s"]) == ("waiting", 0, [0, 1])
        show(gate, serving=place)
        admitted = await ann.enter()
        assert admitted["outcome"] == "admitted"
        assert (await ann.grab(admitted["ticket"])).outcome == "granted"


async def test_the_pass_outlives_the_gate() -> None:
    async with running_gate(line=TERMS, now_us=BEFORE_US) as gate:
        ann = await person(gate, "ann")
        pass_ = (await ann.join())["pass"]
    async with running_gate(line=TERMS, now_us=OPENS_US) as gate:
        show(gate, serving=START)
        ann = await person(gate, "ann")
        assert (await ann.enter(pass_))["outcome"] == "admitted"


async def test_a_round_with_a_line_takes_nobody_who_did_not_come_through_it() -> None:
    async with running_gate(line=TERMS) as gate:
        ann, bob = await person(gate, "ann"), await person(gate, "bob")
        refused = await ann.grab()
        assert refused.status == 409
        assert refused.json["line"] == {
            "join": "/v1/campaigns/cny/rounds/r1/line",
            "enter": "/v1/campaigns/cny/rounds/r1/enter",
        }
        show(gate, serving=OPENS_US)
        await ann.join()
        ticket = (await ann.enter())["ticket"]
        await bob.grab(ticket)
        assert (await bob.ask("GET", "/v1/grants", ticket)).status == 401, "it is good for the round alone"
        assert (await ann.ask("POST", "/v1/rounds/r2/grab", ticket)).status == 401
        assert (await ann.ask("POST", LINE, ticket)).status == 401
        assert gate.store.calls == [("ann",)], "whoever brings it, it is ann who claims, and nobody else does"


async def test_an_admission_expires() -> None:
    async with running_gate(line=TERMS, packets=1) as gate:
        ann = await person(gate, "ann")
        show(gate, serving=OPENS_US)
        await ann.join()
        ticket = (await ann.enter())["ticket"]
        gate.advance(TERMS.admitted_us // SECOND_US + 1)
        assert (await ann.grab(ticket)).status == 401


async def test_late_comers_stand_in_the_order_of_their_coming_behind_all_early_ones() -> None:
    async with running_gate(line=TERMS, now_us=OPENS_US) as gate:
        people = [await person(gate, f"u{number}") for number in range(5)]
        places = [(await one.join())["place"] for one in people]
        assert places == sorted(set(places)), "also those of one instant"
        assert all(place >= START for place in places)
        assert [(await one.join())["place"] for one in people] == places


async def test_first_come_first_served_from_the_first_on_where_it_is_wanted() -> None:
    async with running_gate(line=changed(order=Order.FIFO), now_us=BEFORE_US) as gate:
        ann = await person(gate, "ann")
        joined = await ann.join()
        assert joined["place"] == BEFORE_US
        assert joined["ahead"] == 0
        gate.at(OPENS_US)
        assert (await ann.join())["place"] == BEFORE_US


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda pass_: pass_[:-1] + ("0" if pass_[-1] != "0" else "1"), "forged"),
        (lambda pass_: pass_.replace("~u", "~u1"), "forged"),
        (lambda pass_: pass_ * 2, "unreadable"),
        (lambda pass_: pass_[:0], "unreadable"),
    ],
)
async def test_a_pass_that_is_none_is_refused_with_the_reason(spoil: Callable[[str], str], reason: str) -> None:
    async with running_gate(line=TERMS, now_us=BEFORE_US) as gate:
        ann = await person(gate, "ann")
        pass_ = (await ann.join())["pass"]
        gate.at(OPENS_US)
        show(gate, serving=START)
        answer = await ann.enter(spoil(pass_))
        assert (answer["status"], answer["reason"]) == (400, reason)


async def test_a_pass_is_useless_to_somebody_else() -> None:
    async with running_gate(line=TERMS, now_us=BEFORE_US) as gate:
        ann, bob = await person(gate, "ann"), await person(gate, "bob")
        pass_ = (await ann.join())["pass"]
        gate.at(OPENS_US)
        show(gate, serving=START)
        assert (await bob.enter(pass_))["reason"] == "forged"


async def test_whose_time_is_over_may_join_again_at_the_end() -> None:
    async with running_gate(line=TERMS, now_us=BEFORE_US) as gate:
        ann = await person(gate, "ann")
        place = (await ann.join())["place"]
        gate.at(OPENS_US + 20 * SECOND_US)
        show(gate, serving=START, lapsed=place)
        assert (await ann.enter()) == {"outcome": "passed"}
        again = await ann.join()
        assert again["place"] == OPENS_US + 20 * SECOND_US
        assert (await ann.enter())["outcome"] == "waiting"


async def test_whose_time_is_over_returns_softly_once_where_that_is_set() -> None:
    async with running_gate(line=changed(soft_return=30), now_us=BEFORE_US) as gate:
        ann = await person(gate, "ann")
        place = (await ann.join())["place"]
        gate.at(OPENS_US + 20 * SECOND_US)
        behind = START + 1_000_000
        show(gate, serving=START, lapsed=place, marks=(Mark(START, 0), Mark(behind, 60)))
        returned = await ann.enter()
        assert returned["outcome"] == "passed"
        assert returned["place"] == START + 500_000
        assert (await ann.enter(returned["pass"]))["outcome"] == "waiting"
        show(gate, serving=behind, lapsed=behind)
        assert (await ann.enter(returned["pass"])) == {"outcome": "passed"}, "once"


async def test_before_the_line_opens_and_after_the_round_there_is_no_pass() -> None:
    async with running_gate(line=TERMS, now_us=BEFORE_US - 600 * SECOND_US) as gate:
        ann = await person(gate, "ann")
        joined = await ann.join()
        assert (joined["outcome"], joined["opens_at"]) == ("not_open", "2027-01-15T07:50:00.000000Z")
        assert (await ann.line())["state"] == "not_open"
        gate.at(CLOSES_US)
        assert (await ann.join()) == {"outcome": "closed"}
        assert (await ann.enter("rw1~")) == {"outcome": "closed"}


async def test_when_nothing_is_left_who_waits_is_told_so() -> None:
    async with running_gate(line=TERMS, packets=1) as gate:
        ann, bob = await person(gate, "ann"), await person(gate, "bob")
        show(gate, serving=OPENS_US + 1)
        for one in (ann, bob):
            await one.join()
        tickets = [(await one.enter())["ticket"] for one in (ann, bob)]
        assert [(await ann.grab(ticket)).outcome for ticket in tickets] == ["granted", "empty"]
        assert (await bob.join()) == {"outcome": "empty"}
        assert (await bob.enter()) == {"outcome": "empty"}


async def test_a_line_may_be_full_and_who_has_a_place_keeps_it() -> None:
    async with running_gate(line=changed(places_max=1), now_us=BEFORE_US) as gate:
        ann, bob = await person(gate, "ann"), await person(gate, "bob")
        assert (await ann.join())["outcome"] == "in_line"
        assert (await bob.join()) == {"outcome": "line_closed"}
        assert (await ann.join())["outcome"] == "in_line"


async def test_operators_close_and_pause_a_line() -> None:
    async with running_gate(line=TERMS, now_us=BEFORE_US) as gate:
        ann, bob = await person(gate, "ann"), await person(gate, "bob")
        await ann.join()
        show(gate, closed=True)
        assert (await bob.join()) == {"outcome": "line_closed"}
        assert (await bob.line())["state"] == "closed"
        gate.at(OPENS_US)
        show(gate, paused=True, serving=0, called_per_s=3.0)
        waiting = await ann.enter()
        assert waiting["paused"] is True
        assert "wait_s" not in waiting
        assert (await bob.line())["state"] == "paused"


async def test_who_may_not_win_gets_no_pass() -> None:
    async with running_gate(line=TERMS, now_us=BEFORE_US, audience={"ann"}) as gate:
        assert (await (await person(gate, "eve")).join()) == {"outcome": "not_eligible"}


async def test_the_public_state_tells_everybody_where_they_stand_and_proves_the_order_afterwards() -> None:
    async with running_gate(line=TERMS, now_us=BEFORE_US) as gate:
        ann = await person(gate, "ann")
        show(gate, serving=7, lapsed=3, waiting=50, joined=60, called_per_s=4.5, marks=(Mark(7, 0), Mark(START, 50)))
        line = await ann.line()
        assert line == {
            "state": "open",
            "opens_at": "2027-01-15T07:50:00.000000Z",
            "order": "random",
            "serving": 7,
            "lapsed": 3,
            "joined": 60,
            "waiting": 50,
            "called_per_second": 4.5,
            "marks": [[7, 0], [START, 50]],
            "commitment": commitment(KEY),
        }
        gate.at(CLOSES_US)
        over = await ann.line()
        assert over["state"] == "over"
        assert commitment(bytes.fromhex(over["key"])) == line["commitment"]


async def test_the_line_never_goes_back_whatever_the_gate_is_told() -> None:
    async with running_gate(line=TERMS) as gate:
        show(gate, serving=900)
        show(gate, serving=100)
        assert room_of(gate).state.serving == 900


async def test_proof_of_work_comes_before_the_line() -> None:
    async with running_gate(line=TERMS, now_us=BEFORE_US, proof_of_work=ProofOfWork()) as gate:
        ann = await person(gate, "ann")
        answer = await ann.ask("POST", LINE, gate.ticket("ann"))
        assert answer.status == 401
        assert answer.json["exchange"]["ticket"] == "/v1/ticket"
        assert (await ann.grab()).status == 409


async def test_a_crowd_goes_in_through_one_gate_at_the_pace_and_nobody_before_their_turn() -> None:
    """The gate and what moves the line together, in the test's own time."""
    async with running_gate(line=changed(pace_per_s=20.0), now_us=BEFORE_US, packets=500) as gate:
        client, room = await gate.connect(), room_of(gate)
        serving = Serving(room.terms, OPENS_US, CLOSES_US)
        users = [f"u{number}" for number in range(300)]
        for user in users:
            await client.ask(request("POST", LINE, gate.ticket(user)))
        passes = Passes(TICKET_RING, "cny")
        order = sorted(users, key=lambda user: drawn_place(KEY, user))
        entered: list[str] = []
        for step in range(5 * 10):
            gate.at(OPENS_US + step * SECOND_US // 5)
            told = room.places.told(gate.clock.now_us)
            room.places.heard(told, enough=serving.hear("g", told, gate.clock.now_us), serving=serving.serving)
            serving.move(gate.clock.now_us, 20.0)
            room.show(serving.state())
            for user in order[len(entered) : len(entered) + 12]:
                one = Pass(round="r1", place=drawn_place(KEY, user), issued_s=0, expires_s=CLOSES_US // SECOND_US)
                body = json.dumps({"pass": passes.sign(one, user)}).encode()
                answer = await client.ask(request("POST", ENTER, gate.ticket(user), body, JSON))
                if answer.outcome == "admitted":
                    entered.append(user)
        assert entered == order[: len(entered)]
        assert len(entered) == pytest.approx(20 * 10, rel=0.1)
        serving.hear("g", room.places.told(gate.clock.now_us), gate.clock.now_us)
        assert serving.entered == len(entered)
