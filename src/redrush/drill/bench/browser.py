"""Requests as a browser sends them: the header block of a page's `fetch`, and one blocking exchange.

Every load in the benchmark sends these bytes, to redrush and to its peers. The rush of one event comes from several
browsers, so there are several heads: a server that remembers heads must remember more than one. Behind a CDN or a load
balancer each request carries bytes of its own besides, and many clients send a body with a POST: that is the default.
"""

import socket
from enum import StrEnum
from typing import NamedTuple

from redrush.processes.failure import ProcessFailed

TICKET_MARK = "@TICKET@"
USE_MARK = "@USE@"
"""Where in a path the id goes that a ticket is used for, as the file of tickets says it."""
OWN_MARK = "@OWN_HEX_DIGITS@"
"""Where digits stand that are another request's each time: as many as the mark has letters."""


class Heads(StrEnum):
    """What requests look like: each with an id and a trace of its own and the body {}, or a browser's head alone, which
    is the same each time but for the ticket."""

    OWN = "own head and body"
    KNOWN = "known head"


ANSWER_BYTES_MAX = 65_536
EXCHANGE_DEADLINE_S = 10.0

_HEAD = (
    "POST {path} HTTP/1.1\r\n"
    "Host: 127.0.0.1:{port}\r\n"
    "Connection: keep-alive\r\n"
    "{length}"
    'sec-ch-ua-platform: "Android"\r\n'
    'sec-ch-ua: "Chromium";v="{version}", "Google Chrome";v="{version}", "Not_A Brand";v="99"\r\n'
    "sec-ch-ua-mobile: ?1\r\n"
    "Accept: application/json\r\n"
    "Authorization: Bearer " + TICKET_MARK + "\r\n"
    "User-Agent: Mozilla/5.0 (Linux; Android {android}; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/{version}.0.0.0 Mobile Safari/537.36\r\n"
    "Origin: http://127.0.0.1:{port}\r\n"
    "Referer: http://127.0.0.1:{port}/\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: zh-CN,zh;q=0.9,en;q=0.8\r\n{own}\r\n{body}"
)
_PARTS = {
    Heads.OWN: {
        "length": "Content-Length: 2\r\nContent-Type: application/json\r\n",
        "own": f"X-Request-Id: 7d3f2c1e-{OWN_MARK}\r\n"
        f"traceparent: 00-4bf92f3577b34da6{OWN_MARK}-00f067aa0ba902b7-01\r\n",
        "body": "{}",
    },
    Heads.KNOWN: {"length": "Content-Length: 0\r\n", "own": "", "body": ""},
}

_BROWSERS = tuple((version, android) for version in range(124, 132) for android in (10, 14))


class Answer(NamedTuple):
    """A whole HTTP answer: status and body."""

    status: int
    body: bytes


def grab_path(round_id: str) -> str:
    """Return the path of a grab of a round."""
    return f"/v1/rounds/{round_id}/grab"


PACKET_PATH = f"/v1/packets/{USE_MARK}/grab"
"""The path of a grab of whichever packet between people."""


def grab_heads(port: int, paths: tuple[str, ...] = (grab_path("rush"),), heads: Heads = Heads.OWN) -> list[str]:
    """Return requests, one per browser, taking turns through the paths; `TICKET_MARK` is where a ticket goes, and
    `OWN_MARK` where digits go that no other request has.

    There are 16 browsers, or as many as there are paths, so that every path gets the same share of the requests.
    """
    count = len(_BROWSERS) if len(paths) == 1 else len(paths)
    return [
        _HEAD.format(port=port, path=paths[k % len(paths)], version=version, android=android, **_PARTS[heads])
        for k in range(count)
        for version, android in (_BROWSERS[k % len(_BROWSERS)],)
    ]


def grab_request(port: int, ticket: str, round_id: str = "rush") -> bytes:
    """Return the bytes of one grab."""
    text = grab_heads(port, (grab_path(round_id),))[0].replace(TICKET_MARK, ticket)
    return text.replace(OWN_MARK, "0" * len(OWN_MARK)).encode("ascii")


def exchange(connection: socket.socket, request: bytes) -> Answer:
    """Send a request and return the answer. Raises ProcessFailed if there is none within `EXCHANGE_DEADLINE_S`."""
    connection.settimeout(EXCHANGE_DEADLINE_S)
    received = b""
    try:
        connection.sendall(request)
        while len(received) < ANSWER_BYTES_MAX:
            piece = connection.recv(ANSWER_BYTES_MAX)
            received += piece
            head, end, body = received.partition(b"\r\n\r\n")
            if end and len(body) >= _length_of(head):
                return Answer(int(head.split(b" ", 2)[1]), body[: _length_of(head)])
            if not piece:
                break
    except OSError as fault:
        raise ProcessFailed(f"a server under test did not answer: {fault}") from fault
    raise ProcessFailed(f"a server under test sent no complete answer but {received[:200]!r}")


def ask(port: int, ticket: str, round_id: str = "rush") -> Answer:
    """Send one grab on a connection of its own and return the answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), EXCHANGE_DEADLINE_S) as connection:
            return exchange(connection, grab_request(port, ticket, round_id))
    except OSError as fault:
        raise ProcessFailed(f"cannot connect to a server under test: {fault}") from fault


def _length_of(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ProcessFailed("a server under test sent an answer without Content-Length")
