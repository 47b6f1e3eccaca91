"""Starts that fail leave the event as it was; what changed since the seal is told; tickets outlive a new start."""

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from redrush.cli.main import main
from redrush.config import load_campaign_file
from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys
from redrush.control.sealing import load_campaign
from redrush.core.identity.tickets import sign_ticket
from redrush.operate.data_dir_reports import reconcile_data_dir
from redrush.wiring.embedded import Embedded, Ports
from tests.campaigns import OFF, a_round, campaign
from tests.core.identity.any_user import NAMES
from tests.gate.world import Answer, read_answer, request

FAR_S = 4_000_000_000


def event_file(total: str, packets: int) -> str:
    only = a_round("r1", total, packets, leftover="return")
    return campaign(only, id="t1", name="test", audience="users.txt", tables=OFF)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an event file and its audience; commands run in another one."""
    folder = tmp_path / "event"
    folder.mkdir()
    (folder / "event.toml").write_text(event_file(total="1.00", packets=10))
    (folder / "users.txt").write_text("alice\nbob\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return folder


Fails = Callable[..., str]


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fails:
    """Run a command that must be refused; return what it says."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["redrush", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        return capsys.readouterr().err

    return run


@asynccontextmanager
async def started(
    place: Path, data: str = "d", keys_from: DataDir | None = None
) -> AsyncIterator[tuple[Embedded, int]]:
    file = load_campaign_file(place / "event.toml")
    embedded = Embedded(file, DataDir(Path(data)), Ports("127.0.0.1", 0, 0), keys_from=keys_from)
    ports = await embedded.start()
    try:
        yield embedded, ports["gate"]
    finally:
        await embedded.stop()


def ticket(user: str, data: str = "d") -> str:
    return sign_ticket(load_keys(DataDir(Path(data))).tickets, user, FAR_S)


async def ask(port: int, method: str, path: str, ticket: str) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(method, path, ticket))
    received = b""
    while (found := read_answer(received)) is None:
        more = await reader.read(65_536)
        assert more, received
        received += more
    writer.close()
    return found[0]


async def grab(port: int, ticket: str) -> str:
    answer = await ask(port, "POST", "/v1/rounds/r1/grab", ticket)
    return str(answer.json["outcome"])


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def starts_now(place: Path) -> None:
    """The event can be started, and its "now" is this start's."""

    async def start() -> None:
        before_us = load_us()
        async with started(place):
            assert before_us <= load_campaign(DataDir(Path("d"))).rounds[0].opens_us

    def load_us() -> int:
        from redrush.wiring.clock import system_clock  # noqa: PLC0415 - asked at this moment, as the server does

        return system_clock().now_us()

    asyncio.run(start())


COMMANDS = pytest.mark.parametrize(
    "command", [("serve", "--port", "0"), ("seal",), ("stack", "up", "--port", "0")], ids=["serve", "seal", "stack"]
)


@COMMANDS
def test_a_start_with_a_bad_audience_seals_nothing(place: Path, fails: Fails, command: tuple[str, ...]) -> None:
    (place / "users.txt").write_text("alice\nb ob\n")
    told = fails(*command, place / "event.toml", "--data", "d")
    assert f'{place}/users.txt:2: "b ob" is not a user id' in told
    assert not DataDir(Path("d")).campaign.exists()
    (place / "users.txt").write_text("alice\nbob\n")
    starts_now(place)


@pytest.mark.parametrize("command", [("serve",), ("stack", "up")], ids=["serve", "stack"])
@pytest.mark.parametrize("option", ["--port", "--control-port"])
def test_a_start_on_a_busy_port_seals_nothing(place: Path, fails: Fails, command: tuple[str, ...], option: str) -> None:
    with taken_port() as port:
        ports = {"--port": 0, "--control-port": 0} | {option: port}
        given = [str(part) for pair in ports.items() for part in pair]
        told = fails(*command, place / "event.toml", "--data", "d", *given)
    assert str(port) in told
    assert "in use" in told
    assert not DataDir(Path("d")).campaign.exists()
    if command == ("serve",):
        starts_now(place)


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("stack", "up", "--port", "0")], ids=["serve", "stack"])
def test_a_start_without_its_audience_seals_nothing(place: Path, fails: Fails, command: tuple[str, ...]) -> None:
    (place / "users.txt").unlink()
    assert "users.txt: cannot be read: No such file" in fails(*command, place / "event.toml", "--data", "d")
    assert not DataDir(Path("d")).campaign.exists()


def test_a_start_with_an_audience_that_cannot_be_read_seals_nothing(place: Path, fails: Fails) -> None:
    (place / "users.txt").unlink()
    (place / "users.txt").mkdir()
    told = fails("serve", place / "event.toml", "--data", "d", "--port", "0")
    assert "users.txt: cannot be read: Is a directory" in told
    assert not DataDir(Path("d")).campaign.exists()


@COMMANDS
def test_a_start_with_bad_keys_seals_nothing(place: Path, fails: Fails, command: tuple[str, ...]) -> None:
    Path("d").mkdir()
    Path("d/keys.json").write_text("{}")
    assert "d/keys.json: is not a file of keys" in fails(*command, place / "event.toml", "--data", "d")
    assert not DataDir(Path("d")).campaign.exists()


async def test_the_audience_is_found_beside_the_file_that_names_it(place: Path) -> None:
    async with started(place) as (_, port):
        assert await grab(port, ticket("alice")) == "granted"
        assert await grab(port, ticket("carol")) == "not_eligible"


# -- what changed since


def test_a_changed_file_is_refused_with_what_differs_and_what_can_be_done(place: Path, fails: Fails) -> None:
    starts_now(place)
    text = event_file(total="2.00", packets=10).replace('lasts = "1h"', 'lasts = "90s"')
    more = '[[round]]\nid = "r2"\nopens = "now"\nlasts = "60s"\nkind = "equal"\ntotal = "1.00"\npackets = 1\n'
    (place / "event.toml").write_text(text.replace('"now"', "2027-02-06T20:00:00+08:00") + more)
    assert fails("serve", place / "event.toml", "--data", "d", "--port", "0").splitlines() == [
        'redrush: d: campaign "t1" is sealed here and the campaign file has changed since:',
        '  round "r1", opens: sealed now, in the file 2027-02-06T20:00:00+08:00',
        '  round "r1", lasts: sealed 3600 s, in the file 90 s',
        '  round "r1", total: sealed 1.00, in the file 2.00',
        '  round "r2" is in the file, and not sealed',
        "Undo that in the file, or start the changed campaign as an event of its own, in a new directory with "
        "--keys-from d: tickets that were issued stay good. What was granted here stays here.",
    ]


async def test_tickets_of_an_event_are_good_in_another_one_that_has_its_keys(place: Path, fails: Fails) -> None:
    async with started(place):
        old = ticket("alice")
    (place / "event.toml").write_text(event_file(total="2.00", packets=10))
    async with started(place, "e", keys_from=DataDir(Path("d"))) as (_, port):
        assert await grab(port, old) == "granted"
    async with started(place, "f"):
        pass
    told = fails("seal", place / "event.toml", "--data", "f", "--keys-from", "d")
    assert "f: has keys of its own, under which tickets may have been issued" in told
    assert "nowhere/keys.json: cannot be read" in fails(
        "seal", place / "event.toml", "--data", "g", "--keys-from", "nowhere"
    )
    assert not Path("g").exists()


# -- people who are added


async def test_people_are_added_to_the_audience_of_a_running_server_and_stay_added(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["redrush", "audience", *arguments])
        with contextlib.suppress(SystemExit):
            main()
        return capsys.readouterr().out

    async with started(place) as (embedded, port):
        assert await grab(port, ticket("张伟")) == "not_eligible"
        Path("late.txt").write_text("张伟\nauth0|5f7c\n张伟\n", encoding="utf-8")
        assert command("add", "--data", "d", "--users", "late.txt", "--user", "zoe", "--why", "forgot them") == (
            "3 added, 0 had been added before\n"
        )
        assert command("add", "--data", "d", "--user", "zoe", "--user", "yan") == "1 added, 1 had been added before\n"
        assert embedded.additions is not None
        embedded.additions.look()  # which is done every second
        assert [await grab(port, ticket(user)) for user in ("张伟", "auth0|5f7c", "zoe", "yan", "xi")] == [
            *("granted",) * 4,
            "not_eligible",
        ]
    listed = json.loads(command("list", "--data", "d", "--json"))["additions"]
    assert [(entry["users"], entry["why"]) for entry in listed] == [
        (["zoe", "张伟", "auth0|5f7c"], "forgot them"),
        (["yan"], ""),
    ]
    with DataDir(Path("d")).audience_additions.open("ab") as half:
        half.write(b'{"at":"2027')  # its writer was killed
    assert command("add", "--data", "d", "--user", "xi") == "1 added, 0 had been added before\n"
    async with started(place) as (_, port):
        assert await grab(port, ticket("yan")) == "granted"
        assert await grab(port, ticket("xi")) == "granted"


# -- ids of every kind, the whole way


async def test_users_of_every_kind_win_and_are_found_in_the_export_and_on_their_receipts(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["redrush", *arguments])
        with contextlib.suppress(SystemExit):
            main()
        return capsys.readouterr().out

    (place / "users.txt").write_text("\n".join(NAMES), encoding="utf-8")
    (place / "event.toml").write_text(event_file(total="1.00", packets=len(NAMES)))
    receipts = {}
    async with started(place) as (_, port):
        printed = command("ticket", "--data", "d", "--users", str(place / "users.txt"))
        tickets = dict(line.split("\t") for line in printed.splitlines())
        assert list(tickets) == NAMES
        for user in NAMES:
            for _ in range(2):
                won = await ask(port, "POST", "/v1/rounds/r1/grab", tickets[user])
                assert won.json["outcome"] == "granted"
            own = await ask(port, "GET", "/v1/grants", tickets[user])
            assert own.json["grants"] == [won.json["grant"]]
            receipts[user] = won.json["grant"]["receipt"]
    exported = [json.loads(line)["user"] for line in command("export", "grants", "--data", "d").splitlines()]
    assert exported == NAMES
    for user, receipt in receipts.items():
        assert json.loads(command("verify-receipt", receipt, "--data", "d", "--json"))["user"] == user
    report = await asyncio.to_thread(reconcile_data_dir, DataDir(Path("d")))
    assert report.ok
