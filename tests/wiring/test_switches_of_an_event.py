"""Switches on a running event, over HTTP: what they change, how fast, who may, and what is written down."""

import asyncio
import json
import statistics
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from operator import ge
from pathlib import Path
from typing import Any, Final

import pytest

from redrush.config import parse_campaign
from redrush.control.control_access import load_token
from redrush.control.data_dir import DataDir
from redrush.control.event import load_open_terms
from redrush.control.issuing import plan_tickets
from redrush.control.operators import add_operator, remove_operator
from redrush.control.sealing import load_campaign
from redrush.control.switch_follower import SwitchFollower
from redrush.control.switch_log import entries_of
from redrush.core.steering.switches import Snapshot
from redrush.errors import RedrushError
from redrush.http.ask import ControlAddress
from redrush.wiring.embedded import Embedded, Ports
from tests.campaigns import a_round, campaign
from tests.gate.world import Answer, read_answer, request, to_this_machine
from tests.patience import PATIENCE_S, OwnTime

TEXT: Final = campaign(
    a_round("r1", "1000.00", 100000),
    a_round("r2", "1.00", 10, opens="2090-01-01T00:00:00Z"),
    tables="""\
[[playbook]]
name = "calm"
description = "no packets, no queries"
[playbook.settings]
"release.r1.per_second" = 0
sampling.non_core = 0
""",
)
RULE: Final = """
[[rule]]
name = "crowded"
playbook = "calm"
reading = "gate.connections"
leaves_at = 2
returns_at = 1
after = "100ms"
hold = "200ms"
"""
FAR_S: Final = 4_000_000_000
EFFECT_MAX_S: Final = 0.1


class Event:
    """A running embedded form, a client of each port, and the token."""

    def __init__(self, directory: Path, ports: dict[str, int]) -> None:
        self.data_dir = DataDir(directory)
        self.ports = ports
        self.token = load_token(self.data_dir)
        self._users = count(1)

    async def ask(self, port: str, data: bytes) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[port])
        writer.write(to_this_machine(data) if port == "control" else data)
        received = b""
        while (found := read_answer(received)) is None:
            more = await reader.read(65_536)
            assert more, received
            received += more
        writer.close()
        return found[0]

    async def control(self, method: str, path: str, token: str | None = "", **fields: Any) -> Answer:
        """Ask the control API, with the right token unless another is given."""
        body = json.dumps(fields).encode() if fields else b""
        headers = ["Content-Type: application/json"] if fields else []
        return await self.ask("control", request(method, path, self.token if token == "" else token, body, headers))

    async def switch(self, name: str, value: object) -> dict[str, Any]:
        answer = await self.control("PUT", f"/v1/switches/{name}", value=value, why="test", who="ann")
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json
        return found

    def new_ticket(self) -> str:
        return self.ticket(f"user{next(self._users)}")

    def ticket(self, user: str) -> str:
        return next(plan_tickets(self.data_dir, [user], None, "2h", FAR_S).lines()).split("\t")[1]

    async def grab(self, ticket: str | None = None, round_id: str = "r1") -> Answer:
        return await self.ask("gate", request("POST", f"/v1/rounds/{round_id}/grab", ticket or self.new_ticket()))

    async def value(self, name: str) -> object:
        listed = (await self.control("GET", "/v1/switches")).json["switches"]
        return next(row["value"] for row in listed if row["name"] == name)


@asynccontextmanager
async def running(directory: Path, text: str = TEXT) -> AsyncIterator[Event]:
    embedded = Embedded(parse_campaign(text, "c.toml"), DataDir(directory), Ports("127.0.0.1", 0, 0))
    ports = await embedded.start()
    try:
        yield Event(directory, ports)
    finally:
        await embedded.stop()


class Crowd:
    """Participants who ask again and again, each time for another user; `outcomes` are in order."""

    def __init__(self, event: Event, size: int) -> None:
        self.outcomes: list[str] = []
        self._event = event
        self._tickets = deque(event.new_ticket() for _ in range(4_000))
        self._answered = [0] * size  # how often, by participant
        self._tasks = [asyncio.create_task(self._ask(number)) for number in range(size)]

    async def _ask(self, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._event.ports["gate"])
        try:
            while True:
                ticket = self._tickets.popleft() if self._tickets else self._event.new_ticket()
                writer.write(request("POST", "/v1/rounds/r1/grab", ticket))
                received = b""
                while (found := read_answer(received)) is None:
                    more = await reader.read(65_536)
                    assert more, received
                    received += more
                self._answered[number] += 1
                if found[0].status != 503:  # on a busy machine some are told to come again
                    self.outcomes.append(found[0].outcome)
                await asyncio.sleep(0.005)
        finally:
            writer.close()

    async def after(self, count: int) -> list[str]:
        """Return what comes next, so many outcomes."""
        seen = len(self.outcomes)
        await self._until(lambda: len(self.outcomes) >= seen + count)
        return self.outcomes[seen:]

    async def sees(self, outcome: str, seen: int) -> None:
        """Return when somebody has this outcome, after the first `seen` of them."""
        await self._until(lambda: outcome in self.outcomes[seen:])

    async def all_ask_anew(self) -> None:
        """Return when everybody was answered to what they have asked from now on."""
        enough = [times + 2 for times in self._answered]
        await self._until(lambda: all(map(ge, self._answered, enough)))

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await asyncio.sleep(0)
                for task in self._tasks:
                    if task.done():
                        task.result()  # it has failed


async def test_a_release_pace_acts_within_a_tenth_of_a_second_in_the_middle_of_a_rush(tmp_path: Path) -> None:
    async with running(tmp_path) as event:
        await event.switch("release.r1.per_second", 0)
        crowd = Crowd(event, 16)
        taken_s = []
        for wanted in ("granted", "missed") * 3:
            before = "missed" if wanted == "granted" else "granted"
            assert set(await crowd.after(100)) == {before}, "the regime before holds for all"
            taken, seen = OwnTime(), len(crowd.outcomes)
            await event.switch("release.r1.per_second", "off" if wanted == "granted" else 0)
            await crowd.sees(wanted, seen)
            taken_s.append(taken.passed_s)
            await crowd.all_ask_anew()  # what was on its way may still be of the regime before
        await crowd.end()
        assert statistics.median(taken_s) <= EFFECT_MAX_S, taken_s


async def test_an_ended_event_is_closed_for_all_but_who_has_won_and_opens_again(tmp_path: Path) -> None:
    async with running(tmp_path) as event:
        winner = event.new_ticket()
        granted = (await event.grab(winner)).json["grant"]
        done = await event.switch("answer_ended", True)
        assert done["changes"] == [{"switch": "answer_ended", "from": False, "to": True}]
        assert (await event.grab()).outcome == "closed"
        assert (await event.grab(round_id="r2")).outcome == "closed", "also a round that has not opened"
        repeat = (await event.grab(winner)).json
        assert (repeat["repeat"], repeat["grant"]) == (True, granted), "what was won stays won"
        assert (await event.ask("gate", request("GET", "/v1/rounds/r1"))).json["state"] == "closed"
        await event.switch("answer_ended", False)
        assert (await event.grab()).outcome == "granted"
        assert (await event.grab(round_id="r2")).outcome == "not_open"
        assert (await event.ask("gate", request("GET", "/v1/rounds/r1"))).json["state"] == "open"
        await event.switch("answer_ended.r2", True)
        assert (await event.grab()).outcome == "granted"
        assert (await event.grab(round_id="r2")).outcome == "closed"


async def test_non_core_requests_make_way_and_claims_do_not(tmp_path: Path) -> None:
    async with running(tmp_path) as event:
        ticket = event.new_ticket()
        await event.switch("sampling.non_core", 0)
        for refused in (request("GET", "/v1/grants", ticket), request("GET", "/v1/rounds/r1")):
            answer = await event.ask("gate", refused)
            assert (answer.status, answer.headers["retry-after"]) == (503, "3")
            assert answer.headers["content-type"] == "application/problem+json"
        assert (await event.grab(ticket)).outcome == "granted"
        assert (await event.ask("gate", request("GET", "/livez"))).status == 200
        await event.switch("sampling.non_core", 0.5)
        statuses = {(await event.ask("gate", request("GET", "/v1/rounds/r1"))).status for _ in range(200)}
        assert statuses == {200, 503}
        await event.switch("sampling.non_core", 1)
        assert len((await event.ask("gate", request("GET", "/v1/grants", ticket))).json["grants"]) == 1


async def test_settlement_rests_while_it_is_paused_and_catches_up_afterwards(tmp_path: Path) -> None:
    async with running(tmp_path) as event:

        async def behind() -> float:
            metrics = (await event.ask("control", request("GET", "/metrics"))).body.decode()
            return float(metrics.split("\nredrush_records_behind ")[1].split("\n")[0])

        async def caught_up() -> None:
            async with asyncio.timeout(PATIENCE_S):
                while await behind():
                    await asyncio.sleep(0.01)

        await caught_up()  # recording begins when the server answers, and not before
        await event.switch("settlement.paused", True)
        await caught_up()  # a slice that was under way
        assert (await event.grab()).outcome == "granted"
        deadline_s = time.monotonic() + 0.5
        while time.monotonic() < deadline_s:
            assert await behind() == 1, "the log keeps it"
        await event.switch("settlement.paused", False)
        await caught_up()


async def test_a_limit_on_waiting_claims_holds_and_is_taken_back(tmp_path: Path) -> None:
    embedded = Embedded(parse_campaign(TEXT, "c.toml"), DataDir(tmp_path), Ports("127.0.0.1", 0, 0))
    event = Event(tmp_path, await embedded.start())
    configured = embedded.gate.gauge.parked_max
    for value, holds in (("7", 7), (999_999, configured), ("off", configured)):
        await event.switch("flow.store.claims_waiting_max", value)
        assert embedded.gate.gauge.parked_max == holds
    await embedded.stop()


async def test_a_playbook_is_applied_and_undone_as_one_and_a_later_hand_stays(tmp_path: Path) -> None:
    async with running(tmp_path) as event:
        await event.switch("release.r1.per_second", 5)
        applied = await event.control("POST", "/v1/playbooks/calm/apply", why="room lost", who="bob")
        assert {change["switch"]: change["to"] for change in applied.json["changes"]} == {
            "release.r1.per_second": 0,
            "sampling.non_core": 0,
        }
        listed = (await event.control("GET", "/v1/playbooks")).json["playbooks"]
        assert [(row["name"], row["applied_by"]) for row in listed] == [("calm", "event")]
        await event.switch("sampling.non_core", 0.25)
        undone = await event.control("POST", "/v1/playbooks/calm/undo")
        assert undone.json["changes"] == [{"switch": "release.r1.per_second", "from": 0.0, "to": 5.0}]
        assert undone.json["kept"] == [{"switch": "sampling.non_core", "value": 0.25, "set_by": "event"}]
        again = await event.control("POST", "/v1/playbooks/calm/undo")
        assert (again.status, again.json["detail"]) == (
            409,
            'playbook "calm" is not applied, there is nothing to undo',
        )


async def test_every_change_is_in_the_log_and_none_that_was_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as event:
        await event.switch("answer_ended", True)
        assert (await event.control("PUT", "/v1/switches/answer_ended", value=7)).status == 400
        await event.switch("answer_ended", None)
        entries = (await event.control("GET", "/v1/switches/log")).json["entries"]
    keys = ("version", "who", "said", "why")
    assert [(*(entry[key] for key in keys), entry["what"]["action"]) for entry in entries] == [
        (1, "event", "ann", "test", "set"),
        (2, "event", "ann", "test", "release"),
    ], "who it was is whose token it was; the name that was said stands beside"
    assert len(entries_of(DataDir(tmp_path).switches)) == 2


async def test_what_was_switched_holds_from_the_first_answer_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as event:
        await event.switch("answer_ended.r1", True)
    changed = TEXT.replace("sampling.non_core = 0", "sampling.non_core = 0.5") + RULE
    async with running(tmp_path, changed) as event:
        assert (await event.grab()).outcome == "closed"
        listed = (await event.control("GET", "/v1/playbooks")).json["playbooks"]
        assert listed[0]["settings"]["sampling.non_core"] == 0.5, "plans are not part of the seal"


WRONG: Final[list[tuple[str, str, dict[str, Any], int]]] = [
    ("PUT", "/v1/switches/nothing", {"value": 1}, 404),
    ("PUT", "/v1/switches/answer_ended", {"value": 7}, 400),
    ("PUT", "/v1/switches/answer_ended", {"value": [True]}, 400),
    ("PUT", "/v1/switches/answer_ended", {"value": True, "extra": 1}, 400),
    ("PUT", "/v1/switches/answer_ended", {"why": "no value"}, 400),
    ("PUT", "/v1/switches/answer_ended", {}, 400),
    ("PUT", "/v1/switches/answer_ended", {"value": None}, 409),
    ("POST", "/v1/switches/answer_ended", {"value": True}, 405),
    ("POST", "/v1/playbooks/storm/apply", {}, 404),
    ("POST", "/v1/playbooks/calm/apply", {"why": 1}, 400),
    ("POST", "/v1/switches/watch", {"version": "new"}, 400),
    ("GET", "/v1/switches/nothing", {}, 404),
]


async def test_what_is_wrong_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as event:
        for method, path, fields, status in WRONG:
            answer = await event.control(method, path, **fields)
            assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json"), path
            assert answer.json["detail"]
    assert entries_of(DataDir(tmp_path).switches) == []


@pytest.mark.parametrize("token", [None, "wrong", "x" * 43, "ticket"])
async def test_only_who_has_the_token_may_look_or_switch(tmp_path: Path, token: str | None) -> None:
    async with running(tmp_path) as event:
        if token == "ticket":
            token = event.new_ticket()
        for _ in range(2):  # the second time the head is known
            for method, path, fields in (
                ("GET", "/v1/switches", {}),
                ("GET", "/v1/switches/log", {}),
                ("PUT", "/v1/switches/answer_ended", {"value": True}),
                ("POST", "/v1/playbooks/calm/apply", {}),
            ):
                refused = await event.control(method, path, token, **fields)
                assert (refused.status, "token" in refused.json["detail"]) == (401, True)
                assert refused.headers["www-authenticate"].startswith("Bearer")
        assert (await event.control("GET", "/v1/switches")).status == 200
        assert (await event.ask("gate", request("GET", "/v1/switches", event.token))).status == 404
        assert oct(event.data_dir.control_token.stat().st_mode)[-3:] == "600"
    assert entries_of(DataDir(tmp_path).switches) == []


async def test_an_operators_own_token_says_who_it_was_whatever_the_body_says(tmp_path: Path) -> None:
    async with running(tmp_path) as event:
        now_s = int(time.time())
        tokens = {name: add_operator(event.data_dir, name, now_s) for name in ("ann", "bob")}
        late = add_operator(event.data_dir, "late", now_s - 100, 60)
        for name, token in tokens.items():
            put = await event.control("PUT", "/v1/switches/answer_ended", token, value=name == "ann", who="the boss")
            assert put.status == 200
        assert (await event.control("GET", "/v1/switches", late)).status == 401, "its time is over"
        remove_operator(event.data_dir, "bob")
        for _ in range(2):
            assert (await event.control("GET", "/v1/switches", tokens["bob"])).status == 401
        assert (await event.control("GET", "/v1/switches", tokens["ann"])).status == 200
        event.data_dir.operators.write_text("[half a fi")
        assert (await event.control("GET", "/v1/switches", tokens["ann"])).status == 200, "what was read last holds"
        entries = entries_of(event.data_dir.switches)
    assert [(entry.who, entry.said) for entry in entries] == [("ann", "the boss"), ("bob", "the boss")]
    secret = event.data_dir.operators.stat().st_mode
    assert oct(secret)[-3:] == "600"


async def test_a_rule_applies_its_playbook_under_pressure_and_takes_it_back_by_itself(tmp_path: Path) -> None:
    async with running(tmp_path, TEXT + RULE) as event:
        crowd = [await asyncio.open_connection("127.0.0.1", event.ports["gate"]) for _ in range(4)]
        async with asyncio.timeout(PATIENCE_S):
            while await event.value("release.r1.per_second") != 0:
                await asyncio.sleep(0.02)
            await event.switch("sampling.non_core", 1)
            for _, writer in crowd:
                writer.close()
            while await event.value("release.r1.per_second") != "off":
                await asyncio.sleep(0.02)
        entries = entries_of(event.data_dir.switches)
        assert [entry.who for entry in entries] == ["rule crowded", "event", "rule crowded"]
        assert entries[0].why == "gate.connections is 4"
        assert [kept.set_by for kept in entries[2].kept] == ["event"], "the operator's hand stays"


async def test_a_rule_that_is_gone_from_the_file_leaves_nothing_behind(tmp_path: Path) -> None:
    async with running(tmp_path, TEXT + RULE) as event:
        crowd = [await asyncio.open_connection("127.0.0.1", event.ports["gate"]) for _ in range(4)]
        async with asyncio.timeout(PATIENCE_S):
            while await event.value("release.r1.per_second") != 0:
                await asyncio.sleep(0.02)
        for _, writer in crowd:
            writer.close()
    # Whether the rule had time to take it back itself or not, the next start must not keep it.
    async with running(tmp_path) as event, asyncio.timeout(PATIENCE_S):
        while await event.value("release.r1.per_second") != "off":
            await asyncio.sleep(0.02)


class Following:
    """A gate elsewhere that follows the switches of an event."""

    def __init__(self, event: Event, kept: Path) -> None:
        self.faults: list[RedrushError] = []
        registry = load_open_terms(event.data_dir).plans.registry(load_campaign(event.data_dir))
        address = ControlAddress("127.0.0.1", event.ports["control"])
        self._follower = SwitchFollower(address, event.token, registry, kept, on_fault=self.faults.append)
        self.heard: asyncio.Queue[Snapshot] = asyncio.Queue()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Following"]:
        task = asyncio.create_task(self._run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        async for snapshot in self._follower.snapshots():
            self.heard.put_nowait(snapshot)


async def test_another_process_hears_of_a_change_within_a_tenth_of_a_second(tmp_path: Path) -> None:
    async with running(tmp_path / "d") as event, Following(event, tmp_path / "kept").running() as gate:
        assert [(await gate.heard.get()).version for _ in range(2)] == [-1, 0], "the defaults, then what holds"
        taken_s = []
        for share in (0.5, 0.6, 0.7, 0.8, 0.9):
            taken = OwnTime()
            await event.switch("sampling.non_core", share)
            snapshot = await gate.heard.get()
            taken_s.append(taken.passed_s)
            assert snapshot.number("sampling.non_core") == share
        assert statistics.median(taken_s) <= EFFECT_MAX_S, taken_s
        assert gate.faults == []


async def test_a_gate_that_starts_while_the_control_role_is_away_remembers_what_it_heard_last(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    async with running(tmp_path / "d") as event:
        await event.switch("answer_ended", True)
        async with Following(event, kept).running() as gate:
            while not (await gate.heard.get()).flag("answer_ended"):
                pass
            while not kept.exists():
                await asyncio.sleep(0)
    lonely = Following(event, kept)
    async with lonely.running():
        assert (await lonely.heard.get()).flag("answer_ended")
        while not lonely.faults:
            await asyncio.sleep(0)
        assert "control port 127.0.0.1" in str(lonely.faults[0])


async def test_a_gate_follows_again_when_the_control_role_is_back(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    async with running(directory) as event:
        following = Following(event, tmp_path / "kept")
    async with following.running(), asyncio.timeout(PATIENCE_S):
        while not following.faults:
            await asyncio.sleep(0.01)
        embedded = Embedded(
            parse_campaign(TEXT, "c.toml"), DataDir(directory), Ports("127.0.0.1", 0, event.ports["control"])
        )
        event = Event(directory, await embedded.start())
        await event.switch("answer_ended", True)
        while not (await following.heard.get()).flag("answer_ended"):
            pass
        taken = OwnTime()
        await embedded.stop()
        assert taken.passed_s < 5, "a poll that waits does not hold up the stop"
