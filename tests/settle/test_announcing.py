"""Whom a campaign's log is told of, when its [[message]] tables change on the way."""

import asyncio
from pathlib import Path

from redrush.config import parse_campaign
from redrush.control.data_dir import DataDir
from redrush.control.event import prepare_event
from redrush.core.rush.message import MessageTerms
from redrush.ports.store import Granted
from redrush.records.sqlite.messages import SqliteMessageBook
from redrush.settle.messages.announcing import Announcer
from tests.patience import PATIENCE_S

AT_US = 1_800_000_000_000_000
MAIL, APP = MessageTerms(by="mail"), MessageTerms(by="app")
TEXT = """
[campaign]
id = "c"
name = "n"
currency = "CNY"
[[round]]
id = "r1"
opens = 2027-01-01T00:00:00Z
lasts = "60s"
kind = "equal"
total = "0.20"
packets = 20
"""


async def test_a_notifier_that_is_new_while_a_page_is_read_tells_who_won_before(tmp_path: Path) -> None:
    directory = DataDir(tmp_path)
    sealed = prepare_event(parse_campaign(TEXT, "c.toml"), directory, lambda: 1_700_000_000_000_000).event.sealed
    log = [Granted(k + 1, "r1", k, (f"u{k}",), AT_US) for k in range(10)]
    book = SqliteMessageBook.open_path(tmp_path / "messages.db")

    async def read(after: int, limit: int) -> list[Granted]:
        page = [one for one in log if one.seq > after][:limit]
        if [one.seq for one in page] == [11]:  # the amendment is heard of while this one is read
            announcer.amend(sealed.campaign, [MAIL, APP])
        return page

    async def told(by: str, count: int) -> None:
        while len(book.listed(by=by)) < count:
            await asyncio.sleep(0.01)

    announcer = Announcer(lambda: book, sealed.campaign, [MAIL], sealed.amounts, read, lambda: AT_US)
    running = asyncio.create_task(announcer.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await told("mail", 10)
            log.append(Granted(11, "r1", 10, ("late",), AT_US))
            await told("app", 11)
        assert len(book.listed(by="mail")) == 11
    finally:
        announcer.stop()
        await running
        book.close()
