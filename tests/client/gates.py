"""Gates for tests of the client: a real `redrush serve`, and a server of a few lines that says what it is told to."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from redrush.control.data_dir import DataDir
from redrush.control.keys import load_or_create_keys
from redrush.core.identity.tickets import sign_ticket
from redrush.processes.loopback import free_port
from redrush.processes.server import ServerProcess
from tests.campaigns import a_round, campaign

REDRUSH = (sys.executable, "-m", "redrush")


@contextmanager
def serving(
    directory: Path, opens_in_s: int, client: str, users: Sequence[str]
) -> Iterator[tuple[str, float, list[str]]]:
    """A real server on a campaign of one packet. Yields its base URL, when the round opens, and the users' tickets."""
    port, data = free_port(), directory / "data"
    keys = DataDir(data)
    keys.create()
    ring = load_or_create_keys(keys).tickets
    opens_s = int(time.time()) + opens_in_s
    opens = datetime.fromtimestamp(opens_s, UTC).isoformat()
    only = a_round("r1", "1.00", 1, opens=opens, lasts="10m")
    (directory / "c.toml").write_text(campaign(only, id="t", tables=f"[client]\n{client}\n"), encoding="utf-8")
    command = (*REDRUSH, "serve", str(directory / "c.toml"), "--data", str(data), "--port", str(port))
    server = ServerProcess(command, directory / "server.log")
    server.start(30.0)
    try:
        yield f"http://127.0.0.1:{port}", opens_s, [sign_ticket(ring, user, opens_s + 3_600) for user in users]
    finally:
        server.kill()


Saying = Callable[[str, str], bytes | None]
"""Called with method and path; returns the bytes to send, or None to drop the connection."""


class ToldGate:
    """Where it is, and what it was asked: claims with the loop's time of each."""

    def __init__(self, saying: Saying, company_s: float) -> None:
        self.saying = saying
        self.at_once_max = 0
        self._company_s = company_s
        self._under_way = 0
        self._together = asyncio.Event()
        self.url = ""
        self.claims_s: list[float] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, path, _ = head.split("\r\n")[0].split(" ")
                await reader.readexactly(int(head.lower().partition("content-length: ")[2].partition("\r")[0] or 0))
                if path.endswith("/grab"):
                    await self._claimed()
                answer = self.saying(method, path)
                if answer is None:
                    break
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _claimed(self) -> None:
        """Note the claim, and keep it `company_s` for another one to come meanwhile."""
        self.claims_s.append(asyncio.get_running_loop().time())
        self._under_way += 1
        self.at_once_max = max(self.at_once_max, self._under_way)
        if self._under_way > 1:
            self._together.set()
        if self._company_s:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._together.wait(), self._company_s)
        self._under_way -= 1


@asynccontextmanager
async def told(saying: Saying, company_s: float = 0.0) -> AsyncIterator[ToldGate]:
    gate = ToldGate(saying, company_s)
    server = await asyncio.start_server(gate.serve, "127.0.0.1", 0)
    gate.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield gate
    finally:
        server.close()
