"""Bytes that are no request: always a 4xx or a closed connection, and the gate serves on."""

from typing import Final

import pytest

from redrush.http.reader import Limits
from tests.gate.world import request, running_gate

HOST: Final = b"Host: x\r\n"
JSON: Final = b"Content-Type: application/json\r\n"


def _post(headers: bytes, body: bytes = b"") -> bytes:
    return b"POST /v1/rounds/r1/grab HTTP/1.1\r\n" + HOST + headers + b"\r\n" + body


def _body(body: bytes) -> bytes:
    """A claim with a ticket and this body; TICKET is put in later."""
    return _post(b"Authorization: Bearer TICKET\r\n" + JSON + b"Content-Length: %d\r\n" % len(body), body)


CORPUS: Final[dict[str, bytes]] = {
    # lengths
    "negative length": _post(b"Content-Length: -1\r\n"),
    "length with a sign": _post(b"Content-Length: +2\r\n", b"{}"),
    "length in hex": _post(b"Content-Length: 0x2\r\n", b"{}"),
    "length with a fraction": _post(b"Content-Length: 2.0\r\n", b"{}"),
    "length that is a list": _post(b"Content-Length: 2, 2\r\n", b"{}"),
    "length with underscore": _post(b"Content-Length: 1_0\r\n", b"{}"),
    "length that is empty": _post(b"Content-Length:\r\n", b"{}"),
    "length of 30 digits": _post(b"Content-Length: " + b"9" * 30 + b"\r\n", b"{}"),
    "length of 2^64": _post(b"Content-Length: 18446744073709551616\r\n", b"{}"),
    "length of 2^63": _post(b"Content-Length: 9223372036854775808\r\n", b"x" * 5_000),
    "conflicting lengths": _post(b"Content-Length: 2\r\nContent-Length: 3\r\n", b"{}"),
    "the same length twice": _post(b"Content-Length: 2\r\nContent-Length: 2\r\n", b"{}"),
    "length and chunks": _post(b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "chunks and length": _post(b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", b"0\r\n\r\n"),
    # codings
    "chunked twice": _post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "chunked, chunked": _post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"),
    "chunked not last": _post(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"),
    "unknown coding": _post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    "identity": _post(b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"),
    "coding in quotes": _post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"),
    "coding after a vertical tab": _post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"),
    "coding with a blank before its colon": _post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
    "coding on a folded line": _post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
    "chunks in HTTP/1.0": _post(b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
    # chunks
    "chunk size that is no number": _post(b"Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n"),
    "negative chunk size": _post(b"Transfer-Encoding: chunked\r\n", b"-1\r\n{}\r\n0\r\n\r\n"),
    "chunk size with 0x": _post(b"Transfer-Encoding: chunked\r\n", b"0x2\r\n{}\r\n0\r\n\r\n"),
    "huge chunk size": _post(b"Transfer-Encoding: chunked\r\n", b"f" * 40 + b"\r\n{}"),
    "chunk longer than its size": _post(b"Transfer-Encoding: chunked\r\n", b"1\r\n{}\r\n0\r\n\r\n"),
    "chunk ended by a bare line feed": _post(b"Transfer-Encoding: chunked\r\n", b"2\r\n{}\n0\r\n\r\n"),
    "chunk size ended by a bare line feed": _post(b"Transfer-Encoding: chunked\r\n", b"2\n{}\r\n0\r\n\r\n"),
    "too many bytes in chunks": _post(b"Transfer-Encoding: chunked\r\n", b"1000\r\n%b\r\n1\r\nx\r\n" % (b"x" * 4096)),
    # lines
    "bare line feeds": b"GET /livez HTTP/1.1\nHost: x\n\n",
    "a bare line feed in the head": b"GET /livez HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
    "a bare carriage return in the head": b"GET /livez HTTP/1.1\r\nHost: x\rX: y\r\n\r\n",
    "a folded line": b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
    "a first header line that begins with a blank": b"GET /livez HTTP/1.1\r\n Host: x\r\n\r\n",
    "NUL in a name": b"GET /livez HTTP/1.1\r\nHost: x\r\nX\x00: y\r\n\r\n",
    "NUL in a value": b"GET /livez HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n",
    "NUL in the target": b"GET /livez\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a name with a blank": b"GET /livez HTTP/1.1\r\nHost: x\r\nX Y: z\r\n\r\n",
    "a line without a colon": b"GET /livez HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "an empty name": b"GET /livez HTTP/1.1\r\nHost: x\r\n: z\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
    "two tickets": _post(b"Authorization: Bearer TICKET\r\nAuthorization: Bearer TICKET\r\n"),
    "two schemes": _post(b"Authorization: Basic x\r\nAuthorization: Bearer TICKET\r\n"),
    "two types": _body(b"{}").replace(JSON, b"Content-Type: text/plain\r\n" + JSON),
    # versions and methods
    "HTTP/0.9": b"GET /livez\r\n\r\n",
    "HTTP/0.9 by name": b"GET /livez HTTP/0.9\r\nHost: x\r\n\r\n",
    "HTTP/1.2": b"GET /livez HTTP/1.2\r\nHost: x\r\n\r\n",
    "HTTP/2.0": b"GET /livez HTTP/2.0\r\nHost: x\r\n\r\n",
    "HTTP/11": b"GET /livez HTTP/11\r\nHost: x\r\n\r\n",
    "http in small letters": b"GET /livez http/1.1\r\nHost: x\r\n\r\n",
    "an unknown method": b"GRAB /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method in small letters": b"get /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
    "TRACE": b"TRACE /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "OPTIONS *": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "RTSP": b"DESCRIBE /livez RTSP/1.0\r\n\r\n",
    # targets
    "no target": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "a target without a slash": b"GET livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "a target of bytes": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "an absolute target with a broken port": b"GET http://x:99999999/livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "an absolute target without a host": b"GET http:///livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "a huge target": b"GET /" + b"x" * 300_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    # bombs
    "a huge name": b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X" * 300_000 + b": y\r\n\r\n",
    "a huge value": b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 300_000 + b"\r\n\r\n",
    "many headers": b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 50_000 + b"\r\n",
    "empty chunks without end": _post(b"Transfer-Encoding: chunked\r\n", b"1;x=y\r\n{\r\n" * 50_000),
    "a trailer without end": _post(b"Transfer-Encoding: chunked\r\n", b"0\r\nX: " + b"y" * 700_000),
    "an extension without end": _post(b"Transfer-Encoding: chunked\r\n", b"1;" + b"y" * 700_000),
    # bodies
    "deep arrays": _body(b'{"a":' + b"[" * 4_000),
    "deep objects": _body(b'{"a":' * 800),
    "NaN": _body(b'{"a":NaN}'),
    "Infinity": _body(b'{"a":-Infinity}'),
    "a body of bytes": _body(b"\x80\x81\xff"),
    "a key of bytes": _body(b'{"\xff":1}'),
    "a byte order mark": _body(b"\xef\xbb\xbf{}"),
    "UTF-16": _body('{"a":1}'.encode("utf-16")),
    "a body that is cut": _body(b'{"a":"'),
    "a huge number alone": _body(b"9" * 4_000),
    "two objects": _body(b"{}{}"),
    "a control character in a string": _body(b'{"a":"\x01"}'),
    # other protocols
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(range(189)),
    "SSH": b"SSH-2.0-OpenSSH_9.7\r\n",
    "SOCKS": b"\x05\x01\x00",
    "RESP": b"*1\r\n$4\r\nPING\r\n",
    "zeros": b"\x00" * 70_000,
    "only blanks": b" " * 70_000,
}  # fmt: skip


@pytest.mark.parametrize("name", CORPUS)
async def test_a_malformed_request_is_refused_or_cut(name: str) -> None:
    async with running_gate() as gate:
        data = CORPUS[name].replace(b"TICKET", gate.ticket("mallory").encode())
        for halves in ((data,), (data[: len(data) // 2], data[len(data) // 2 :])):
            client = await gate.connect()
            await client.send_in_pieces(*halves)
            client.end_sending()
            refused = [answer.status for answer in await client.answers_until_closed()]
            assert refused, "the client is told, for its engineer"
            assert all(400 <= status < 500 for status in refused), refused
        assert gate.store.calls == []
        await gate.still_serves()


@pytest.mark.parametrize("name", [name for name, data in CORPUS.items() if len(data) < 1_000])
async def test_half_a_malformed_request_is_cut(name: str) -> None:
    async with running_gate() as gate:
        data = CORPUS[name].replace(b"TICKET", gate.ticket("mallory").encode())
        for size in range(1, len(data), max(1, len(data) // 7)):
            client = await gate.connect()
            await client.send_in_pieces(data[:size])
            client.end_sending()
            assert all(400 <= answer.status < 500 for answer in await client.answers_until_closed())
        assert gate.store.calls == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' + b"9" * 4_000 + b"}",
        b'{"a":1e999}',
        b'{"a":' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"a":1,"a":2}',
        b'{"outcome":"granted","user":"mallory","slot":0}',
    ],
)
async def test_a_strange_but_valid_body_changes_nothing(body: bytes) -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        answer = await client.ask(
            request("POST", "/v1/rounds/r1/grab", gate.ticket("alice"), body, ("Content-Type: application/json",))
        )
        assert answer.status in {200, 400}
        if answer.status == 200:
            assert answer.json["grant"]["receipt"].split("~")[-3] == "alice"
        await gate.still_serves()


@pytest.mark.parametrize("endless", [b"X: y\r\n", b"X", b"\r\nX: y"])
async def test_a_head_without_end_is_cut_at_its_bound(endless: bytes) -> None:
    async with running_gate(limits=Limits(head_bytes_max=4_000)) as gate:
        client = await gate.connect()
        await client.send_in_pieces(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ")
        while not gate.site.counts["malformed"]:
            await client.send_in_pieces(endless * 100)
        assert gate.bytes_seen < 6_000
        client.end_sending()
        assert [answer.status for answer in await client.answers_until_closed()] == [431]


@pytest.mark.parametrize("endless", [b"1\r\nx\r\n", b"1;" + b"e" * 90 + b"\r\nx\r\n", b"0\r\nX: " + b"t" * 90])
async def test_a_body_without_end_is_cut_at_its_bound(endless: bytes) -> None:
    async with running_gate(limits=Limits(head_bytes_max=4_000, body_bytes_max=1_000)) as gate:
        client = await gate.connect()
        await client.send_in_pieces(_post(b"Transfer-Encoding: chunked\r\n"))
        while not gate.site.counts["malformed"]:
            await client.send_in_pieces(endless)
            if endless.startswith(b"0"):
                endless = b"t" * 100
        assert gate.bytes_seen < 12_000
        client.end_sending()
        assert [answer.status for answer in await client.answers_until_closed()] == [413]
