"""An event whose winners are paid at a sandbox: both are processes of their own, which may be killed and come back."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys
from redrush.core.identity.tickets import sign_ticket
from redrush.http.fetch import Fetched, Fetcher, Unfetched
from redrush.ports.bill_book import BillState, KeptBill
from redrush.processes.loopback import free_port
from redrush.records.sqlite.bills import SqliteBillBook
from tests import openapi
from tests.gate.world import Answer
from tests.patience import PATIENCE_S

REPOSITORY: Final = Path(__file__).resolve().parents[3]
COMMAND: Final = "from redrush.cli.main import main; main()"

CAMPAIGN: Final = """
[campaign]
id = "gala"
name = "gala"
currency = "CNY"
[[round]]
id = "r1"
opens = "now"
lasts = "1h"
kind = "lucky"
total = "{total}"
packets = {packets}
min = "0.01"
max = "{total}"
[payout]
provider = "bank"
{payout}
"""


class Process:
    """One of ours: `start`, then `kill` or `stop`, then `start` again."""

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self.said: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", COMMAND, *self.arguments,
            cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._reading = asyncio.create_task(self._read())
        async with asyncio.timeout(PATIENCE_S):
            line = await self._process.stdout.readline()
        assert line == b"ready\n", (line, "".join(self.said))

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        async with asyncio.timeout(PATIENCE_S):
            code = await self._process.wait()
        assert self._reading is not None
        await self._reading
        return code

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self.said.append(line.decode())


class Bank:
    """A sandbox that tells what became of bills, and the payments file of whoever is paid by it."""

    def __init__(self, root: Path, *, taken: set[int], calls_per_s: int, options: Sequence[str] = ()) -> None:
        """`taken` are ports that it does not listen at; `options` are more ones of the sandbox."""
        self.port, notices = free_port(taken), free_port(taken)
        self.payments = root / "payments.toml"
        self.payments.write_text(
            f'[notices]\nlisten = "127.0.0.1:{notices}"\n[[provider]]\nname = "bank"\nkind = "sandbox"\n'
            f'url = "http://127.0.0.1:{self.port}"\ncalls_per_second = {calls_per_s}\n'
        )
        self.process = Process(
            "sandbox", "--port", str(self.port), "--book", str(root / "bank.db"), "--hour", "1",
            "--notify", f"http://127.0.0.1:{notices}/notices/bank", *options,
        )  # fmt: skip


class Stage:
    """A server and a sandbox on one directory."""

    def __init__(
        self, root: Path, *, payout: str = 'policy = "auto"', total: str = "100.00", packets: int = 50,
        calls_per_s: int = 2_000, sandbox: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.data = root / "data"
        taken: set[int] = set()
        self.port = free_port(taken)
        bank = Bank(root, taken=taken, calls_per_s=calls_per_s, options=sandbox)
        self.bank_port, self.payments, self.sandbox = bank.port, bank.payments, bank.process
        file = root / "gala.toml"
        file.write_text(CAMPAIGN.format(total=total, packets=packets, payout=payout))
        self.server = Process(
            "serve", str(file), "--data", str(self.data), "--port", str(self.port), "--payments", str(self.payments)
        )
        self.seen: set[tuple[openapi.Operation, int]] = set()
        """What was asked and answered, each as the document tells."""
        self._fetcher = Fetcher()
        self._tickets: dict[str, str] = {}

    async def __aenter__(self) -> "Stage":
        await asyncio.gather(self.server.start(), self.sandbox.start())
        return self

    async def __aexit__(self, *_fault: object) -> None:
        self._fetcher.close()
        for process in (self.server, self.sandbox):
            if process.runs:
                await process.kill()

    def ticket(self, user: str) -> str:
        if user not in self._tickets:
            keys = load_keys(DataDir(self.data))
            self._tickets[user] = sign_ticket(keys.tickets, user, int(time.time()) + 86_400)
        return self._tickets[user]

    async def ask(self, user: str, method: str, path: str, fields: object | None = None) -> tuple[int, dict[str, Any]]:
        """Return status and fields of an answer, later where one asks too often; raises Unfetched."""
        headers = {"Authorization": f"Bearer {self.ticket(user)}", "Content-Type": "application/json"}
        body = b"" if fields is None else json.dumps(fields).encode()
        while True:
            answer = await self._fetcher.fetch(
                method, f"http://127.0.0.1:{self.port}{path}", headers=headers, body=body, deadline_s=10
            )
            told = Answer(answer.status, answer.headers, answer.body, answer.body)
            self.seen.add(openapi.check(method, path, told))
            if answer.status != 429:
                return answer.status, json.loads(answer.body)
            await asyncio.sleep(answer.retry_after_s() or 1)

    async def grab(self, user: str) -> tuple[int, dict[str, Any]]:
        return await self.ask(user, "POST", "/v1/rounds/r1/grab")

    async def grab_until_told(self, user: str) -> dict[str, Any]:
        """Ask as a client does, until the answer is final."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    status, fields = await self.grab(user)
                    if status == 200:
                        return fields
                except (Unfetched, ValueError):
                    pass
                await asyncio.sleep(0.05)

    def bills(self, *states: BillState) -> list[KeptBill]:
        """Return the bills in these states as the server's book has them; a server may run on it."""
        book = SqliteBillBook.open_path(self.data / "payments.db")
        try:
            return book.listed(states=states, limit=100_000)
        finally:
            book.close()

    async def bank(self, method: str, path: str, fields: object | None = None) -> Any:
        """Ask the sandbox."""
        body = b"" if fields is None else json.dumps(fields).encode()
        answer: Fetched = await self._fetcher.fetch(
            method, f"http://127.0.0.1:{self.bank_port}{path}", body=body, deadline_s=10
        )
        assert answer.status == 200, answer
        return json.loads(answer.body)

    async def bank_sums(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Return count and amount of the bank's bills, by kind and state."""
        book = await self.bank("GET", "/book")
        return {(one["kind"], one["state"]): (one["count"], one["amount_minor"]) for one in book["bills"]}


async def until(condition: Callable[[], Any], why: Callable[[], object] = lambda: "") -> None:
    """Return when the condition, maybe one that is awaited, holds."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                held = condition()
                if asyncio.iscoroutine(held):
                    held = await held
                if held:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"it did not come to that: {why()}") from None
