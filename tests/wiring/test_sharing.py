"""Shake, open, share: a winner opens what was won, and has one packet for friends, paid by the sponsor."""

import asyncio
import re
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

import pytest

from redrush.config import parse_campaign
from redrush.control.sealing import source_sha256
from redrush.errors import ConfigError
from redrush.ports.records import RecordsFailed
from redrush.records.sqlite.packets import SqlitePacketBook
from tests.patience import PATIENCE_S
from tests.wiring.group_world import Skipping, group_server, text

SHARE = 'total = "3.00"\ncount = 3\nexpires = "1h"\ngreeting = "同喜"'


async def test_shaking_opening_and_sharing_go_on_while_the_records_are_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with group_server(tmp_path, share=SHARE) as people:
        records = people.embedded.event.ground.records

        def away(*_args: object) -> NoReturn:
            raise RecordsFailed("the disk of the records is gone")

        for call in ("apply", "balance", "grants_of", "cursor", "totals"):
            monkeypatch.setattr(records, call, away)
        grant = (await people.ask("ann", "POST", "/rounds/r1/grab")).json["grant"]
        assert (await people.ask("ann", "POST", f"/grants/{grant['id']}/open")).json["grant"]["amount"] == "100.00"
        packet = (await people.ask("ann", "POST", f"/grants/{grant['id']}/share")).json
        assert packet["state"] == "open"
        assert [(await people.grab(friend, packet["id"])).outcome for friend in ("bob", "carl")] == ["granted"] * 2
        monkeypatch.undo()
        assert await people.balance("ann") == "100.00", "recorded once they are back"


PLAIN_SHA256 = "df9df2cd2d6dbcb9d02434bfb897b510d90166373281694b1eef5b2afa0f96b3"
"""Of the rounds of `text()`, as the release before this table computed it."""


async def test_what_was_won_is_told_when_it_is_opened_as_often_as_one_likes(tmp_path: Path) -> None:
    async with group_server(tmp_path, share=SHARE) as people:
        won = await people.ask("ann", "POST", "/rounds/r1/grab")
        grant = won.json["grant"]
        assert won.outcome == "granted"
        assert {"amount", "receipt"} & grant.keys() == set()
        repeat = await people.ask("ann", "POST", "/rounds/r1/grab")
        assert (repeat.json["repeat"], repeat.json["grant"]) == (True, grant)
        assert (await people.ask("ann", "GET", "/grants")).json["grants"] == [grant]
        opened = [(await people.ask("ann", "POST", f"/grants/{grant['id']}/open")).json["grant"] for _ in range(3)]
        assert opened[0] == opened[1] == opened[2]
        assert opened[0]["amount"] == "100.00"
        assert "~10000~CNY~ann~" in opened[0]["receipt"]
        for user, id_ in (("bob", grant["id"]), ("ann", "c-r1-7"), ("ann", "c-r2-0"), ("ann", "c-r1-x")):
            assert (await people.ask(user, "POST", f"/grants/{id_}/open")).status == 404


async def test_each_grant_is_shared_once_and_what_friends_leave_goes_back_to_the_sponsor(tmp_path: Path) -> None:
    clock = Skipping()
    async with group_server(tmp_path, clock=clock, share=SHARE) as people:
        grant = (await people.ask("ann", "POST", "/rounds/r1/grab")).json["grant"]
        shared = await asyncio.gather(*(people.ask("ann", "POST", f"/grants/{grant['id']}/share") for _ in range(8)))
        (packet,) = {answer.json["id"] for answer in shared}
        assert {answer.json["state"] for answer in shared} == {"open"}
        assert shared[0].json["greeting"] == "同喜"
        for stranger in ("bob", "eve"):
            assert (await people.ask(stranger, "POST", f"/grants/{grant['id']}/share")).status == 404
        friend = await people.grab("bob", packet)
        assert friend.outcome == "granted"
        assert await people.balance("ann") == "100.00", "the sponsor pays"
        refused = await people.ask("ann", "POST", "/packets", total="1.00", count=1, request=f"share:{grant['id']}")
        assert (refused.status, refused.json["field"]) == (400, "request")
        clock.skip(3_601)
        told = await people.until("ann", packet, "closed")
        assert Decimal(told["grants"][0]["amount"]) == Decimal(friend.json["grant"]["amount"])
        book = SqlitePacketBook.open_path(tmp_path / "packets.db")
        async with asyncio.timeout(PATIENCE_S):
            while (booked := book.find(packet)) is None or booked.stage.name != "OVER":
                await asyncio.sleep(0.01)
        book.close()
        assert await people.balance("ann") == "100.00", "what is left is not the winner's"


def test_a_file_without_it_has_the_hash_that_it_ever_had() -> None:
    plain, sharing = (parse_campaign(text(share=share), "c.toml") for share in ("", SHARE))
    assert source_sha256(plain) != source_sha256(sharing)
    assert source_sha256(plain) == PLAIN_SHA256


@pytest.mark.parametrize(
    ("share", "key"),
    [
        ('total = "0.02"\ncount = 3', "share.total"),
        ('total = "3.00"\ncount = 0', "share.count"),
        ('total = "3.00"\ncount = 3\nexpires = "40d"', "share.expires"),
    ],
)
def test_what_cannot_be_shared_is_refused_with_its_key(share: str, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"c\.toml:\d+: round\[0\]\.{re.escape(key)}: "):
        parse_campaign(text(share=share), "c.toml")


def test_sharing_needs_packets_between_people() -> None:
    alone = text(share=SHARE).replace("[group]\n", "")
    with pytest.raises(ConfigError, match=r"add a \[group\]"):
        parse_campaign(alone, "c.toml")
