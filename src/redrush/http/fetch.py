"""Asking a server of somebody else over HTTP/1.1: connections that are kept, bounds on everything, no redirects.

The answer is read by llhttp, as requests are in `redrush.http.reader`. One deadline holds for all of it, so a body that
drips is given up. What went wrong is one exception, for whoever asks has to take it for *unknown* anyway: even a
connection that broke before the answer may have carried the request to its end.

Where the address is somebody's wish, as a webhook's, `public_only` refuses those that are in a private network: the
name is resolved once, and what is connected to is what was looked at (a name may point elsewhere the next time).
"""

import asyncio
import ipaddress
import socket
import ssl
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import httptools
import msgspec

from redrush.core.web_address import parts_of
from redrush.errors import RedrushError
from redrush.http.trust import system_trust

ANSWER_BYTES_MAX: Final = 4_000_000
IDLE_MAX: Final = 64
"""Connections that are kept for later, to each place."""
IDLE_S: Final = 4.0
"""A connection that was idle for longer is not used again: servers end theirs after five seconds and more."""

_CHUNK_BYTES: Final = 65_536


class Unfetched(RedrushError):
    """There is no answer; whether the request was heard is unknown."""


class TargetRefused(Unfetched):
    """The address is in a private network, and that is not allowed. Nothing was sent."""


class Fetched(msgspec.Struct, frozen=True):
    """An answer, whole. Names of headers are in small letters; of one that came twice the last is there."""

    status: int
    headers: dict[str, str]
    body: bytes

    def retry_after_s(self) -> float | None:
        """Return what the answer asks for, if that is a number of seconds."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isascii() and text.isdigit() else None


class _Place(msgspec.Struct, frozen=True):
    host: str
    port: int
    tls: bool


class _Kept(msgspec.Struct):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    since_s: float

    @property
    def is_good(self) -> bool:
        idle_s = asyncio.get_running_loop().time() - self.since_s
        return idle_s < IDLE_S and not self.writer.is_closing() and not self.reader.at_eof()


class _Answer:
    """Collects what the parser finds."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.is_whole = False
        self.stays = False
        self._has_head = False
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._has_head = True

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.is_whole = True
        self.stays = self.parser.should_keep_alive()  # it is asked for now, or never said

    def ends_with_connection(self) -> bool:
        """Whether the end of the connection is the end of the body: no header says where that is (RFC 9112, 6.3)."""
        return self._has_head and self.headers.keys().isdisjoint({"content-length", "transfer-encoding"})


class Fetcher:
    """See the module. Lives on one event loop; `close` at the end."""

    def __init__(self, *, public_only: bool = False, context: ssl.SSLContext | None = None) -> None:
        """`context` decides whom to trust; None: whom the system trusts."""
        self._public_only = public_only
        self._context = context
        self._idle: defaultdict[_Place, list[_Kept]] = defaultdict(list)

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        deadline_s: float = 10.0,
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> Fetched:
        """Return the answer, whatever its status. Raises Unfetched if no whole one comes in time."""
        place, target = _parts(url)
        kept: _Kept | None = None
        try:
            async with asyncio.timeout(deadline_s):
                kept = self._from_idle(place) or await self._connect(place)
                kept.writer.write(_request(method, place, target, headers or {}, body))
                answer, stays = await _read(kept.reader, bytes_max)
        except TimeoutError:
            self._drop(kept)
            raise Unfetched(f"{place.host}:{place.port}: no answer within {deadline_s:g} s") from None
        except (OSError, httptools.HttpParserError, ValueError) as fault:
            self._drop(kept)
            raise Unfetched(f"{place.host}:{place.port}: {fault or type(fault).__name__}") from fault
        except BaseException:
            self._drop(kept)
            raise
        if stays and len(self._idle[place]) < IDLE_MAX:
            kept.since_s = asyncio.get_running_loop().time()
            self._idle[place].append(kept)
        else:
            self._drop(kept)
        return answer

    def close(self) -> None:
        """End the connections that are kept."""
        for idle in self._idle.values():
            for kept in idle:
                self._drop(kept)
        self._idle.clear()

    def _from_idle(self, place: _Place) -> _Kept | None:
        idle = self._idle[place]
        while idle:
            kept = idle.pop()
            if kept.is_good:
                return kept
            self._drop(kept)
        return None

    async def _connect(self, place: _Place) -> _Kept:
        host = await _public_address(place) if self._public_only else place.host
        if place.tls and self._context is None:
            self._context = await asyncio.to_thread(system_trust)
        context = self._context if place.tls else None
        reader, writer = await asyncio.open_connection(
            host, place.port, ssl=context, server_hostname=place.host if context else None
        )
        return _Kept(reader, writer, asyncio.get_running_loop().time())

    def _drop(self, kept: _Kept | None) -> None:
        if kept is not None:
            kept.writer.transport.abort()


def _parts(url: str) -> tuple[_Place, str]:
    parts = parts_of(url)
    if parts is None or parts.hostname is None:
        raise Unfetched(f"{url!r} is no address of a web server")
    tls = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Place(parts.hostname, parts.port or (443 if tls else 80), tls), target


def _request(method: str, place: _Place, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    usual = place.port == (443 if place.tls else 80)
    name = f"[{place.host}]" if ":" in place.host else place.host
    lines = [f"{method} {target} HTTP/1.1", f"Host: {name if usual else f'{name}:{place.port}'}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header has a line break")
    if body or method not in ("GET", "HEAD"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def _read(reader: asyncio.StreamReader, bytes_max: int) -> tuple[Fetched, bool]:
    """Return the answer, and whether the connection may be used again."""
    answer = _Answer()
    read = 0
    while not answer.is_whole:
        part = await reader.read(_CHUNK_BYTES)
        if not part:
            if answer.ends_with_connection():
                break
            raise ValueError("the connection ended before the answer did")
        read += len(part)
        if read > bytes_max:
            raise ValueError(f"the answer has more than {bytes_max} bytes")
        answer.parser.feed_data(part)
    return Fetched(answer.parser.get_status_code(), answer.headers, bytes(answer.body)), answer.stays


async def _public_address(place: _Place) -> str:
    """Return an address of the host that is in no private network. Raises TargetRefused."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not is_public(address):
            raise TargetRefused(
                f"{place.host} is {address}, in a private network: say `private = true` beside the url, or name another"
            )
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether the address is one of the open internet, also where it stands for one of the older protocol."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
        if parsed in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)))
    return parsed.is_global and not parsed.is_multicast
