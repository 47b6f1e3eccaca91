"""A crowd that opens a page: `python -m tests.page.loads PORT PER_SECOND SECONDS` prints how many it got whole."""

import asyncio
import sys
import time
from typing import Final

CONNECTIONS: Final = 50
ASKED: Final = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\nAccept-Encoding: gzip\r\n\r\n"


class Connection:
    """One that is kept open, for one request after the other; opened anew where the server ends it, as browsers do."""

    def __init__(self, port: int) -> None:
        self._port = port

    @classmethod
    async def open(cls, port: int) -> "Connection":
        made = cls(port)
        await made._connect()
        return made

    async def _connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Return status and body. What is asked may be asked twice."""
        while True:
            try:
                return await self._asked(request)
            except (ConnectionError, asyncio.IncompleteReadError):
                self._writer.close()
                await self._connect()

    async def _asked(self, request: bytes) -> tuple[int, bytes]:
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        [length] = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        return int(head[9:12]), await self._reader.readexactly(int(length.partition(b":")[2]))

    def close(self) -> None:
        self._writer.close()


async def main(port: int, per_s: float, lasts_s: float) -> int:
    """Open the page so often; returns how many came whole."""
    connections = [await Connection.open(port) for _ in range(CONNECTIONS)]
    began, whole = time.monotonic(), 0

    async def one(connection: Connection, number: int) -> None:
        nonlocal whole
        while (due_s := began + number / per_s) < began + lasts_s:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            status, body = await connection.ask(ASKED)
            whole += status == 200 and len(body) > 10_000
            number += CONNECTIONS

    await asyncio.gather(*(one(connection, number) for number, connection in enumerate(connections)))
    for connection in connections:
        connection.close()
    return whole


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))}\n")
