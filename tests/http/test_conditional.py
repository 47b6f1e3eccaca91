"""Who has a public answer already is not sent it again: tags, in whichever way a request is read."""

import pytest

from redrush.http.answers import answer
from redrush.http.route import Tagged
from tests.gate.world import request, running_gate


async def test_the_policy_is_sent_once_to_whoever_keeps_it() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        first = await client.ask(request("GET", "/v1/policy"))
        tag = first.headers["etag"]
        assert first.status == 200
        for _ in range(3):  # also when the head of an unconditional one is known
            assert (await client.ask(request("GET", "/v1/policy"))).body == first.body
            for said in (tag, f"W/{tag}", f'"other", {tag}', "*"):
                await client.send(request("GET", "/v1/policy", headers=[f"If-None-Match: {said}"]))
                had = await client.answer(to_head=True)
                assert (had.status, had.body, had.headers["etag"]) == (304, b"", tag)
                assert had.headers["cache-control"] == first.headers["cache-control"]
        for said in ('"other"', tag.strip('"'), "W/*", ""):
            assert (await client.ask(request("GET", "/v1/policy", headers=[f"If-None-Match: {said}"]))).status == 200
        await client.send(request("HEAD", "/v1/policy", headers=[f"If-None-Match: {tag}"]))
        assert (await client.answer(to_head=True)).status == 304
        assert (await client.ask(request("GET", "/livez", headers=["If-None-Match: *"]))).status == 200


async def test_what_has_no_tag_is_sent_whatever_a_client_has() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        told = await client.ask(request("GET", "/v1/rounds/r1", headers=["If-None-Match: *"]))
        assert (told.status, told.json["round"]) == (200, "r1")
        claim = request("POST", "/v1/rounds/r1/grab", gate.ticket("alice"), headers=["If-None-Match: *"])
        assert (await client.ask(claim)).outcome == "granted"


def test_other_bodies_have_other_tags() -> None:
    assert Tagged(b"{}", "").etag == Tagged(b"{}", "").etag != Tagged(b"[]", "").etag


@pytest.mark.parametrize(("status", "reason"), [(202, b"Accepted"), (410, b"Gone"), (413, b"Content Too Large")])
def test_every_status_has_its_reason(status: int, reason: bytes) -> None:
    assert answer(status, b"").startswith(b"HTTP/1.1 %d %b\r\n" % (status, reason))
