"""The report of an event that was really held, from its data directory alone."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from redrush.config import parse_campaign
from redrush.control.data_dir import DataDir
from redrush.control.sealing import SealedCampaign, load_sealed, seal
from redrush.core.rush.leftover import destination, transfer_id
from redrush.drill.event_report import EventReport, SharedFigures
from redrush.drill.own_report import show_own_report
from redrush.errors import ConfigError
from redrush.ports.store import claims_of
from redrush.stores.sqlite import SqliteStore
from tests.campaigns import a_round, campaign
from tests.patience import PATIENCE_S
from tests.settle.event import open_pots
from tests.wiring.group_world import Skipping, group_server

OPENS_US = 1_801_915_200_000_000
TOML = campaign(
    a_round("first", "5.00", 5, opens="2027-02-06T20:00:00+08:00", lasts="10s"),
    a_round("second", "9.00", 3, opens="2027-02-06T20:01:00+08:00", lasts="2h"),
    id="ny",
    name="新年",
)


@pytest.fixture
def event(tmp_path: Path) -> Path:
    """A directory in which three of five packets of the first round went out, and all of the second."""
    directory = DataDir(tmp_path / "event")
    directory.create()
    sealed = seal(parse_campaign(TOML, "c.toml"), directory, OPENS_US)
    asyncio.run(_hold(directory, sealed))
    return directory.root


async def _hold(directory: DataDir, sealed: SealedCampaign) -> None:
    store = await SqliteStore.open_path(directory.journal)
    first, second = sealed.campaign.rounds
    await open_pots(store, sealed.campaign)
    await store.claim(claims_of("first", ["a", "b", "张伟"]), first.opens_us + 250_000)
    await store.claim(claims_of("second", ["a"]), second.opens_us)
    await store.claim(claims_of("second", ["b", "c"]), second.opens_us + 3_600_000_000)
    await store.close()


async def _grant(directory: DataDir, round_id: str, at_us: int) -> None:
    store = await SqliteStore.open_path(directory.journal)
    await store.claim(claims_of(round_id, ["late"]), at_us)
    await store.close()


def test_the_report_of_an_own_event_says_what_went_out_when_and_that_it_is_right(
    event: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_own_report(event, tmp_path / "out", "zh", as_json=False) == 0
    report = msgspec.json.decode((tmp_path / "out" / "report.json").read_bytes(), type=EventReport)
    first, second = report.rounds
    assert (first.granted, first.left, first.granted_minor, first.sold_out_after_s) == (3, 2, 300, None)
    assert (second.granted, second.left, second.granted_minor, second.sold_out_after_s) == (3, 0, 900, 3_600.0)
    assert len(second.time_line.left) <= 240
    assert (second.time_line.left[0], second.time_line.left[-1]) == (2, 0)
    assert (report.timezone, report.traffic, report.holds) == ("+08:00", None, True)
    assert {verdict.name for verdict in report.verdicts}.isdisjoint({"lost", "broken promises"})
    printed = capsys.readouterr().out
    assert "6 个红包，12.00 CNY，分毫不差" in printed
    assert "2027-02-06 +08:00" in (tmp_path / "out" / "report.zh.html").read_text(encoding="utf-8")


def test_a_grant_after_the_close_is_reported_as_wrong_and_ends_with_1(
    event: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = DataDir(event)
    late = load_sealed(directory).campaign.rounds[0]
    asyncio.run(_grant(directory, late.id, late.closes_us + 1))
    assert show_own_report(event, event, "en", as_json=True) == 1
    report = msgspec.json.decode(capsys.readouterr().out, type=EventReport)
    assert "early or late" in [verdict.name for verdict in report.verdicts if not verdict.holds]


def test_where_there_is_no_event_or_nothing_can_be_written_one_sentence_says_so(event: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        show_own_report(tmp_path / "nothing", tmp_path, "en", as_json=False)
    with pytest.raises(ConfigError, match="choose another place with --out"):
        show_own_report(event, event / "campaign.json" / "below", "en", as_json=False)


BESIDE = campaign(
    a_round("flash", "5.00", 5, opens="2026-02-06T20:00:00+08:00", lasts="10s", leftover="next"),
    a_round("morning", "2.00", 2, opens="2026-02-06T20:00:00+08:00", lasts="30s", leftover="next"),
    a_round("evening", "3.00", 3, opens="2026-02-06T20:00:00+08:00", lasts="20s", leftover="next"),
    id="beside",
    name="Beside",
)


def test_rounds_beside_each_other_show_the_leftover_that_they_really_got(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first passes on to the second, which closes last; so does the third, though it stands after the second."""
    directory = DataDir(tmp_path / "event")
    directory.create()
    sealed = seal(parse_campaign(BESIDE, "c.toml"), directory, OPENS_US - 32_000_000_000_000)
    flash, morning, evening = sealed.campaign.rounds

    async def hold() -> None:
        store = await SqliteStore.open_path(directory.journal)
        await open_pots(store, sealed.campaign)
        await store.claim(claims_of("flash", ["a", "b", "c"]), flash.opens_us)
        for round_ in (flash, evening):
            target = destination(sealed.campaign, round_.pots[0], round_.closes_us)
            moved = await store.take(round_.id, 9, transfer_id(round_.pots[0]))
            await store.give(target, moved, transfer_id(round_.pots[0]))
        await store.claim(claims_of("morning", ["d", "e", "f"]), morning.closes_us - 1)
        await store.close()

    asyncio.run(hold())
    assert show_own_report(directory.root, tmp_path / "out", "en", as_json=True) == 0
    report = msgspec.json.decode(capsys.readouterr().out, type=EventReport)
    shown = {round_.id: (round_.packets, round_.carried_in, round_.granted, round_.left) for round_ in report.rounds}
    assert shown == {"flash": (5, 0, 3, 2), "morning": (2, 5, 3, 4), "evening": (3, 0, 0, 3)}


async def test_packets_between_people_are_told_beside_the_rounds_and_what_of_them_went_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the server runs, and once it is stopped."""
    clock = Skipping()
    async with group_server(tmp_path, 'expires = "10m"', clock) as people:
        await people.win("ann", "carl")
        one = await people.send("ann", "10.00", 4, kind="equal")
        other = await people.send("carl", "9.00", 3, kind="equal")
        for user, packet in (("bob", one), ("dora", one), ("bob", other)):
            assert (await people.grab(user, packet)).outcome == "granted"
        await people.recorded()
        told = SharedFigures(count=2, shares=7, grants=3, total_minor=1_900, granted_minor=800, returned_minor=0)
        assert (await _reported(tmp_path, capsys)).shared == told
        clock.skip(600)
        async with asyncio.timeout(PATIENCE_S):
            while (await people.balance("ann"), await people.balance("carl")) != ("95.00", "97.00"):
                await asyncio.sleep(0.05)
    report = await _reported(tmp_path, capsys)
    assert report.shared == msgspec.structs.replace(told, returned_minor=1_100)
    assert (report.rounds[0].granted, report.granted_minor, report.grants.count) == (2, 20_000, 2)
    said = (tmp_path / "report.zh.html").read_text(encoding="utf-8")
    assert "群红包" in said
    assert "7 份中已领 3 份，退回 11.00 CNY" in said


async def _reported(directory: Path, capsys: pytest.CaptureFixture[str]) -> EventReport:
    capsys.readouterr()
    code = await asyncio.to_thread(show_own_report, directory, directory, "en", as_json=True)
    said = capsys.readouterr().out
    assert code == 0, said
    return msgspec.json.decode(said, type=EventReport)
