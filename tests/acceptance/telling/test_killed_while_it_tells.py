"""A server is killed with SIGKILL while mails are under way: nobody is told twice, and nobody is forgotten."""

import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys
from redrush.core.identity.tickets import sign_ticket
from redrush.http.fetch import Fetcher, Unfetched
from redrush.ports.message_book import KeptMessage
from redrush.processes.loopback import free_port
from redrush.records.sqlite.messages import SqliteMessageBook
from tests.acceptance.paying.stage import Process
from tests.acceptance.telling.audit import nobody_was_told_twice
from tests.campaigns import OFF, a_round, campaign
from tests.mail_server import Mailbox
from tests.mailbox_beside import smtp
from tests.patience import PATIENCE_S

MESSAGE = '[[message]]\nby = "mail"\n'


class Stage:
    """A server that is killed, and a mail server that is not."""

    def __init__(self, root: Path, mail_port: int, winners: int) -> None:
        self.data = DataDir(root / "data")
        self.port = free_port()
        file, payments = root / "c.toml", root / "payments.toml"
        file.write_text(campaign(a_round(total=f"{winners}.00", packets=winners), tables=OFF + MESSAGE))
        payments.write_text(smtp(mail_port))
        self.server = Process(
            "serve", str(file), "--data", str(self.data.root), "--port", str(self.port), "--payments", str(payments)
        )
        self._fetcher = Fetcher()

    def close(self) -> None:
        self._fetcher.close()

    async def win(self, user: str) -> None:
        """Ask until the answer is known."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                ticket = sign_ticket(load_keys(self.data).tickets, user, int(time.time()) + 3_600)
                try:
                    answer = await self._fetcher.fetch(
                        "POST", f"http://127.0.0.1:{self.port}/v1/rounds/r1/grab",
                        headers={"Authorization": f"Bearer {ticket}"},
                    )  # fmt: skip
                    if answer.status == 200 and json.loads(answer.body)["outcome"] == "granted":
                        return
                except Unfetched:
                    pass
                await asyncio.sleep(0.02)

    def kept(self) -> list[KeptMessage]:
        if not self.data.messages.exists():
            return []
        book = SqliteMessageBook.open_path(self.data.messages)
        try:
            return book.listed()
        finally:
            book.close()

    async def settled(self, winners: int) -> None:
        """Return when each winner was told, or nobody knows whether they were."""
        async with asyncio.timeout(PATIENCE_S):
            while Counter(str(one.state) in ("sent", "unknown") for one in self.kept()) != {True: winners}:
                await asyncio.sleep(0.05)


async def play(root: Path, seed: int, kills: int, winners_a_kill: int) -> None:
    draw, box = random.Random(seed), Mailbox()
    winners = winners_a_kill * kills
    stage = Stage(root, await box.start(), winners)
    try:
        await stage.server.start()
        for kill in range(kills):
            hanging = draw.randrange(1, 4)
            box.faults = ["hangs_after_the_dot"] * hanging
            before = len(box.mails)
            users = [f"u{kill}-{k}" for k in range(winners_a_kill)]
            wins = asyncio.gather(*(stage.win(user) for user in users))
            async with asyncio.timeout(PATIENCE_S):
                while len(box.mails) < before + hanging:
                    await asyncio.sleep(0.005)
            await asyncio.sleep(draw.uniform(0.0, 0.1))
            await stage.server.kill()
            box.faults = []
            await stage.server.start()
            await wins
        await stage.settled(winners)
        assert await stage.server.stop() == 0
    finally:
        if stage.server.runs:
            await stage.server.kill()
        stage.close()
        await box.stop()
    nobody_was_told_twice(box, stage.kept(), kills)


def test_nobody_is_told_twice_by_a_server_that_is_killed_while_it_sends(tmp_path: Path) -> None:
    asyncio.run(play(tmp_path, seed=20_270_206, kills=1, winners_a_kill=12))


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", range(1, 4))
def test_nor_by_one_that_is_killed_ten_times(tmp_path: Path, seed: int) -> None:
    asyncio.run(play(tmp_path, seed, kills=10, winners_a_kill=12))
