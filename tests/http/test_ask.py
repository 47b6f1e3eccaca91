"""Probes say why a process is not well, whatever is at the other end."""

import asyncio

import pytest

from redrush.http import answers, ask
from redrush.processes.loopback import HOST, free_port

WELL = answers.json_answer({"status": "ready"})
AWAY = answers.problem(503, "records of s1 are away")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (WELL, None),
        (AWAY, "records of s1 are away"),
        (b"HTTP/1.1 500 Oh\r\n\r\nnot JSON", "answers 500"),
        (b'HTTP/1.1 503 Oh\r\n\r\n{"detail":7}', "answers 503"),
        (b"HTTP/1.1 \xff\xfe oh\r\n\r\n", "answers \ufffd\ufffd"),
        (b"", "answers nothing"),
    ],
)
async def test_what_is_answered_is_understood(said: bytes, why: str | None) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await ask.lacking(HOST, port, "/readyz") == why
        assert await ask.is_ok(HOST, port, "/readyz") is (why is None)


async def test_who_says_nothing_or_is_not_there_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "PROBE_MAX_S", 0.1)

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(listen, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await ask.lacking(HOST, port, "/livez") == "no answer within 0.1 s"
    assert "refused" in str(await ask.lacking(HOST, free_port(), "/livez")).lower()
