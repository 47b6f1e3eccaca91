"""`GET /state/{campaign}.json` and the page at `/`: for everybody, without a ticket, from memory."""

import gzip

from msgspec import structs

from redrush.core.steering.switches import NOTICES, Snapshot, registry_of
from tests import openapi
from tests.gate.world import CLOSES_US, OPENS_US, SECOND_US, RunningGate, request, running_gate


async def _state(gate: RunningGate, query: str = "?s=1800000000") -> dict[str, object]:
    client = await gate.connect()
    answer = await client.ask(request("GET", f"/state/cny.json{query}"))
    client.leave()
    openapi.check("GET", "/state/cny.json", answer)
    told: dict[str, object] = answer.json
    return told


async def test_the_state_has_what_a_waiting_page_needs_and_may_be_kept_by_an_edge_alone() -> None:
    async with running_gate(now_us=OPENS_US - 5 * SECOND_US) as gate:
        client = await gate.connect()
        answer = await client.ask(request("GET", "/state/cny.json?s=1799999995"))
        assert answer.headers["cache-control"] == "public, max-age=0, s-maxage=1, stale-if-error=10"
        told = answer.json
        assert {key: told[key] for key in told if key != "rounds"} == {
            "v": 1,
            "now": (OPENS_US - 5 * SECOND_US) // 1_000,
            "round": "r1",
            "phase": "before",
            "opens": OPENS_US // 1_000,
            "closes": CLOSES_US // 1_000,
            "interval_ms": 1_000,
            "left": "plenty",
            "key": None,
        }
        assert [(one["round"], one["phase"]) for one in told["rounds"]] == [("r1", "before"), ("r2", "before")]
        assert len(answer.raw) < 1_200


async def test_the_phase_turns_with_the_clock_and_the_current_round_is_the_one_that_is_open() -> None:
    async with running_gate(now_us=OPENS_US - 1) as gate:
        seen = []
        for now_us in (OPENS_US - 1, OPENS_US, CLOSES_US - 1, CLOSES_US, CLOSES_US + 3_600 * SECOND_US):
            gate.clock.now_us = now_us
            told = await _state(gate)
            assert told["now"] == now_us // 1_000
            seen.append((told["round"], told["phase"]))
        assert seen == [("r1", "before"), ("r1", "open"), ("r1", "open"), ("r2", "before"), ("r2", "closed")]


async def test_what_is_left_is_told_in_classes_and_never_counted() -> None:
    async with running_gate(packets=20) as gate:
        client = await gate.connect()
        seen = [(await _state(gate))["left"]]
        for number in range(21):
            await client.grab(f"user-{number}")
            gate.clock.now_us += SECOND_US
            await _state(gate)  # which lets a look begin
            gate.clock.now_us += SECOND_US // 50
            seen.append((await _state(gate))["left"])
        assert seen == ["plenty"] * 19 + ["few", "none", "none"]


async def test_a_rush_that_an_operator_ends_is_closed_in_the_state_at_once() -> None:
    async with running_gate() as gate:
        gate.gate.rounds["r1"].set_ended(True)
        assert (await _state(gate))["round"] == "r2"


async def test_a_notice_is_in_the_state_at_once_in_its_languages_and_gone_with_its_switches() -> None:
    async with running_gate() as gate:
        values = {name: switch.default for name, switch in registry_of([("r1", None), ("r2", None)], ()).items()}
        assert "notice" not in await _state(gate)
        ids = []
        for version, texts in enumerate(
            ({"en": "Back at 20:15"}, {"en": "Back at 20:15", "zh": "20:15 恢复"}, {"zh": "20:15 恢复"}), start=1
        ):
            set_ = {NOTICES[language]: text for language, text in texts.items()}
            gate.gate.switches.apply(Snapshot(version, values | set_))
            told = (await _state(gate))["notice"]
            assert isinstance(told, dict)
            ids.append(told.pop("id"))
            assert told == texts
        assert len(set(ids)) == len(ids)
        gate.gate.switches.apply(Snapshot(9, values))
        assert "notice" not in await _state(gate)


async def test_the_page_is_at_the_root_and_at_its_campaign_gzipped_for_whoever_takes_it() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        plain = await client.ask(request("GET", "/"))
        zipped = await client.ask(request("GET", "/c/cny", headers=["Accept-Encoding: gzip, deflate, br"]))
        assert plain.status == zipped.status == 200
        assert gzip.decompress(zipped.body) == plain.body
        assert b'"id":"cny"' in plain.body
        assert "content-encoding" not in plain.headers
        assert zipped.headers["content-encoding"] == "gzip"
        for one in (plain, zipped):
            assert one.headers["vary"] == "Accept-Encoding"
            assert "no-store" not in one.headers["cache-control"]
            assert one.headers["content-security-policy"].startswith("default-src 'none'")
        refused = await client.ask(request("GET", "/", headers=["Accept-Encoding: gzip;q=0"]))
        assert "content-encoding" not in refused.headers
        # A head like that of the last one must not be answered as the last one was.
        again = await client.ask(request("GET", "/", headers=["Accept-Encoding: gzip"]))
        assert again.headers["content-encoding"] == "gzip"
        await client.send(request("GET", "/", headers=[f"If-None-Match: {plain.headers['etag']}"]))
        assert (await client.answer(to_head=True)).status == 304
        await client.send(request("HEAD", "/"))
        assert (await client.answer(to_head=True)).headers["content-length"] == str(len(plain.body))
        assert (await client.ask(request("GET", "/c/another"))).status == 404


async def test_the_service_worker_is_looked_up_anew_each_time_and_may_ask_its_own_site_alone() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        worker = await client.ask(request("GET", "/sw.js"))
        assert worker.headers["content-type"].startswith("text/javascript")
        assert worker.headers["cache-control"] == "no-cache"
        assert worker.headers["content-security-policy"] == "default-src 'none'; connect-src 'self'"
        event = gate.gate.campaigns["cny"].event
        gate.gate.campaigns["cny"].advise(event.policy, structs.replace(event.page, offline=False))
        gone = await client.ask(request("GET", "/sw.js"))
        assert b"unregister()" in gone.body
        assert gone.headers["etag"] != worker.headers["etag"]


async def test_the_page_and_the_state_go_with_their_campaign() -> None:
    async with running_gate() as gate:
        gate.gate.remove("cny")
        client = await gate.connect()
        for path in ("/", "/sw.js", "/c/cny", "/state/cny.json"):
            assert (await client.ask(request("GET", path))).status == 404
