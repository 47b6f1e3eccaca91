"""Campaigns that come to a running gate and go: their paths, their tickets, and that none notices the others."""

import asyncio

import msgspec
import pytest

from redrush.core.identity.proof_of_work import ProofOfWork
from redrush.core.identity.receipts import verify_receipt
from redrush.core.identity.tickets import KeyRing, sign_ticket
from redrush.core.rush.campaign import Campaign
from redrush.core.steering.switches import OFF, Snapshot, ended_of, pace_of, registry_of
from redrush.errors import RedrushError
from redrush.gate.campaign import Event, ServedCampaign
from redrush.gate.gate import CannotServe
from redrush.gate.manners import Home
from redrush.gate.rush.rush import SLEEPS_AFTER_S
from redrush.http.route import Fixed
from redrush.ports.store import StoreConflict
from redrush.stores.memory import MemoryStore
from tests.gate.sets import ManySets, OneGate, many_sets
from tests.gate.world import (
    AMOUNTS_MINOR,
    OPENS_US,
    SECOND_US,
    Answer,
    Client,
    RunningGate,
    request,
    rounds_of,
    running_gate,
    until,
)

OTHER_TICKETS = KeyRing("k1", {"k1": b"o" * 32})
OTHER_RECEIPTS = KeyRing("k1", {"k1": b"p" * 32})
LASTS_S = 3_600


def event_of(campaign: str, *, names: tuple[str, str] = ("r1", "r2"), work: ProofOfWork | None = None) -> Event:
    """An event with keys of its own, and two rounds of three packets."""
    rounds = [msgspec.structs.replace(r, id=name) for r, name in zip(rounds_of(3, None), names, strict=True)]
    return Event(
        Campaign(id=campaign, name="别的", currency="CNY", rounds=tuple(rounds)),
        AMOUNTS_MINOR + AMOUNTS_MINOR,
        OTHER_TICKETS,
        OTHER_RECEIPTS,
        None,
        proof_of_work=work,
    )


async def added(gate: RunningGate, event: Event) -> ServedCampaign:
    """Add the campaign, with pots in the gate's one set that are named after both."""
    campaign = event.campaign.id
    return await gate.gate.add(
        event, lambda round_: [Home("only", gate.store, round_.slots, pot=f"{campaign}/{round_.id}")]
    )


async def grab(client: Client, ticket: str, path: str) -> Answer:
    return await client.ask(request("POST", path, ticket))


def ticket_of_the_other(user: str) -> str:
    return sign_ticket(OTHER_TICKETS, user, OPENS_US // SECOND_US + LASTS_S)


# -- paths


async def test_a_campaign_is_reached_by_its_own_paths_always_and_by_the_short_ones_while_no_other_has_them() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        mine, long = gate.ticket("alice"), "/v1/campaigns/cny/rounds/r1/grab"
        assert (await grab(client, mine, "/v1/rounds/r1/grab")).outcome == "granted"
        assert (await grab(client, mine, long)).json["repeat"]

        await added(gate, event_of("mid-autumn", names=("r1", "r3")))
        assert (await grab(client, mine, "/v1/rounds/r1/grab")).status == 404
        assert (await grab(client, mine, long)).json["repeat"]
        assert (await grab(client, mine, "/v1/rounds/r2/grab")).outcome == "not_open", "its id is unique still"
        theirs = ticket_of_the_other("alice")
        assert (await grab(client, theirs, "/v1/campaigns/mid-autumn/rounds/r1/grab")).outcome == "granted"
        assert (await grab(client, theirs, "/v1/rounds/r3/grab")).outcome == "not_open"

        gate.gate.remove("mid-autumn")
        assert (await grab(client, mine, "/v1/rounds/r1/grab")).json["repeat"]


@pytest.mark.parametrize("path", ["/rounds", "/rounds/r1", "/policy", "/grants"])
async def test_what_is_told_of_a_campaign_is_told_of_that_one(path: str) -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        short = await client.ask(request("GET", f"/v1{path}", gate.ticket("alice")))
        assert short.status == 200
        await added(gate, event_of("mid-autumn"))
        for campaign, ticket in (("cny", gate.ticket("alice")), ("mid-autumn", ticket_of_the_other("alice"))):
            told = await client.ask(request("GET", f"/v1/campaigns/{campaign}{path}", ticket))
            assert (told.status, told.json.keys()) == (200, short.json.keys())
        assert (await client.ask(request("GET", f"/v1{path}", gate.ticket("alice")))).status == 404


async def test_a_removed_campaign_is_a_404_on_connections_that_have_asked_for_it_and_in_its_sleep() -> None:
    async with running_gate() as gate:
        served = await added(gate, event_of("mid-autumn"))
        path, ticket = "/v1/campaigns/mid-autumn/rounds/r1/grab", ticket_of_the_other("alice")
        client = await gate.connect()
        for repeat in (False, True, True):
            assert (await grab(client, ticket, path)).json["repeat"] is repeat
        gate.gate.remove("mid-autumn")
        assert (await grab(client, ticket, path)).status == 404
        assert gate.gate.awake == set()
        gate.advance(SLEEPS_AFTER_S + 2)
        assert (await grab(await gate.connect(), ticket, path)).status == 404
        assert not any(rush.pots[0].known for rush in served.rounds), "nothing of it is kept"
        with pytest.raises(KeyError):
            gate.gate.remove("mid-autumn")
        await added(gate, event_of("mid-autumn"))
        assert (await grab(client, ticket, path)).json["repeat"], "the store has not forgotten"


async def test_claims_that_are_parked_when_their_campaign_goes_are_decided() -> None:
    async with running_gate() as gate:
        await added(gate, event_of("mid-autumn"))
        gate.store.hold()
        client = await gate.connect()
        await client.send(request("POST", "/v1/campaigns/mid-autumn/rounds/r1/grab", ticket_of_the_other("alice")))
        await gate.asked(1)
        gate.gate.remove("mid-autumn")
        gate.store.let_go()
        assert (await client.answer()).outcome == "granted"


# -- tickets, receipts


async def test_neither_a_ticket_nor_a_receipt_of_one_campaign_passes_in_another() -> None:
    async with running_gate() as gate:
        await added(gate, event_of("mid-autumn"))
        client = await gate.connect()
        mine, theirs = gate.ticket("alice"), ticket_of_the_other("alice")
        paths = [f"/v1/campaigns/{campaign}/rounds/r1/grab" for campaign in ("cny", "mid-autumn")]
        receipts = []
        for _ in range(3):  # also when the gate knows ticket, head and connection already
            grants = [await grab(client, mine, paths[0]), await grab(client, theirs, paths[1])]
            assert [grant.outcome for grant in grants] == ["granted", "granted"]
            receipts = [grant.json["grant"]["receipt"] for grant in grants]
            for ticket, path in ((theirs, paths[0]), (mine, paths[1])):
                assert (await grab(client, ticket, path)).status == 401
                assert (
                    await client.ask(request("GET", path.replace("rounds/r1/grab", "grants"), ticket))
                ).status == 401
        assert verify_receipt(OTHER_RECEIPTS, receipts[1]) is not None
        assert verify_receipt(OTHER_RECEIPTS, receipts[0]) is None


async def test_whoever_has_to_exchange_a_ticket_is_sent_to_the_counter_of_the_campaign() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        work = ProofOfWork()
        await added(gate, event_of("mid-autumn", work=work))
        path = "/v1/campaigns/mid-autumn/rounds/r1/grab"
        plain = ticket_of_the_other("alice")
        told = await grab(client, plain, path)
        assert (told.status, told.json["exchange"]["challenge"]) == (401, "/v1/challenge")
        await added(gate, event_of("lanterns", work=work))
        told = await grab(client, plain, path)
        challenge = told.json["exchange"]["challenge"]
        assert challenge == "/v1/campaigns/mid-autumn/challenge"
        assert (await client.ask(request("GET", challenge, plain))).status in {200, 503}
        assert (await client.ask(request("GET", challenge, gate.ticket("alice")))).status == 401


# -- what cannot be


async def test_a_campaign_or_a_pot_that_is_served_already_is_refused_and_changes_nothing() -> None:
    async with running_gate() as gate:
        await added(gate, event_of("mid-autumn"))
        with pytest.raises(CannotServe, match=r'"mid-autumn": it is served already'):
            await added(gate, event_of("mid-autumn"))
        with pytest.raises(CannotServe, match=r'"lanterns": its pot r1 is served already'):
            await gate.gate.add(event_of("lanterns"), lambda round_: [Home("only", gate.store, round_.slots)])
        with pytest.raises(CannotServe, match="is another store"):
            await gate.gate.add(event_of("lanterns"), lambda round_: [Home("only", MemoryStore(), round_.slots)])
        client = await gate.connect()
        assert (await client.grab("alice")).status == 404, "short paths are of two campaigns"
        path = "/v1/campaigns/{}/rounds/r1/grab"
        assert (await grab(client, gate.ticket("alice"), path.format("cny"))).outcome == "granted"
        ticket = ticket_of_the_other("alice")
        assert (await grab(client, ticket, path.format("mid-autumn"))).outcome == "granted"
        assert (await grab(client, ticket, path.format("lanterns"))).status == 404


async def test_a_campaign_whose_store_refuses_its_pots_is_not_served() -> None:
    async with running_gate() as gate:
        store = MemoryStore()

        async def refuse(_pots: object) -> None:
            raise StoreConflict("the pot has other slots")

        store.open = refuse  # type: ignore[method-assign, assignment]
        with pytest.raises(StoreConflict):
            await gate.gate.add(event_of("mid-autumn", names=("r8", "r9")), lambda r: [Home("two", store, r.slots)])
        assert list(gate.gate.campaigns) == ["cny"]
        client = await gate.connect()
        assert (await grab(client, ticket_of_the_other("alice"), "/v1/rounds/r8/grab")).status == 404


# -- switches, clocks, other gates


async def test_switches_of_one_campaign_leave_the_rounds_of_another_as_they_are() -> None:
    async with running_gate() as gate:
        served = await added(gate, event_of("mid-autumn", names=("r3", "r4")))
        defaults = {name: switch.default for name, switch in registry_of([("r1", None), ("r2", None)], ()).items()}
        gate.gate.switches.apply(Snapshot(1, defaults | {ended_of("r1"): True, pace_of("r1"): OFF}))
        client = await gate.connect()
        assert (await client.grab("alice")).outcome == "closed"
        theirs = "/v1/campaigns/mid-autumn/rounds/r3/grab"
        assert (await grab(client, ticket_of_the_other("alice"), theirs)).outcome == "granted"
        pot = served.rounds[0].knows.pot_id
        gate.gate.switches.apply_to_rounds(
            Snapshot(2, defaults | {ended_of("r1"): False, ended_of(pot): True, pace_of(pot): OFF})
        )
        assert (await grab(client, ticket_of_the_other("alice"), theirs)).json["repeat"], "what is won is won"
        assert (await grab(client, ticket_of_the_other("bob"), theirs)).outcome == "closed"


async def test_a_campaign_that_comes_while_the_clock_is_doubted_grants_nothing_either() -> None:
    async with running_gate() as gate:
        gate.gate.doubt_clock(True)
        await added(gate, event_of("mid-autumn", names=("r3", "r4")))
        client = await gate.connect()
        assert (await grab(client, ticket_of_the_other("alice"), "/v1/rounds/r3/grab")).status == 503
        gate.gate.doubt_clock(False)
        assert (await grab(client, ticket_of_the_other("alice"), "/v1/rounds/r3/grab")).outcome == "granted"


async def _added_to(event: ManySets, gate: OneGate, campaign: str) -> ServedCampaign:
    of = event_of(campaign)
    served = await gate.gate.add(
        of,
        lambda round_: [
            Home(name, store, divided, pot=f"{campaign}/{round_.id}")
            for (name, store), divided in zip(gate.stores.items(), [round_.slots], strict=False)
        ],
    )
    gate.among.add(served.rounds)
    return served


async def test_a_campaign_that_comes_to_a_gate_among_others_is_warmed_up_watched_and_left_alone_when_it_goes() -> None:
    async with many_sets(["s1"]) as event:
        one, other = await event.gate(), await event.gate()
        served = [await _added_to(event, gate, "mid-autumn") for gate in (one, other)]
        pot = served[0].rounds[0].pots[0]
        await until(lambda: all(s.rounds[0].pots[0].warm for s in served))
        assert not served[0].rounds[1].pots[0].warm, "it opens in an hour"
        path = "mid-autumn/r1"
        assert [(await one.grab(user, path))["outcome"] for user in ("a", "b", "c")] == ["granted"] * 3
        await until(lambda: all(s.rounds[0].sold_out and s.rounds[0].pots[0].complete for s in served))
        assert (await other.grab("late", path))["outcome"] == "empty"
        assert (await other.grab("a", path))["repeat"]
        assert (await one.grab("a"))["grant"]["round"] == "r1", "the first campaign goes on"
        for gate in (one, other):
            gone = gate.gate.campaigns["mid-autumn"]
            gate.among.remove(gone.rounds)
            gate.gate.remove("mid-autumn")
        assert not pot.open
        event.at(30)
        await asyncio.sleep(0.02)
        assert not one.faults + other.faults


# -- paths with open segments


async def test_a_path_with_open_segments_is_served_to_whoever_has_a_ticket_and_an_unknown_one_is_a_404() -> None:
    async with running_gate() as gate:

        def of(packet: bytes, act: bytes) -> Fixed | None:
            known = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(packet + act), packet + act)
            return Fixed(known) if packet == b"p1" else None

        (served,) = gate.gate.campaigns.values()
        gate.site.add_below(b"POST", b"/v1/packets/{}/{}", of, tickets=served.tickets)
        client, ticket = await gate.connect(), gate.ticket("alice")
        for _ in range(3):
            assert (await grab(client, ticket, "/v1/packets/p1/grab")).body == b"p1grab"
            assert (await grab(client, ticket, "/v1/packets/p1/look")).body == b"p1look"
        assert (await grab(client, ticket_of_the_other("alice"), "/v1/packets/p1/grab")).status == 401
        assert (await client.ask(request("GET", "/v1/packets/p1/grab", ticket))).status == 405
        for path in (
            "/v1/packets/p2/grab",
            "/v1/packets/p1",
            "/v1/packets//grab",
            "/v1/packets/p1/grab/x",
            "/v1/pack/p1/x",
        ):
            assert (await grab(client, ticket, path)).status == 404, path
        gate.site.remove([b"/v1/packets/{}/{}"])
        assert (await grab(client, ticket, "/v1/packets/p1/grab")).status == 404


def saying(said: bytes) -> Fixed:
    return Fixed(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))


class Echo(Fixed):
    """Answers with the body that it was asked with."""

    def reads(self, body: bytes) -> Fixed:
        return saying(body)


async def test_a_path_may_have_several_methods_each_with_a_route_of_its_own_and_a_body() -> None:
    async with running_gate() as gate:
        (served,) = gate.gate.campaigns.values()
        client, ticket = await gate.connect(), gate.ticket("alice")
        json_type = ("Content-Type: application/json",)
        gate.site.add(b"GET", b"/v1/list", saying(b"all"), needs_ticket=True, tickets=served.tickets)
        echo = Echo(b"")
        gate.site.add(b"POST", b"/v1/list", echo, needs_ticket=True, tickets=served.tickets, reads=echo.reads)
        gate.site.add_below(b"GET", b"/v1/list/{}", saying, tickets=served.tickets)
        gate.site.add_below(b"DELETE", b"/v1/list/{}", lambda _name: echo, tickets=served.tickets)
        for _ in range(2):  # what is remembered of a head is of its method
            assert (await client.ask(request("GET", "/v1/list", ticket))).body == b"all"
            assert (await client.ask(request("POST", "/v1/list", ticket, b'{"a":1}', json_type))).body == b'{"a":1}'
            assert (await client.ask(request("GET", "/v1/list/p1", ticket))).body == b"p1"
            assert (await client.ask(request("DELETE", "/v1/list/p1", ticket, b"{}", json_type))).body == b"{}"
        refused = await client.ask(request("PUT", "/v1/list", ticket))
        assert (refused.status, refused.headers["allow"]) == (405, "GET, POST")
        assert "GET or POST" in refused.json["detail"]
        assert (await client.ask(request("POST", "/v1/list/p1", ticket))).headers["allow"] == "GET, DELETE"
        gate.site.remove([b"/v1/list", b"/v1/list/{}"])
        for method, path in (("GET", "/v1/list"), ("POST", "/v1/list"), ("DELETE", "/v1/list/p1")):
            assert (await client.ask(request(method, path, ticket))).status == 404


def test_that_a_campaign_cannot_be_served_is_a_fault_with_a_sentence() -> None:
    assert issubclass(CannotServe, RedrushError)
