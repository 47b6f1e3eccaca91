"""Asking another of our processes over HTTP: one request, one connection. For commands, roles and supervisors.

Asyncio's streams and a few lines of HTTP/1.1, because a gate must not bring a client library into its process for
one small request; the answers come from our own site, whole and with their length.
"""

import asyncio
import json
import os
import ssl
from functools import lru_cache
from typing import Any, Final

import msgspec

from redrush.errors import RedrushError
from redrush.http.bodies import UNREADABLE, json_object

ANSWER_BYTES_MAX: Final = 16_000_000
"""A thousand entries of the audit log, each as long as it can be."""

PROBE_BYTES_MAX: Final = 16_384
PROBE_MAX_S: Final = 2.0
"""Who does not answer a probe in this time is not well."""

_CHUNK_BYTES: Final = 65_536


class ControlUnreachable(RedrushError):
    """The control port did not answer; what became of the request is unknown."""


class ControlAddress(msgspec.Struct, frozen=True):
    """Where a control port answers."""

    host: str
    port: int
    trusted: str | None = None
    """A file with who must have signed what is shown there; None: it speaks plainly."""
    pinned: bool = False
    """The file has the very certificate, whatever name stands in it."""
    prefix: str = "/v1"
    """What its paths begin with: a server has the control API of each of its campaigns."""


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
            context = None if address.trusted is None else _context_for(address.trusted, pinned=address.pinned)
            request = _request(address, token, method, address.prefix + path.removeprefix("/v1"), fields)
            head, body = await _exchange(address.host, address.port, request, ANSWER_BYTES_MAX, context)
        if len(body) != (_length(head) or 0):
            raise ControlUnreachable(f"{where}: the connection ended before the answer did")
        return Answered(int(head[9:12]), json.loads(body))
    except TimeoutError:
        raise ControlUnreachable(f"{where}: no answer within {deadline_s:g} s") from None
    except OSError as fault:
        raise ControlUnreachable(f"{where}: {fault}") from fault
    except UNREADABLE as fault:
        raise ControlUnreachable(f"{where}: the answer is not one of a control port: {fault}") from fault


async def is_ok(host: str, port: int, path: str) -> bool:
    """Return whether GET of the path is answered with status 200. Never raises for what is wrong at the other end."""
    return await lacking(host, port, path) is None


async def lacking(host: str, port: int, path: str) -> str | None:
    """Return None if GET of the path is answered with status 200, else why it is not, as far as that is told.

    This is a load balancer's question, without a token. Never raises for what is wrong at the other end.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii")
    try:
        async with asyncio.timeout(PROBE_MAX_S):
            head, body = await _exchange(host, port, request, PROBE_BYTES_MAX)
    except TimeoutError:
        return f"no answer within {PROBE_MAX_S:g} s"
    except OSError as fault:
        return os.strerror(fault.errno) if fault.errno else str(fault)
    except ValueError as fault:
        return f"the answer cannot be read: {fault}"
    status = head.decode("ascii", "replace").split(" ", 2)[1:2]
    return None if status == ["200"] else _detail(body) or f"answers {''.join(status) or 'nothing'}"


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
def _context_for(trusted: str, *, pinned: bool) -> ssl.SSLContext:
    """Return what knows the server by this file. OSError if it cannot be read."""
    context = ssl.create_default_context(cafile=trusted)
    if pinned:
        # This certificate, itself trusted, names the server however it is reached.
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


async def _exchange(
    host: str, port: int, request: bytes, bytes_max: int, context: ssl.SSLContext | None = None
) -> tuple[bytes, bytes]:
    """Return head and body of the answer, as far as they came before the connection ended.

    Raises OSError for what happens to the connection, ValueError for an answer that states no length that is a number,
    or is longer than `bytes_max`.
    """
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    answer = bytearray()
    wanted: int | None = None
    try:
        writer.write(request)
        while (wanted is None or len(answer) < wanted) and (chunk := await reader.read(_CHUNK_BYTES)):
            answer += chunk
            if wanted is None and (end := answer.find(b"\r\n\r\n")) >= 0:
                length = _length(bytes(answer[:end]))
                wanted = bytes_max if length is None else end + 4 + length
            if max(len(answer), wanted or 0) > bytes_max:
                raise ValueError(f"it is {max(len(answer), wanted or 0)} bytes long")
    finally:
        if context is None:
            writer.close()
        else:
            writer.transport.abort()  # everything is read: TLS need not say goodbye, for which nobody would wait
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    return head, body


def _length(head: bytes) -> int | None:
    """Return the length of the body that the head states; None if it states none."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return None


def _detail(body: bytes) -> str | None:
    """Return what a refusal (RFC 9457) says to people."""
    detail = (json_object(body) or {}).get("detail")
    return detail if isinstance(detail, str) else None
