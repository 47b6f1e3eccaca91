"""Asking a process whether it is alive or ready, as a load balancer would."""

import asyncio
import contextlib
from typing import Final

PROBE_MAX_S: Final = 2.0
"""Who does not answer in this time is not well."""
HEAD_BYTES_MAX: Final = 16_384


async def answers_ok(host: str, port: int, path: str) -> bool:
    """Return whether GET of the path is answered with status 200. Never raises for what is wrong at the other end."""
    try:
        async with asyncio.timeout(PROBE_MAX_S):
            reader, writer = await asyncio.open_connection(host, port, limit=HEAD_BYTES_MAX)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii"))
                status_line = await reader.readline()
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, ValueError):
        return False
    return status_line.split(b" ")[1:2] == [b"200"]
