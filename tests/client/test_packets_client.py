"""The client of packets against a real server."""

from pathlib import Path

import pytest

from redrush.client.packets import PacketRefused, Packets
from tests.wiring.group_world import group_server

SHARE = 'total = "3.00"\ncount = 3'


async def test_packets_are_sent_grabbed_ended_opened_and_shared(tmp_path: Path) -> None:
    async with group_server(tmp_path, share=SHARE) as people:
        gate = f"http://127.0.0.1:{people.port}"
        await people.win("ann")
        async with Packets(gate, people.ticket("ann")) as ann, Packets(gate, people.ticket("bob")) as bob:
            assert (await ann.terms())["balance"] == "100.00"
            packet = await ann.send("10.00", 2, greeting="恭喜", word="芝麻开门", whom=["bob", "carl"])
            assert (packet["state"], packet["for"]) == ("open", "named")
            assert (await bob.grab(packet["id"])) == {"outcome": "wrong_word"}
            grabbed = await bob.grab(packet["id"], "芝麻开门")
            assert grabbed["outcome"] == "granted"
            assert (await bob.look(packet["id"]))["grant"] == grabbed["grant"]
            ended = await ann.end(packet["id"])
            assert (ended["state"], [one["id"] for one in await ann.sent()]) == ("closed", [packet["id"]])
            with pytest.raises(PacketRefused, match="a share is at most") as refused:
                await ann.create("1000.00", 1)
            assert (refused.value.status, refused.value.fields["field"]) == (400, "total")
            first, again = [await ann.create("1.00", 1, request="once") for _ in range(2)]
            assert first["id"] == again["id"]
            grant = (await people.ask("ann", "GET", "/grants")).json["grants"][0]
            assert (await ann.open(grant["id"]))["amount"] == "100.00"
            shared = await ann.share(grant["id"])
            assert (await bob.grab(shared["id"]))["outcome"] == "granted"
            with pytest.raises(PacketRefused) as nothing:
                await bob.open(grant["id"])
            assert nothing.value.status == 404


async def test_where_nobody_answers_it_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redrush.client.packets.TRIES_MAX", 1)
    async with Packets("http://127.0.0.1:9", "no ticket") as packets:
        with pytest.raises(PacketRefused, match="no answer") as nobody:
            await packets.terms()
    assert nobody.value.status == 0
