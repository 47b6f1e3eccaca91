"""A book of bills of each kind, and where it is, for those who open it beside."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from redrush.ports.bill_book import BillBook
from tests.conformance.wanting_money import open_at
from tests.conftest import Databases

Place = tuple[str, str]
"""Which kind of book, and where it is."""


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "sqlite":
        directory: Path = request.getfixturevalue("tmp_path")
        return "sqlite", str(directory / "payments.db")
    databases: Databases = request.getfixturevalue("databases")
    return "postgres", databases.fresh()


@pytest.fixture
def book(place: Place) -> Iterator[BillBook]:
    with closing(open_at(*place)) as opened:
        yield opened
