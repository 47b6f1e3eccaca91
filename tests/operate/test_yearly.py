"""What each person won and was paid in a year: in the campaign's zone, and safe in a spreadsheet."""

import csv
import io
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from redrush.cli.main import main
from redrush.control.data_dir import DataDir
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.draw import DrawTerms, Prize, PrizeKind
from redrush.errors import ConfigError
from redrush.operate.paying import Books
from redrush.operate.reports import made_of_log
from redrush.operate.yearly import export_year
from redrush.ports.bill_book import BillState, Change, NewBill
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.settle.export import UTF8_MARK, ExportedGrant
from redrush.settle.yearly import HEADERS, Year, write_years, years_of
from tests.wiring.message_world import a_world


def grant(
    user: str, amount: str, at: str, round_: str = "r1", holds: str | None = None, prize: str | None = None
) -> ExportedGrant:
    return ExportedGrant("g", round_, 0, user, amount, at, holds, prize)


async def test_a_year_is_that_of_the_campaigns_zone_and_each_kind_has_its_column(tmp_path: Path) -> None:
    campaign = await _campaign(tmp_path)
    phone = Prize(id="phone", name="p", holds=PrizeKind.GOODS, count=1, worth_minor=500_000, odds=(1, 2))
    coupon = Prize(id="coupon", name="c", holds=PrizeKind.CODE, count=1, odds=(1, 2))
    draw = msgspec.structs.replace(campaign.rounds[0], id="d", draw=DrawTerms(prizes=(phone, coupon)))
    campaign = msgspec.structs.replace(campaign, rounds=(campaign.rounds[0], draw), timezone="Asia/Shanghai")
    won = years_of(
        [
            grant("ann", "1.00", "2027-12-31T16:00:00.000000Z"),
            grant("ann", "2.00", "2027-12-31T15:59:59.999999Z"),
            grant("ann", "0.00", "2027-06-01T00:00:00.000000Z", "d", "goods:phone", "phone"),
            grant("ann", "0.00", "2027-06-01T00:00:00.000000Z", "d", "code:0", "coupon"),
            grant("bob", "0.50", "2027-06-01T00:00:00.000000Z", "packet:x"),
            grant("cid", "0.00", "2027-06-01T00:00:00.000000Z", "sale", "unit"),
        ],
        campaign,
        2027,
    )
    assert won == {
        "ann": Year(wins=1, money_minor=200, prizes=2, worth_minor=500_000, worthless=1),
        "bob": Year(packets_minor=50),
    }
    assert won["ann"].total_minor == 500_200


async def test_the_table_adds_up_to_what_was_won_and_paid(tmp_path: Path) -> None:
    campaign = await _campaign(tmp_path)
    data_dir = DataDir(tmp_path)
    with closing(SqliteBillBook.open_path(data_dir.payments)) as book:
        (bill,) = book.make(
            [NewBill(kind="payout", source="s", campaign=campaign.id, user="ann", provider="b", currency="CNY",
                     amount_minor=4_000, subject="s", to="ann")], 10,
        )  # fmt: skip
        in_2027_us = 1_800_000_000_000_000
        book.change([
            Change(id=bill.id, version=bill.version, state=BillState.DONE, next_us=None, looks=0,
                   changed_us=in_2027_us, done_us=in_2027_us)
        ])  # fmt: skip
    this_year, other = _this_year(tmp_path), io.StringIO()
    out = io.StringIO()
    assert export_year(Books(data_dir, None), this_year, "zh", out) == 2
    head, *lines = csv.reader(io.StringIO(out.getvalue().removeprefix(UTF8_MARK)))
    assert tuple(head) == HEADERS["zh"]
    assert [(line[0], line[5], line[10]) for line in lines] == [
        ("ann", "100.00", "100.00"),
        ("bob", "100.00", "100.00"),
    ]
    assert export_year(Books(data_dir, None), 2027, "en", other) >= 1
    assert "40.00" in other.getvalue()
    with pytest.raises(ConfigError, match="is no year"):
        export_year(Books(data_dir, None), 27, "en", out)


async def test_no_id_becomes_a_formula_or_another_number(tmp_path: Path) -> None:
    campaign = await _campaign(tmp_path)
    out = io.StringIO()
    write_years({"=1+1": Year(), "007": Year(), "ann": Year()}, campaign, 2027, "en", out)
    assert [line.split(",")[0] for line in out.getvalue().split("\r\n")[1:4]] == ["'007", "'=1+1", "ann"]
    assert all(len(names) == len(HEADERS["en"]) for names in HEADERS.values())


async def test_the_command_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await _campaign(tmp_path)
    year = str(_this_year(tmp_path))
    monkeypatch.setattr("sys.argv", ["redrush", "export", "tax", "--data", str(tmp_path), "--year", year])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "ann,2" in capsys.readouterr().out


async def _campaign(directory: Path) -> Campaign:
    async with a_world(directory) as world, world.server(messages="", payments=None) as people:
        await people.win("ann", "bob")
        return people.embedded.event.sealed.campaign


def _this_year(directory: Path) -> int:
    return made_of_log(Books(DataDir(directory), None), lambda log: int(next(log.grants()).granted_at[:4]))
