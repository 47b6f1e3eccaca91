"""Payouts as files for finance: each number once, answers read back, nothing lost to a crash or to a spreadsheet."""

import asyncio
import csv
from pathlib import Path

import pytest

from redrush.errors import RedrushError
from redrush.ports.provider import Absent, Accepted, Bill, Cancelling, Done, Failed, Pending, Rejected, Terms
from redrush.providers.batches import CsvPayOut

NOON_US = 1_800_000_000_000_000
DAY = "payouts-2027-01-15.csv"


def finance(directory: Path) -> CsvPayOut:
    return CsvPayOut(directory, Terms(currency="CNY"), lambda: NOON_US)


def bill(number: str, amount_minor: int = 888, to: str = "ann") -> Bill:
    return Bill(number=number, amount_minor=amount_minor, currency="CNY", to=to, subject="red packet")


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / DAY).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_number_stands_in_the_file_once_also_after_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        first = finance(tmp_path)
        assert await first.find("N1") == Absent()
        assert [await first.start(bill("N1")), await first.start(bill("N1"))] == [Accepted(), Accepted()]
        again = finance(tmp_path)
        assert await again.start(bill("N1")) == Accepted()
        other = await again.start(bill("N1", 889))
        assert isinstance(other, Rejected)
        assert other.final
        assert isinstance(await again.cancel("N1"), Cancelling)

    asyncio.run(story())
    assert [(row["number"], row["to"], row["amount"], row["made_at"]) for row in rows(tmp_path)] == [
        ("N1", "ann", "8.88", "2027-01-15T08:00:00Z")
    ]


def test_the_answers_of_finance_are_read_whenever_they_change(tmp_path: Path) -> None:
    async def story() -> None:
        one = finance(tmp_path)
        for number in ("N1", "N2", "N3"):
            await one.start(bill(number))
        assert await one.find("N1") == Pending()
        answers = tmp_path / "answers" / "monday.csv"
        answers.write_text("\ufeffnumber,state,at,why\nN1,paid,2027-01-16T10:00:00+08:00,\n", encoding="utf-8")
        assert await one.find("N1") == Done(888, 1_800_064_800_000_000, "N1", "CNY")
        assert await one.find("N2") == Pending()
        with answers.open("a", encoding="utf-8") as file:
            file.write("N2,Refused,,no such account\nN1,refused,,too late\nN3,maybe,,\n")
        assert await one.find("N2") == Failed("no such account")
        assert isinstance(await one.find("N1"), Done), "what was said first counts"
        assert await one.find("N3") == Pending()

    asyncio.run(story())


def test_a_line_that_was_cut_off_is_written_anew(tmp_path: Path) -> None:
    async def story() -> None:
        await finance(tmp_path).start(bill("N1"))
        with (tmp_path / DAY).open("a", encoding="utf-8") as file:
            file.write("N2,bob,8.")
        again = finance(tmp_path)
        assert await again.find("N2") == Absent()
        assert await again.start(bill("N2", to="bob")) == Accepted()

    asyncio.run(story())
    assert [(row["number"], row["amount"]) for row in rows(tmp_path)] == [("N1", "8.88"), ("N2", "8.88")]


@pytest.mark.parametrize("to", ["=1+1", "+86", "-1", "@x", "=HYPERLINK(1)\nx"])
def test_nothing_is_a_formula(tmp_path: Path, to: str) -> None:
    async def story() -> None:
        one = finance(tmp_path)
        assert await one.start(bill("N1", to=to)) == Accepted()
        assert await finance(tmp_path).start(bill("N1", to=to)) == Accepted()

    asyncio.run(story())
    assert rows(tmp_path)[0]["to"].startswith("'")


def test_a_directory_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RedrushError, match="cannot be read"):
        finance(tmp_path / "file")
