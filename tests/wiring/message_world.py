"""A whole server, a mail server and a company's system, over real sockets: winners are told of what they have won."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redrush.config import load_campaign_file, load_payments_file
from redrush.control.data_dir import DataDir
from redrush.http.small_server import Asked, Reply, SmallServer
from redrush.http.sockets import Reserved
from redrush.ports.message_book import KeptMessage
from redrush.providers import signing
from redrush.records.sqlite.messages import SqliteMessageBook
from redrush.wiring.embedded import Embedded, Ports
from tests.campaigns import OFF, a_round, campaign
from tests.mail_server import Mailbox
from tests.patience import PATIENCE_S
from tests.wiring.group_world import People

SECRET = signing.secret_of(b"s" * 32)
MESSAGES = """
[[message]]
by = "mail"
of = ["money"]
language = "en"
[message.en]
title = "You won {worth}"
text = "Dear {user}, {worth} in {campaign}: {grant}"
[[message]]
by = "shop"
"""
DRAW = """
[[round]]
id = "d"
opens = "now"
lasts = "1h"
kind = "draw"
plays = {{ per_user = 1 }}
[[round.prize]]
id = "coupon"
name = "Coupon"
holds = "code"
codes = "{codes}"
count = 3
odds = "1/1"
"""


class Shop:
    """A company's own system, which is told by webhook."""

    def __init__(self) -> None:
        self.told: dict[str, Mapping[str, Any]] = {}
        self.asked = 0
        self._server = SmallServer(self._hear)

    async def start(self) -> int:
        return await self._server.serve(Reserved.at("127.0.0.1", 0))

    async def stop(self) -> None:
        await self._server.stop()

    async def _hear(self, asked: Asked) -> Reply:
        self.asked += 1
        said = json.loads(asked.body)
        self.told[asked.headers["webhook-id"]] = said["data"]
        return Reply(200)


class World:
    def __init__(self, directory: Path, mailbox: Mailbox, shop: Shop, ports: tuple[int, int]) -> None:
        self.directory = directory
        self.mailbox = mailbox
        self.shop = shop
        payments = directory / "payments.toml"
        (directory / "shop.key").write_text(SECRET)
        (directory / "codes.csv").write_text("AAA-1\nBBB-2\nCCC-3\n")
        (directory / "contacts.csv").write_text("ann,ann@corp.example\nbob,bob@corp.example,zh\n")
        payments.write_text(
            f'[[notifier]]\nname = "mail"\nkind = "smtp"\nserver = "127.0.0.1:{ports[0]}"\nsecurity = "none"\n'
            'from = "noreply@corp.example"\ncontacts = "contacts.csv"\nmessages_per_second = 500\n'
            f'[[notifier]]\nname = "shop"\nkind = "webhook"\nurl = "http://127.0.0.1:{ports[1]}/"\n'
            'secret = { file = "shop.key" }\nprivate = true\nmessages_per_second = 500\n'
        )
        self.payments = load_payments_file(payments)
        self.file = directory / "c.toml"

    @asynccontextmanager
    async def server(self, messages: str = MESSAGES, draw: str = "", **changed: Any) -> AsyncIterator[People]:
        rounds = a_round(total="1000.00", packets=10) + draw.format(codes=self.directory / "codes.csv")
        self.file.write_text(campaign(rounds, tables=OFF + messages))
        settings: dict[str, Any] = {"payments": self.payments, **changed}
        embedded = Embedded(
            load_campaign_file(self.file), DataDir(self.directory), Ports("127.0.0.1", 0, None), **settings
        )
        ports = await embedded.start()
        try:
            yield People(self.directory, embedded, ports["gate"])
        finally:
            await embedded.stop()

    def kept(self, by: str = "mail") -> list[KeptMessage]:
        book = SqliteMessageBook.open_path(DataDir(self.directory).messages)
        try:
            return book.listed(by=by)
        finally:
            book.close()

    async def until(self, there: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not there():
                await asyncio.sleep(0.02)


@asynccontextmanager
async def a_world(directory: Path) -> AsyncIterator[World]:
    mailbox, shop = Mailbox(), Shop()
    world = World(directory, mailbox, shop, (await mailbox.start(), await shop.start()))
    try:
        yield world
    finally:
        await mailbox.stop()
        await shop.stop()
