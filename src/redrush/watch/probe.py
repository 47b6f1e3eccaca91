"""Asking a process whether it is alive or ready, as a load balancer would."""

import asyncio
import contextlib
import os
from typing import Any, Final

import msgspec

PROBE_MAX_S: Final = 2.0
"""Who does not answer in this time is not well."""
ANSWER_BYTES_MAX: Final = 16_384


async def answers_ok(host: str, port: int, path: str) -> bool:
    """Return whether GET of the path is answered with status 200. Never raises for what is wrong at the other end."""
    return await lacking(host, port, path) is None


async def lacking(host: str, port: int, path: str) -> str | None:
    """Return None if GET of the path is answered with status 200, else why it is not, as far as that is told.

    Never raises for what is wrong at the other end.
    """
    try:
        async with asyncio.timeout(PROBE_MAX_S):
            answer = await _get(host, port, path)
    except TimeoutError:
        return f"no answer within {PROBE_MAX_S:g} s"
    except OSError as fault:
        return os.strerror(fault.errno) if fault.errno else str(fault)
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.decode("ascii", "replace").split(" ", 2)[1:2]
    return None if status == ["200"] else _detail(body) or f"answers {''.join(status) or 'nothing'}"


async def _get(host: str, port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    answer = b""
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii"))
        while len(answer) < ANSWER_BYTES_MAX and (data := await reader.read(ANSWER_BYTES_MAX)):
            answer += data
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return answer


def _detail(body: bytes) -> str | None:
    """Return what a refusal (RFC 9457) says to people."""
    with contextlib.suppress(msgspec.DecodeError):
        fields: Any = msgspec.json.decode(body)
        if isinstance(fields, dict) and isinstance(fields.get("detail"), str):
            return str(fields["detail"])
    return None
