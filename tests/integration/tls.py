"""TLS for tests: an authority, and doors that speak TLS in front of servers whose program was built without it."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trustme

from redrush.core.sets.address import Address

HOST = "127.0.0.1"
SSL_REQUEST_BYTES = 8
"""How a client of PostgreSQL asks for TLS: a length and a number, answered with one letter."""


class Authority:
    """Signs certificates of servers at 127.0.0.1 and of clients; its own is at `ca`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._ca = trustme.CA()
        self._directory = directory
        self.ca = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(self.ca)

    def server(self) -> ssl.SSLContext:
        """Return what a server here shows."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert(HOST).configure_cert(context)
        return context

    def files(self, name: str) -> tuple[Path, Path]:
        """Return a certificate for this name and its key, as files."""
        issued = self._ca.issue_cert(name)
        paths = self._directory / f"{name}.crt", self._directory / f"{name}.key"
        issued.cert_chain_pems[0].write_to_path(paths[0])
        issued.private_key_pem.write_to_path(paths[1])
        return paths

    def asks_clients(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """Let a server want to see a certificate of this authority."""
        context.verify_mode = ssl.CERT_REQUIRED
        self._ca.configure_trust(context)
        return context


@asynccontextmanager
async def door(behind: Address, context: ssl.SSLContext, *, postgres: bool = False) -> AsyncIterator[Address]:
    """Yield where TLS is spoken to the server behind it."""
    joined: set[asyncio.Task[None]] = set()

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        joined.add(task)
        try:
            if postgres:
                await reader.readexactly(SSL_REQUEST_BYTES)
                writer.write(b"S")
                await writer.start_tls(context)
            await _join(reader, writer, behind)
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            joined.discard(task)

    server = await asyncio.start_server(enter, HOST, 0, ssl=None if postgres else context)
    try:
        yield Address(HOST, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in list(joined):
            task.cancel()
        await asyncio.gather(*joined, return_exceptions=True)


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behind: Address) -> None:
    far_reader, far_writer = await asyncio.open_connection(behind.host, behind.port)
    try:
        await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))
    finally:
        far_writer.transport.abort()
        writer.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
