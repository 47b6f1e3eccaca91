"""The control port over TLS: operators and probes come in, silence does not keep them out, and a stranger is known."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from redrush.config import parse_campaign
from redrush.control.control_access import load_address, load_token
from redrush.control.data_dir import DataDir
from redrush.control.orders import ListSwitches, SetSwitch
from redrush.errors import ConfigError
from redrush.http.ask import ControlAddress, ControlUnreachable, ask
from redrush.http.control_port import GUESTS_MAX
from redrush.operate.switching import operate
from redrush.wiring.control_tls import Shown
from redrush.wiring.embedded import Embedded, Ports
from tests.http.test_control_port import TEXT
from tests.integration.tls import HOST, Authority


@asynccontextmanager
async def _embedded(directory: Path, files: Sequence[Path]) -> AsyncIterator[tuple[DataDir, int]]:
    ports = Ports(HOST, 0, 0, control_shown=Shown(*files))
    embedded = Embedded(parse_campaign(TEXT, "c.toml"), DataDir(directory), ports)
    found = await embedded.start()
    try:
        yield DataDir(directory), found["control"]
    finally:
        await embedded.stop()


async def test_an_operators_command_knows_the_server_by_its_own_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    async with _embedded(tmp_path / "d", authority.files("control.example")) as (data, _):
        # The certificate is for another name than the address: it is this very one.
        told = await asyncio.to_thread(operate, data, ListSwitches())
        assert (told["live"], told["version"]) == (True, 0)
        changed = await asyncio.to_thread(operate, data, SetSwitch("answer_ended", value=True, why="w"))
        assert changed["version"] == 1


async def test_who_shows_another_certificate_is_told_no_token(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    async with _embedded(tmp_path / "d", authority.files(HOST)) as (data, port):
        token, address = load_token(data), load_address(data)
        other = Authority(tmp_path / "other")
        for trusted in (str(other.ca), str(other.files(HOST)[0])):
            wrong = ControlAddress(HOST, port, trusted, pinned=address.pinned)
            with pytest.raises(ControlUnreachable, match="certificate verify failed"):
                await _asked_as_commands_do(wrong, token)
        assert await _asked_as_commands_do(ControlAddress(HOST, port, str(authority.ca)), token) == 200
        with pytest.raises(ControlUnreachable):
            await _asked_as_commands_do(ControlAddress(HOST, port), token)


async def _asked_as_commands_do(address: ControlAddress, token: str) -> int:
    """Ask from a loop of its own."""
    answered = await asyncio.to_thread(lambda: asyncio.run(ask(address, token, "GET", "/v1/switches", None, 5.0)))
    return answered.status


async def test_silence_before_the_handshake_keeps_nobody_out(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    async with _embedded(tmp_path / "d", authority.files(HOST)) as (data, _):
        token, address = load_token(data), load_address(data)
        silent = [await asyncio.open_connection(HOST, address.port) for _ in range(4 * GUESTS_MAX)]
        for _ in range(5):
            assert (await ask(address, token, "GET", "/v1/switches", None, 5.0)).status == 200
        context = ssl.create_default_context(cafile=str(authority.ca))
        for data_sent in (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", b"nonsense\r\n\r\n"):
            reader, writer = await asyncio.open_connection(HOST, address.port, ssl=context)
            writer.write(data_sent)
            status = (await reader.readline()).split()[1]
            assert status == (b"200" if b"livez" in data_sent else b"400")
            writer.transport.abort()
        for _, writer in silent:
            writer.transport.abort()


async def test_files_that_cannot_be_shown_are_told_before_anything_is_made(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    certificate, _ = authority.files(HOST)
    _, key = authority.files("other.example")
    for files in ((certificate, key), (certificate, tmp_path / "absent.key"), (tmp_path / "absent.pem", key)):
        with pytest.raises(ConfigError, match="cannot be shown by the control port"):
            async with _embedded(tmp_path / "d", files):
                pass
    assert not (tmp_path / "d").exists()
