"""Requests for the differential test of readers: valid ones in every spelling, and mangled ones."""

import random
from typing import Final

TICKET: Final = "k1.6ff0.user-@.0123456789abcdef0123456789abcdef"
_OWN: Final = (
    "X-Request-Id: @",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-@-01",
    "CF-Ray: @-SIN",
    "Cookie: sid=@; a=b",
    "X-Forwarded-Proto: https",
    "X-Real-IP: 203.0.113.@",
    "Accept: application/json",
    "Accept-Encoding: gzip, br",
    'sec-ch-ua: "Chromium";v="@"',
    "User-Agent: Mozilla/5.0 (@)",
    "Referer: http://x/@",
    "Priority: u=1, i",
    "TE: @",
    "DNT: 1",
    "Pragma: no-cache",
    "Upgrade-Insecure-Requests: 1",
    "X-Empty:",
    "Via: 1.1 @",
    "Tx: @",
    "Px: @",
    "X-Forwarded: @",
    "Keep-Alive: timeout=@",
    "Trailer: X",
)
_RARE: Final = (
    "X-Tab: a\tb",
    "X-Umlaut: \xe4@",
    "Hx: @",
    "Ox: @",
    "Ex: @",
    "Contents: @",
    "Authorize: @",
    "Expected: @",
    "Hosts: @",
    "Origins: @",
    "X-Forwarded-Foreign: @",
    "Transfer: @",
    "Upgrade: h2c",
)
_WRONG: Final = (
    " folded: @",
    "\tfolded",
    "no colon",
    "blank : @",
    "blank\t: @",
    ": no name",
    "Na me: @",
    "N\x00: @",
    "V: \x00",
    "V: a\rb",
    "V: a\nb",
    "V: \x0b",
    "V: \x7f",
    "Name\x80: @",
    "Content-Length: @",
    "Content-Length: 2",
    "Content-Length: +2",
    "Content-Length : 2",
    "Transfer-Encoding: chunked",
    "transfer-encoding:chunked",
    "Transfer-Encoding: identity",
    "Host: y",
    "host: x",
    "Authorization: Basic @",
    "authorization: bearer @",
    "Connection: close",
    "Connection: upgrade",
    "Connection: keep-alive, x",
    "Connection: keep-alive, upgrade",
    "Connection: Keep-Alive,close",
    "Proxy-Connection: close",
    "Expect: 100-continue",
    "Expect: @",
    "X-Forwarded-For: 203.0.113.@",
    "x-forwarded-for:",
    "Origin: @",
    "Content-Type: text/plain",
    "Content-Encoding: gzip",
    "X" * 5_000 + ": @",
    "V: " + "v" * 5_000,
)
_BYTES: Final = (
    b"\x00",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b"\xff",
    b"-",
    b"0",
    b"\x7f",
    b"\r\n ",
    b",",
    b"?",
    b"\x0b",
    b"Host: y\r\n",
    b"\r\nContent-Length: 3",
    b"\r\nTransfer-Encoding: chunked",
    b"\r\nConnection: close",
    b"\r\nAuthorization: Bearer x",
    b"\r\nX-Forwarded-For: 1.2.3.4",
    b"HTTP/1.0",
    b"HTTP/1.1",
)
_SPELLINGS: Final = (str,) * 6 + (str.lower,) * 3 + (str.upper, str.title)
_TARGETS: Final = (
    ("/grab",) * 14
    + ("/grab?n=@",) * 6
    + ("/p/@/grab", "/p/@a@/grab") * 5
    + ("/p/@/grab?n=@", "/p/@%20/grab", "/p//grab", "/p/#/grab", "/p/@/@/grab", '/p/@\\"/grab')
    + ("/livez?", "/a%20b", "*", "http://x/livez", "/@", "//", "/#", "x")
)
_HOSTS: Final = ("Host: x", "Host: x:8080", "Host:x", "Host:  x ")
_AUTHORIZATIONS: Final = (f"Authorization: Bearer {TICKET}",) * 4 + (
    f"Authorization:Bearer {TICKET}",
    f"Authorization: bearer {TICKET}",
    f"Authorization: Bearer  {TICKET} ",
    "Authorization: Bearer ",
    "Authorization: Basic @",
)
_FORWARDED: Final = ("X-Forwarded-For: 203.0.113.@",) * 3 + (
    "X-Forwarded-For:203.0.113.@",
    "X-Forwarded-For: 1.1.1.1, ::@ ",
)
RARE_SHARE: Final = 0.1
WRONG_SHARE: Final = 0.15
MUTATED_SHARE: Final = 0.4


class Requests:
    """Makes requests, one after the other, from a seed."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._last = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

    def next(self) -> bytes:
        """Return a request: valid, or nearly."""
        data = self._valid()
        if self._chance.random() < MUTATED_SHARE:
            for _ in range(self._chance.choice((1, 1, 1, 2, 4))):
                data = self.mutated(data)
        self._last = data
        return data

    def _valid(self) -> bytes:
        chance = self._chance
        method = chance.choice(("POST",) * 12 + ("GET", "GET", "HEAD", "OPTIONS", "PUT", "GRAB"))
        version = "HTTP/1.0" if chance.random() < 0.03 else "HTTP/1.1"
        lines = chance.sample(_OWN, chance.randrange(8))
        lines.append(_HOSTS[0] if chance.random() < 0.8 else chance.choice(_HOSTS))
        body = chance.choice(("", "", "{}", "{}", '{"nonce":"@"}'))
        if body or chance.random() < 0.5:
            lines.append(f"Content-Length: {len(body)}")
        if body:
            lines.append("Content-Type: application/json")
        for share, choices in (
            (0.7, _AUTHORIZATIONS),
            (0.3, _FORWARDED),
            (0.4, ("Connection: keep-alive",)),
            (0.2, ("Origin: http://x",)),
        ):
            if chance.random() < share:
                lines.append(chance.choice(choices))
        if chance.random() < RARE_SHARE:
            lines.append(chance.choice(_RARE))
        while chance.random() < WRONG_SHARE:
            lines.append(chance.choice(_WRONG))
        if chance.random() < 0.1:
            chance.shuffle(lines)
        spelled = chance.choice(_SPELLINGS)
        text = "\r\n".join(
            (f"{method} {chance.choice(_TARGETS)} {version}", *(_spelled(line, spelled) for line in lines), "", body)
        )
        return text.replace("@", str(chance.randrange(10))).encode("latin-1")

    def mutated(self, data: bytes) -> bytes:
        """Return the request with something wrong, mostly."""
        chance = self._chance
        at, to = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
        match chance.randrange(9):
            case 0 | 1:
                return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
            case 2:
                return data[:at] + data[at + 1 :]
            case 3 | 4:
                return data[:at] + chance.choice(_BYTES) + data[at:]
            case 5:
                return data[:at] + data[to:]
            case 6:
                return data[:to] + data[at:]
            case 7:
                return data[:at] + self._last[to:]
            case _:
                lines = data.split(b"\r\n")
                lines.insert(chance.randrange(len(lines)), chance.choice(lines))
                return b"\r\n".join(lines)


def _spelled(line: str, spelling: object) -> str:
    name, colon, value = line.partition(":")
    assert callable(spelling)
    return f"{spelling(name)}{colon}{value}"
