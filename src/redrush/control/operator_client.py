"""A client of the control port: one request, one connection. For commands, and for gates that follow the switches.

Asyncio's streams and a few lines of HTTP/1.1, because a gate must not bring a client library into its process for
one small request; the answers come from our own site, whole and with their length.
"""

import asyncio
import json
import ssl
from functools import lru_cache
from typing import Any, Final

import msgspec

from redrush.control.operator_access import ControlAddress
from redrush.errors import RedrushError

ANSWER_BYTES_MAX: Final = 16_000_000
"""A thousand entries of the audit log, each as long as it can be."""


class ControlUnreachable(RedrushError):
    """The control port did not answer; what became of the request is unknown."""


class Answered(msgspec.Struct, frozen=True):
    """A status and the fields of the answer."""

    status: int
    fields: dict[str, Any]


async def ask(
    address: ControlAddress, token: str, method: str, path: str, fields: dict[str, Any] | None, deadline_s: float
) -> Answered:
    """Return the answer, whatever its status. Raises ControlUnreachable if none comes before the deadline."""
    where = f"control port {address.host}:{address.port}"
    try:
        async with asyncio.timeout(deadline_s):
            head, body = await _exchange(address, _request(address, token, method, path, fields))
        return Answered(int(head[9:12]), json.loads(body))
    except TimeoutError:
        raise ControlUnreachable(f"{where}: no answer within {deadline_s:g} s") from None
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as fault:
        raise ControlUnreachable(f"{where}: {fault}") from fault
    except ValueError as fault:
        raise ControlUnreachable(f"{where}: the answer is not one of a control port: {fault}") from fault


def _request(address: ControlAddress, token: str, method: str, path: str, fields: dict[str, Any] | None) -> bytes:
    body = b"" if fields is None else json.dumps(fields).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {address.host}:{address.port}",
        f"Authorization: Bearer {token}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@lru_cache(maxsize=4)
def _knowing(trusted: str, *, pinned: bool) -> ssl.SSLContext:
    """Return what knows the server by this file. OSError if it cannot be read."""
    context = ssl.create_default_context(cafile=trusted)
    if pinned:
        # This certificate, itself trusted, names the server however it is reached.
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


async def _exchange(address: ControlAddress, request: bytes) -> tuple[bytes, bytes]:
    context = None if address.trusted is None else _knowing(address.trusted, pinned=address.pinned)
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        if length > ANSWER_BYTES_MAX:
            raise ValueError(f"it is {length} bytes long")
        return head, await reader.readexactly(length)
    finally:
        if context is None:
            writer.close()
        else:
            writer.transport.abort()  # everything is read: TLS need not say goodbye, for which nobody would wait
