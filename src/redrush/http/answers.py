"""Answers as the bytes that go to the socket: built once where the answer is the same for many.

Every answer here is complete: status line, headers, body. Losers get prebuilt bytes; a grant is put together from one
prebuilt head and its own JSON.
"""

import json
import re
from http import HTTPStatus
from typing import Any

_REASONS = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",  # as RFC 9110 has it, which is newer than the phrases of Python 3.11
}
"""What stands behind a status: every one that there is."""


ELSEWHERE = "X-Redrush-Elsewhere: 1\r\n"
"""The header of refusals after which another gate may be tried, once; `elsewhere` says so in their bodies."""

INTERVAL_HEADER = "X-Redrush-Interval-Ms"
"""What `interval_ms` says in a body: the least time to the client's next request, for whoever reads heads only."""


def answer(status: int, body: bytes, content_type: str = "application/json", headers: str = "") -> bytes:
    """Return a whole HTTP/1.1 answer. `headers` is extra header lines, each ended with CRLF."""
    return b"%b%d\r\n\r\n%b" % (head_before_length(status, content_type, headers).encode("ascii"), len(body), body)


def head_before_length(status: int, content_type: str = "application/json", headers: str = "") -> str:
    """Return what such an answer begins with: the length, an empty line and the body follow."""
    return f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\n{headers}Content-Length: "


def no_content(headers: str) -> bytes:
    """Return a 204 answer with these header lines. It has no length (RFC 9110, 8.6)."""
    return f"HTTP/1.1 204 {_REASONS[204]}\r\n{headers}\r\n".encode("ascii")


def not_modified(headers: str) -> bytes:
    """Return a 304 answer with these header lines, its ETag among them. It has no body (RFC 9110, 15.4.5)."""
    return f"HTTP/1.1 304 {_REASONS[304]}\r\n{headers}\r\n".encode("ascii")


def json_answer(fields: dict[str, Any], headers: str = "Cache-Control: no-store\r\n") -> bytes:
    """Return a 200 answer with the fields as JSON."""
    return answer(200, _json(fields), headers=headers)


def problem(status: int, detail: str, headers: str = "", **members: Any) -> bytes:
    """Return a refusal as RFC 9457 problem+json; `detail` tells the client's engineer what to do about it."""
    body = {"type": "about:blank", "title": _REASONS[status], "status": status, "detail": detail} | members
    return answer(status, _json(body), "application/problem+json", f"Cache-Control: no-store\r\n{headers}")


def dated(complete: bytes, date: str) -> bytes:
    """Return the answer with its date (RFC 9110, 6.6.1), for answers that are built once and kept longer."""
    return complete.replace(b"\r\n", f"\r\nDate: {date}\r\n".encode("ascii"), 1)


def advising(complete: bytes, interval_ms: int, headers: str) -> bytes:
    """Return the answer, whose body is a JSON object, with these header lines, and with `interval_ms` as the least time
    to the client's next request unless it asks for more already."""
    fields = json.loads(complete.partition(b"\r\n\r\n")[2])
    fields["interval_ms"] = max(interval_ms, fields.get("interval_ms") or 0)
    body = _json(fields)
    head = re.sub(
        rb"\r\nContent-Length: \d+\r\n", b"\r\nContent-Length: %d\r\n" % len(body), head_of(complete), count=1
    )
    # An answer that asks for more already, as under overload, says so in a header of its own: it stands once.
    name, advice = INTERVAL_HEADER.encode("ascii"), headers.encode("ascii")
    line = name + b": %d\r\n" % fields["interval_ms"]
    head = re.sub(name + rb": \d+\r\n", b"", head)
    advice = re.sub(name + rb": \d+\r\n", line, advice)
    return head.replace(b"\r\n", b"\r\n" + advice, 1) + body


def closing(complete: bytes) -> bytes:
    """Return the answer with the header that announces the end of the connection."""
    return complete.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


def head_of(complete: bytes) -> bytes:
    """Return the answer without its body, as it is sent to HEAD."""
    return complete[: complete.index(b"\r\n\r\n") + 4]


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def overloaded(interval_ms: int, *, elsewhere: bool = False) -> bytes:
    """Return the refusal of a claim that cannot be let through now, in words for the client and for proxies.

    `interval_ms` is how long to wait before asking again; `elsewhere`: another gate may have room, one may be tried."""
    headers = f"Retry-After: {-(-interval_ms // 1_000)}\r\n{INTERVAL_HEADER}: {interval_ms}\r\n"
    detail = "too many claims are under way; nothing was decided, ask again after the interval"
    if elsewhere:
        return problem(503, detail, headers + ELSEWHERE, interval_ms=interval_ms, elsewhere=True)
    return problem(503, detail, headers, interval_ms=interval_ms)


def unproven_ticket(prefix: str) -> bytes:
    """Return the refusal of a ticket that has to be exchanged for a proven one, at the counter below this path."""
    return problem(
        401,
        f"this event asks for proof of work: GET {prefix}/challenge with this ticket, solve it, POST the solution to "
        f"{prefix}/ticket, and claim with the ticket that you are given",
        'WWW-Authenticate: Bearer realm="redrush", error="invalid_token"\r\n',
        exchange={"challenge": f"{prefix}/challenge", "ticket": f"{prefix}/ticket"},
    )


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""What comes before the answer, for whoever waits for it before they send the body."""

BAD_REQUEST = problem(400, "the request is not valid HTTP/1.1")
NOT_JSON = problem(400, "the body must be one JSON object, or be left out")
NO_TICKET = problem(
    401, "send a valid ticket: Authorization: Bearer TICKET", 'WWW-Authenticate: Bearer realm="redrush"\r\n'
)
EXPIRED_TICKET = problem(
    401,
    "the ticket has expired; get a new one",
    'WWW-Authenticate: Bearer realm="redrush", error="invalid_token"\r\n',
)
UNPROVEN_TICKET = unproven_ticket("/v1")
NO_TOKEN = problem(
    401,
    "send the token that is in the data directory: Authorization: Bearer TOKEN",
    'WWW-Authenticate: Bearer realm="redrush control"\r\n',
)
FOREIGN_HOST = problem(
    421,
    "the control port does not answer under this name; use localhost or an address, or name it when the server starts",
)
NOT_FOUND = problem(404, "there is nothing at this path")
TOO_SLOW = problem(408, "the request took too long to arrive")
BODY_TOO_LARGE = problem(413, "the body is too large")
NOT_JSON_TYPE = problem(415, "send the body as application/json")
UNKNOWN_EXPECTATION = problem(417, "only Expect: 100-continue can be met; leave the header out")
HEAD_TOO_LARGE = problem(431, "the request line and headers are too large")
BUSY = problem(503, "too many claims are under way; try again shortly", "Retry-After: 1\r\n")
NOT_SAMPLED = problem(503, "only claims are served in full now; ask again later", "Retry-After: 3\r\n")
EXCHANGES_BUSY = problem(503, "very many tickets are being exchanged; try again shortly", "Retry-After: 2\r\n")
EXCHANGED_TOO_SOON = problem(429, "one exchange a second is enough; try again shortly", "Retry-After: 1\r\n")
TOO_MANY_CONNECTIONS = problem(
    503, "too many connections; try again shortly", f"Retry-After: 2\r\n{ELSEWHERE}", elsewhere=True
)
STORE_FAILED = problem(
    503,
    "claims cannot be recorded now; whether one of yours was granted is not known until the server is back: ask again "
    "then, and you are told, for nobody is granted twice",
    "Retry-After: 5\r\n",
    fate="unknown",
)
"""After a failed fsync nobody knows what the disk holds: who was told this may hold the grant after the restart."""
SET_AWAY = problem(
    503,
    "the part of the event that serves you is away for a moment; if you have claimed, whether that was granted is not "
    "known: ask again, and you are told",
    "Retry-After: 1\r\n",
    fate="unknown",
)
STORE_SLOW = problem(
    503,
    "this takes longer than usual, and whether it was done is not known yet: ask again, and you are told",
    "Retry-After: 1\r\n",
    fate="unknown",
)
"""Of whatever waits, be it a claim or a look at one's orders."""
STOPPING = problem(503, "this gate is stopping; try again", f"Retry-After: 1\r\n{ELSEWHERE}", elsewhere=True)
CLOCK_IN_DOUBT = problem(
    503,
    "the clock of this gate, or of what stands behind it, is wrong; nothing was decided, ask another gate",
    f"Retry-After: 1\r\n{ELSEWHERE}",
    elsewhere=True,
)
QUERIES_BUSY = problem(503, "too many are asking at once, and claims go first; try again shortly", "Retry-After: 1\r\n")
TOO_MANY_OF_ADDRESS = problem(
    429, "too many connections from this network address; close some, or try again shortly", "Retry-After: 2\r\n"
)
