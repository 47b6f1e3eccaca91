"""Winners are told of what they have won: a whole server, a mail server and a company's system, over real sockets."""

import asyncio
from pathlib import Path

import pytest

from redrush.control.data_dir import DataDir
from redrush.errors import ConfigError
from redrush.ports.message_book import MessageState
from tests.patience import PATIENCE_S
from tests.raw_files import bytes_in
from tests.wiring.message_world import DRAW, a_world


async def test_a_winner_is_told_once_in_their_language_and_again_by_nobody(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        async with world.server() as people:
            await people.win("ann", "bob", "cid")
            await world.until(lambda: len(world.mailbox.mails) == 2 and len(world.shop.told) == 3)
            await world.until(lambda: {str(one.state) for one in world.kept()} == {"sent", "failed"})
        async with world.server() as people:
            assert (await people.ask("ann", "POST", "/rounds/r1/grab")).outcome == "granted", "a repeat is no new win"
            await people.win("dan")
            await world.until(lambda: len(world.shop.told) == 4)
        mails = {str(mail["To"]): mail for mail in world.mailbox.mails}
        assert sorted(world.mailbox.receivers()) == ["ann@corp.example", "bob@corp.example"]
        assert mails["ann@corp.example"]["Subject"] == "You won 100.00 CNY"
        assert "Dear ann, 100.00 CNY in" in mails["ann@corp.example"].get_content()
        assert "恭喜" in mails["bob@corp.example"]["Subject"]
        failed = [one for one in world.kept() if one.state is MessageState.FAILED]
        assert {one.user for one in failed} == {"cid", "dan"}
        assert failed[0].why == "the contacts do not say where to tell them"
        assert {said["user"] for said in world.shop.told.values()} == {"ann", "bob", "cid", "dan"}
        assert {said["amount"] for said in world.shop.told.values()} == {"100.00"}


async def test_a_code_is_handed_over_and_stands_in_no_file_of_ours(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        async with world.server(draw=DRAW) as people:
            assert (await people.ask("ann", "POST", "/rounds/d/grab")).outcome == "granted"
            await world.until(lambda: world.shop.told)
            await world.until(lambda: [one.state for one in world.kept("shop")] == ["sent"])
        (said,) = world.shop.told.values()
        assert (said["code"], said["holds"], said["prize"], said["round"]) == ("AAA-1", "code:0", "coupon", "d")
        assert "AAA-1" in said["text"]
        assert not world.mailbox.mails, "mail is for money here"
        kept = bytes_in(*tmp_path.glob("messages.db*"))
        assert b"AAA-1" not in kept
        assert b"@corp.example" not in kept


async def test_what_is_unknown_is_not_sent_again_and_what_was_not_taken_is(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        world.mailbox.faults.append("cut_after_the_dot")
        async with world.server() as people:
            await people.win("ann")
            await world.until(lambda: [one.state for one in world.kept()] == ["unknown"])
            await people.win("bob")
            await world.until(lambda: [one.state for one in world.kept()] == ["unknown", "sent"])
        async with world.server():
            await asyncio.sleep(0)
        assert world.mailbox.receivers() == ["ann@corp.example", "bob@corp.example"]
        assert "no reply came" in world.kept()[0].why


async def test_who_is_added_to_the_file_is_told_what_was_won_before(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        async with world.server(messages="") as people:
            await people.win("ann")
            assert not DataDir(tmp_path).messages.exists(), "nobody is told of anything: there is no book"
        async with world.server():
            await world.until(lambda: world.mailbox.mails and world.shop.told)
        assert world.mailbox.receivers() == ["ann@corp.example"]


async def test_a_book_that_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        async with world.server() as people:
            await people.win("ann")
            await world.until(lambda: world.mailbox.mails)
        for path in tmp_path.glob("messages.db*"):
            path.unlink()
        with pytest.raises(
            ConfigError, match=r"messages\.db: is gone, and people were told from here; .*redrush book accept"
        ):
            async with world.server():
                pass


async def test_a_notifier_that_hangs_holds_up_no_claim_and_an_end_until_its_deadline_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redrush.wiring.notifiers.DEADLINE_S", 3.0)
    async with a_world(tmp_path) as world:
        world.mailbox.faults += ["hangs_after_the_dot"] * 8
        async with asyncio.timeout(PATIENCE_S), world.server() as people:
            await people.win(*(f"u{k}" for k in range(3)), "ann")
            await world.until(lambda: world.mailbox.mails)
            assert (await people.ask("bob", "POST", "/rounds/r1/grab")).outcome == "granted"
            await world.until(lambda: len(world.shop.told) == 5)
        (ann,) = (one for one in world.kept() if one.user == "ann")
        assert (ann.state, ann.why) == (MessageState.UNKNOWN, "no answer within 3 s"), "written down before the end"
