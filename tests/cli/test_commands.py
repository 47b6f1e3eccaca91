"""The command line as a person meets it: exit codes, one clear sentence on stderr, and what is printed."""

import asyncio
import importlib.metadata
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrush.cli.main import SECTIONS, app, main
from redrush.config import parse_campaign
from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys, load_or_create_keys
from redrush.control.sealing import seal
from redrush.core.identity.receipts import ReceiptSigner
from redrush.core.identity.tickets import Ticket, TicketVerifier
from redrush.core.load.client_policy import ClientPolicy
from redrush.core.rush.phase import SteadyClock
from redrush.ports.store import PotTerms, claims_of
from redrush.stores.sqlite import SqliteStore
from tests.core.identity.any_user import NAMES


class Ran(msgspec.Struct, frozen=True):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `redrush` with these arguments, in a new directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["redrush", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        assert isinstance(code, int)
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run


def is_one_sentence(err: str) -> bool:
    return err.startswith("redrush: ") and err.count("\n") == 1 and "Traceback" not in err


@pytest.fixture
def campaign(run: Run, tmp_path: Path) -> Path:
    assert run("init", "c.toml").code == 0
    return tmp_path / "c.toml"


# -- init and check


def test_init_writes_a_campaign_that_check_finds_fine(run: Run) -> None:
    written = run("init", "new.toml")
    assert (written.code, written.err) == (0, "")
    assert "redrush check new.toml" in written.out, "it says what to do next"
    assert run("check", "new.toml").code == 0


def test_init_does_not_overwrite(run: Run, campaign: Path) -> None:
    campaign.write_text("mine")
    refused = run("init", campaign)
    assert (refused.code, refused.out) == (2, "")
    assert is_one_sentence(refused.err)
    assert "exists already" in refused.err
    assert campaign.read_text() == "mine"


def test_init_says_where_it_cannot_write(run: Run) -> None:
    refused = run("init", "no/such/place.toml")
    assert refused.code == 2
    assert is_one_sentence(refused.err)
    assert "no/such/place.toml: cannot be written: No such file or directory" in refused.err


OPENS_US = 1_801_915_200_000_000
"""Of the first round of the sample."""


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let it be an instant, µs since the epoch, for commands that ask."""
    return lambda now_us: monkeypatch.setattr(
        "redrush.wiring.clock.system_clock", lambda: SteadyClock(lambda: 0, now_us)
    )


@pytest.fixture
def in_november(at: Callable[[int], None]) -> None:
    """69 days and a half before the opening."""
    at(OPENS_US - 69 * 86_400_000_000 - 43_200_000_000)


@pytest.mark.usefixtures("in_november")
def test_check_says_what_would_be_handed_out(run: Run, campaign: Path) -> None:
    checked = run("check", campaign)
    assert checked.out.splitlines() == [
        f"{campaign}: fine. 21,000 packets, 58800.00 CNY",
        "  r20: opens 2027-02-06T20:00:00+08:00 (2027-02-06T12:00:00Z, in 69 days 12 h), lasts 60 s, "
        "20,000 lucky packets, 50000.00 CNY",
        "  r21: opens 2027-02-06T21:00:00+08:00 (2027-02-06T13:00:00Z, in 69 days 13 h), lasts 60 s, "
        "1,000 equal packets, 8800.00 CNY",
        "  audience: everybody with a ticket may win, one packet in each round",
        "  clients: start within 1,000 ms, ask every 1,000 ms at most, wait 8,000 ms for an answer, "
        "retry 10% of requests, come back after 10,000 ms, give up after 4 failures",
    ]
    assert (checked.code, checked.err) == (0, "")


@pytest.mark.usefixtures("in_november")
def test_check_gives_the_same_as_one_json_object(run: Run, campaign: Path) -> None:
    checked = run("check", campaign, "--json")
    found = json.loads(checked.out)
    rounds = found.pop("rounds")
    assert (found.pop("audience"), found.pop("warnings")) == (None, [])
    assert found.pop("client") == msgspec.to_builtins(ClientPolicy())
    assert found.pop("proof_of_work") is None
    assert (found.pop("group"), found.pop("lines")) == (None, {})
    assert found == {
        "ok": True,
        "campaign": "cny2027",
        "currency": "CNY",
        "packets": 21_000,
        "total": "58800.00",
        "rehearsal": False,
    }
    assert [round_["id"] for round_ in rounds] == ["r20", "r21"]
    assert rounds[0] == {
        "id": "r20",
        "kind": "lucky",
        "opens": "2027-02-06T12:00:00.000000Z",
        "opens_as_written": "2027-02-06T20:00:00+08:00",
        "opens_in_seconds": 69.5 * 86_400,
        "lasts_seconds": 60.0,
        "packets": 20_000,
        "total": "50000.00",
    }


def _warnings(out: str) -> list[str]:
    return [line.removeprefix("  warning: ") for line in out.splitlines() if line.startswith("  warning: ")]


def test_check_warns_of_rounds_that_have_begun(run: Run, campaign: Path, at: Callable[[int], None]) -> None:
    at(OPENS_US + 295 * 86_400_000_000)
    assert _warnings(run("check", campaign).out) == [
        "round r20 opened 295 days ago, 2027-02-06T20:00:00+08:00 (2027-02-06T12:00:00Z): it is over, "
        "nobody can win in it",
        "round r21 opened 294 days 23 h ago, 2027-02-06T21:00:00+08:00 (2027-02-06T13:00:00Z): it is over, "
        "nobody can win in it",
    ]
    at(OPENS_US + 59_000_000)
    assert _warnings(run("check", campaign).out)[0].endswith(": it is open")
    at(OPENS_US)
    assert _warnings(run("check", campaign).out) == []


@pytest.mark.usefixtures("in_november")
@pytest.mark.parametrize(
    ("users", "line", "warnings"),
    [
        (
            None,
            "users.txt, which is not there",
            ["users.txt: the audience is not there; without it the event"],
        ),
        ("", "0 people may win 21,000 packets, one in each round", ["users.txt: nobody is on the list, so nobody can"]),
        (
            "".join(f"u{k}\n" for k in range(1_500)),
            "1,500 people may win 21,000 packets, one in each round",
            ["round r20 has 20,000 packets, but only 1,500 people may win, one packet each: at least 18,500"],
        ),
        (
            "uid\n" + "".join(f"u{k % 25_000}\n" for k in range(25_100)),
            "25,001 people may win 21,000 packets",
            [
                "users.txt: the first line seems to be a heading",
                "users.txt: 100 of 25,101 lines have an id that",
            ],
        ),
    ],
)
def test_check_says_how_many_people_may_win_how_many_packets(
    run: Run, campaign: Path, users: str | None, line: str, warnings: list[str]
) -> None:
    text = campaign.read_text(encoding="utf-8").replace("# audience =", "audience =")
    campaign.write_text(text, encoding="utf-8")
    if users is not None:
        campaign.with_name("users.txt").write_text(users)
    checked = run("check", campaign)
    assert checked.code == 0
    assert line in checked.out
    found = [warning.replace(f"{campaign.parent}/", "") for warning in _warnings(checked.out)]
    assert [warning[: len(told)] for warning, told in zip(found, warnings, strict=True)] == warnings
    assert json.loads(run("check", campaign, "--json").out)["warnings"] == _warnings(checked.out)


EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.usefixtures("in_november")
@pytest.mark.parametrize(
    ("kind", "stock", "may"),
    [
        ("sale", "fine. 500 units for sale", "may take part"),
        ("draw", "fine. 20,103 prizes, 18488.00 CNY", "may take part"),
        ("group", "fine. 1,000 packets, 20000.00 CNY", "may win, one packet in each round"),
    ],
)
def test_check_calls_what_a_round_has_by_its_name(run: Run, kind: str, stock: str, may: str) -> None:
    lines = run("check", EXAMPLES / f"{kind}.toml").out.splitlines()
    assert lines[0].endswith(stock)
    assert f"  audience: everybody with a ticket {may}" in lines


@pytest.mark.usefixtures("in_november")
def test_check_says_of_a_sale_how_many_units_its_audience_leaves(run: Run, tmp_path: Path) -> None:
    sale = tmp_path / "sale.toml"
    text = (EXAMPLES / "sale.toml").read_text(encoding="utf-8")
    sale.write_text(text.replace("[campaign]\n", '[campaign]\naudience = "users.txt"\n'), encoding="utf-8")
    (tmp_path / "users.txt").write_text("ann\nbob\n")
    checked = run("check", sale)
    assert f"  audience: 2 people may take part ({tmp_path / 'users.txt'})" in checked.out.splitlines()
    left = "round phone has 500 units, but only 2 people may buy, up to 1 each: at least 498 are left over"
    assert left in _warnings(checked.out)


@pytest.mark.usefixtures("in_november")
def test_check_refuses_an_audience_with_lines_that_are_no_ids(run: Run, campaign: Path) -> None:
    text = campaign.read_text(encoding="utf-8").replace("# audience =", "audience =")
    campaign.write_text(text, encoding="utf-8")
    campaign.with_name("users.txt").write_text("alice\nb ob\n")
    refused = run("check", campaign)
    assert refused.code == 2
    assert 'users.txt:2: "b ob" is not a user id' in refused.err


@pytest.mark.usefixtures("in_november")
@pytest.mark.parametrize(
    ("limits", "warned"),
    [
        ("address_per_second = 5", True),
        ("connections_per_address_max = 5", True),
        ('address_per_second = "off"', False),
        ('address_per_second = 5\ntrusted_proxies = ["10.0.0.0/24"]', False),
    ],
)
def test_check_warns_of_limits_by_address_without_trusted_proxies(
    run: Run, campaign: Path, limits: str, *, warned: bool
) -> None:
    with campaign.open("a") as more:
        more.write(f"[limits]\n{limits}\n")
    told = _warnings(run("check", campaign).out)
    assert ["no trusted_proxies are named" in warning for warning in told] == [True] * warned


def test_check_warns_of_roles_that_would_want_the_same_port(run: Run) -> None:
    run("init", "d.toml", "--deployment")
    assert _warnings(run("check", "d.toml").out) == [], "the sample is fine"
    text = Path("d.toml").read_text(encoding="utf-8")
    Path("d.toml").write_text(text.replace("control_port = 9110", "control_port = 9100"), encoding="utf-8")
    told = _warnings(run("check", "d.toml").out)
    assert told[0] == (
        "gate.control_port and those of its 4 workers, 9100 to 9103, overlaps with recorder.control_port, 9101: on one "
        "machine only one of them can start"
    )
    assert len(told) == 3
    assert json.loads(run("check", "d.toml", "--json").out)["warnings"] == told


def test_check_warns_where_the_switches_would_not_be_found(run: Run) -> None:
    run("init", "d.toml", "--deployment")
    text = Path("d.toml").read_text(encoding="utf-8")
    anywhere = text.replace("[control]\n", '[control]\ncontrol_host = "0.0.0.0"\n')
    Path("d.toml").write_text(anywhere, encoding="utf-8")
    (told,) = _warnings(run("check", "d.toml").out)
    assert told.startswith("control binds 0.0.0.0, and other machines do not find it there")
    Path("d.toml").write_text(anywhere.replace("# address =", "address ="), encoding="utf-8")
    assert _warnings(run("check", "d.toml").out) == []


def test_check_names_file_line_and_key_of_a_mistake(run: Run, campaign: Path) -> None:
    text = campaign.read_text(encoding="utf-8").replace('"50000.00"', '"lots"')
    campaign.write_text(text, encoding="utf-8")
    line = text[: text.index('"lots"')].count("\n") + 1
    refused = run("check", campaign)
    assert (refused.code, refused.out) == (2, "")
    assert is_one_sentence(refused.err)
    assert f'{campaign}:{line}: round[0].total: "lots" is not an amount' in refused.err


# -- what every command has in common


def _commands(group: Any, path: str = "redrush") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")


COMMANDS = dict(_commands(app))
LISTING = {"list", "status", "log", "check", "found", "drill", "reconcile", "honour", "bench", "demo", "verify-receipt"}
"""The last words of commands that print what a program may want to read."""


def test_whatever_lists_something_does_so_as_json() -> None:
    listing = [name for name in COMMANDS if name.split()[-1] in LISTING]
    assert len(listing) >= len(LISTING), "each is there"
    assert [name for name in listing if not any("--json" in p.opts for p in COMMANDS[name].params)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(run: Run, name: str) -> None:
    long, short = run(*name.split()[1:], "--help"), run(*name.split()[1:], "-h")
    assert (long.code, long.err) == (0, "")
    assert long.out.startswith(f"Usage: redrush {' '.join(name.split()[1:])} ")
    assert COMMANDS[name].help.split()[0] in long.out
    assert short.out == long.out


def test_the_version_is_told(run: Run) -> None:
    told = run("--version")
    assert (told.code, told.out) == (0, f"redrush {importlib.metadata.version('redrush')}\n")


def test_the_shell_completes_commands() -> None:
    environment = {
        **os.environ, "_REDRUSH_COMPLETE": "bash_complete", "COMP_WORDS": "redrush switch re", "COMP_CWORD": "2"
    }  # fmt: skip
    program = Path(sys.executable).with_name("redrush")
    told = subprocess.run([program], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (told.stdout.split(), told.stderr) == (["plain,release"], "")


def test_help_comes_at_once() -> None:
    """Nothing heavy is imported before a command needs it."""
    heavy = "numpy uvloop apsw httptools asyncio structlog rich matplotlib jinja2 aiohttp psycopg hiredis"
    script = (
        "import sys; from redrush.cli.main import main; sys.argv = ['redrush', '--help']\n"
        f"try: main()\nexcept SystemExit: print([name for name in {heavy.split()} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.splitlines()[-1] == "[]"


# -- wrong usage


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["check"],
        ["check", "a.toml", "b.toml"],
        ["check", "c.toml", "--no-such-option"],
        ["serve", "c.toml"],
        ["serve", "c.toml", "--data", "d", "--port", "x"],
        ["serve", "c.toml", "--data", "d", "--port", "65536"],
        ["serve", "c.toml", "--data", "d", "--port", "-1"],
        ["ticket", "--user", "alice"],
        ["export"],
        ["export", "grants", "--data", "d", "--format", "xml"],
        ["reconcile"],
        ["verify-receipt", "--data", "d"],
    ],
)
def test_wrong_usage_ends_with_2_and_explains_itself(run: Run, campaign: Path, arguments: list[str]) -> None:
    refused = run(*arguments)
    assert refused.code == 2
    if arguments == ["export"]:  # a group alone shows what there is
        assert "Usage: " in refused.err
        return
    assert refused.err.count("\n") == 1
    assert f"`redrush {arguments[0]} " in refused.err or "`redrush --help`" in refused.err
    assert "Traceback" not in refused.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check", "missing.toml"], "missing.toml: cannot be read: No such file"),
        (["serve", "missing.toml", "--data", "d"], "missing.toml: cannot be read: No such file"),
        (["export", "grants", "--data", "nowhere"], "nowhere: holds no campaign"),
        (["reconcile", "--data", "nowhere"], "nowhere: holds no campaign"),
        (["reconcile", "--data", "nowhere", "--json"], "nowhere: holds no campaign"),
        (["verify-receipt", "x", "--data", "nowhere"], "nowhere/keys.json: cannot be read"),
        (["ticket", "--data", "d"], "nobody to issue tickets for"),
        (["ticket", "--data", "d", "--users", "missing"], "missing: cannot be read: No such file"),
        (["ticket", "--data", "d", "--user", "alice", "--ttl", "soon"], '--ttl: "soon" is not a duration'),
        (["ticket", "--data", "d", "--user", "al ice"], '--user: "al ice" is not a user id'),
        (["ticket", "--data", "c.toml/d", "--user", "alice"], "c.toml/d: holds no campaign"),
    ],
)
def test_a_wrong_configuration_ends_with_2_and_one_sentence(
    run: Run, event: Path, arguments: list[str], sentence: str
) -> None:
    refused = run(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert is_one_sentence(refused.err)
    assert sentence in refused.err


def test_every_command_is_in_one_section_of_the_help() -> None:
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(app.commands)


def test_help_names_every_command(run: Run) -> None:
    shown = run("--help")
    assert shown.code == 0
    for command in (
        "init",
        "check",
        "seal",
        "gate",
        "stack",
        "serve",
        "ticket",
        "export",
        "reconcile",
        "verify-receipt",
        "demo",
        "drill",
        "bench",
    ):
        assert command in shown.out


def test_the_command_can_be_run_by_another_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "redrush", "check", "missing.toml"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert is_one_sentence(ended.stderr)


# -- tickets


@pytest.fixture
def before_the_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day before the first round of the sample, whatever year it is."""
    monkeypatch.setattr("time.time_ns", lambda: (OPENS_US - 86_400_000_000) * 1_000)


@pytest.fixture
def event(run: Run, campaign: Path, before_the_opening: None) -> Path:
    """The directory `d` of an event whose last round, r21, closes at 2027-02-06T13:01:00Z."""
    assert run("seal", campaign, "--data", "d").code == 0
    return Path("d")


def _tickets(out: str) -> dict[str, Ticket]:
    """The tickets that were printed, by user; each must be its user's."""
    verifier = TicketVerifier(load_keys(DataDir(Path("d"))).tickets)
    tickets = {}
    for line in out.splitlines():
        user, tab, ticket = line.partition("\t")
        assert tab
        found = verifier.verify(ticket.encode())
        assert found is not None
        assert found.user == user
        tickets[user] = found
    return tickets


def _users(out: str) -> list[str]:
    return list(_tickets(out))


@pytest.mark.usefixtures("event")
def test_a_ticket_is_printed_after_its_user(run: Run) -> None:
    printed = run("ticket", "--data", "d", "--user", "alice", "--user", "bob@x")
    assert (printed.code, printed.err) == (0, "")
    assert _users(printed.out) == ["alice", "bob@x"]


@pytest.mark.usefixtures("event")
def test_tickets_of_two_runs_are_signed_with_the_same_key(run: Run) -> None:
    first = run("ticket", "--data", "d", "--user", "alice").out
    second = run("ticket", "--data", "d", "--user", "bob", "--ttl", "300d").out
    assert _users(first + second) == ["alice", "bob"]


LAST_CLOSE_S = 1_801_918_860


@pytest.mark.usefixtures("event")
def test_tickets_last_until_an_hour_after_the_last_round(run: Run) -> None:
    assert _tickets(run("ticket", "--data", "d", "--user", "alice").out)["alice"].expires_s == LAST_CLOSE_S + 3_600


@pytest.mark.usefixtures("event")
def test_tickets_that_end_before_the_last_round_are_warned_of_with_both_instants(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: (LAST_CLOSE_S - 10_800) * 10**9)
    warned = run("ticket", "--data", "d", "--user", "alice", "--ttl", "2h")
    assert warned.code == 0
    assert warned.err == (
        "redrush: warning: the tickets end at 2027-02-06T12:01:00Z, but the last round, r21, closes at "
        "2027-02-06T13:01:00Z: whoever asks in between is refused; without --ttl they last until an hour after it\n"
    )
    assert run("ticket", "--data", "d", "--user", "alice", "--ttl", "3h").err == ""
    monkeypatch.setattr("time.time_ns", lambda: (LAST_CLOSE_S + 5) * 10**9)
    late = run("ticket", "--data", "d", "--user", "alice")
    assert "is over: these tickets can win nothing any more" in late.err
    assert _tickets(late.out)["alice"].expires_s == LAST_CLOSE_S + 5 + 3_600


def test_a_directory_that_holds_no_event_gets_no_keys(run: Run) -> None:
    refused = run("ticket", "--data", "typo", "--user", "alice")
    assert (refused.code, refused.out) == (2, "")
    assert is_one_sentence(refused.err)
    assert "typo: holds no campaign; `redrush seal FILE --data typo` makes one" in refused.err
    assert not Path("typo").exists()


def test_check_says_what_a_ticket_costs(run: Run, campaign: Path) -> None:
    with campaign.open("a") as more:
        more.write("[tickets]\nproof_of_work = true\nmax_number = 5000\n")
    assert "proof of work, 2,500 hashes on average; a gate exchanges 2,000 a second" in run("check", campaign).out


@pytest.mark.usefixtures("event")
def test_a_ticket_may_be_good_without_proof_of_work(run: Run) -> None:
    printed = run("ticket", "--data", "d", "--user", "alice", "--proven")
    assert _users(printed.out) == ["alice"]
    ring = load_keys(DataDir(Path("d"))).tickets
    assert TicketVerifier(ring, plain=False).verify(printed.out.strip().split("\t")[1].encode()) is not None


def _types(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.usefixtures("event")
def test_users_come_from_a_file_or_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("users.txt").write_text("alice\n\nbob\r\n  carol  \n")
    assert _users(run("ticket", "--data", "d", "--users", "users.txt").out) == ["alice", "bob", "carol"]
    _types(monkeypatch, b"dave\n")
    assert _users(run("ticket", "--data", "d", "--user", "erin", "--users", "-").out) == ["erin", "dave"]
    _types(monkeypatch, b"dave\nd ave\n")
    refused = run("ticket", "--data", "d", "--users", "-")
    assert (refused.code, refused.out) == (2, "")
    assert 'standard input:2: "d ave" is not a user id' in refused.err


@pytest.mark.usefixtures("event")
@pytest.mark.parametrize("to_file", [False, True])
def test_users_of_every_kind_get_tickets(run: Run, *, to_file: bool) -> None:
    Path("users.txt").write_text("\n".join(NAMES), encoding="utf-8")
    printed = run("ticket", "--data", "d", "--users", "users.txt", *(["-o", "t.tsv"] if to_file else []))
    assert printed.code == 0
    assert _users(Path("t.tsv").read_text(encoding="utf-8") if to_file else printed.out) == NAMES


@pytest.mark.usefixtures("event")
@pytest.mark.parametrize("out", [[], ["-o", "t.tsv"]])
def test_a_bad_line_of_the_file_is_told_by_its_number_and_nobody_gets_a_ticket(run: Run, out: list[str]) -> None:
    Path("users.txt").write_text("alice\nb ob\n")
    refused = run("ticket", "--data", "d", "--users", "users.txt", *out)
    assert (refused.code, refused.out) == (2, "")
    assert is_one_sentence(refused.err)
    assert 'users.txt:2: "b ob" is not a user id' in refused.err
    assert not list(Path.cwd().glob("t.tsv*"))


@pytest.mark.usefixtures("event")
def test_doubts_about_a_list_are_told_and_change_nothing(run: Run) -> None:
    Path("users.txt").write_text("user_id\nalice\nbob\nalice \n\nbob\n")
    printed = run("ticket", "--data", "d", "--users", "users.txt")
    assert printed.code == 0
    assert printed.err.splitlines() == [
        "redrush: warning: users.txt: the first line seems to be a heading, and counts as a user who may win: "
        'line 1 "user_id"',
        "redrush: warning: users.txt: 2 of 5 lines have an id that stands there already; it counts once: "
        'lines 4 "alice", 6 "bob"',
    ]
    assert _users(printed.out) == ["user_id", "alice", "bob"]
    Path("users.txt").write_text("")
    assert "users.txt: nobody is on the list" in run("ticket", "--data", "d", "--users", "users.txt").err


@pytest.mark.usefixtures("event")
def test_what_a_file_holds_does_not_reach_the_terminal_raw(run: Run) -> None:
    Path("users.txt").write_text("al\x1b[31mice\nbob\u200b\n", encoding="utf-8")
    refused = run("ticket", "--data", "d", "--users", "users.txt")
    assert refused.err.splitlines() == [
        "redrush: users.txt: 2 lines are no user ids:",
        '  users.txt:1: "al\\x1b[31mice" is not a user id: it has a sign in it that cannot be seen (\\x1b)',
        '  users.txt:2: "bob\\u200b" is not a user id: it has a sign in it that cannot be seen (\\u200b)',
    ]


# -- receipts


@pytest.fixture
def receipt(run: Run, campaign: Path) -> str:
    directory = DataDir(Path("d"))
    directory.create()
    seal(parse_campaign(campaign.read_text(encoding="utf-8"), "c.toml"), directory, 0)
    run("ticket", "--data", "d", "--user", "alice")
    return ReceiptSigner(load_keys(directory).receipts, "cny2027", "r20", "CNY").sign(7, 1_234, "alice", 10**15)


def test_a_receipt_is_verified_without_a_server(run: Run, receipt: str) -> None:
    shown = run("verify-receipt", receipt, "--data", "d")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == "genuine: alice won 12.34 CNY in round r20 (grant cny2027-r20-7, 2001-09-09T01:46:40.000000Z)\n"
    assert json.loads(run("verify-receipt", f" {receipt}\n", "--data", "d", "--json").out) == {
        "ok": True,
        "grant": "cny2027-r20-7",
        "campaign": "cny2027",
        "round": "r20",
        "slot": 7,
        "user": "alice",
        "amount": "12.34",
        "currency": "CNY",
        "granted_at": "2001-09-09T01:46:40.000000Z",
    }


@pytest.mark.parametrize("changed", ["", "x", "~" * 9, "rr1~k1~c~r~1~2~CNY~u~3~00"])
def test_a_receipt_that_is_none_ends_with_1(run: Run, receipt: str, changed: str) -> None:
    for refused in (run("verify-receipt", changed, "--data", "d"), run("verify-receipt", receipt[:-1], "--data", "d")):
        assert (refused.code, refused.out) == (1, "")
        assert is_one_sentence(refused.err)
    as_json = run("verify-receipt", changed, "--data", "d", "--json")
    assert (as_json.code, json.loads(as_json.out)) == (1, {"ok": False})


# -- many machines


def test_init_writes_a_deployment_that_check_finds_fine(run: Run) -> None:
    assert run("init", "d.toml", "--deployment").code == 0
    checked = run("check", "d.toml")
    assert (checked.code, checked.err) == (0, "")
    assert checked.out.splitlines()[0] == "d.toml: fine. 2 sets, gates at 0.0.0.0:8080"
    assert "  s2: 10.0.2.11:6379, 10.0.2.12:6379; a grant is on 2 of them before it is answered" in checked.out
    found = json.loads(run("check", "d.toml", "--json").out)
    assert (found["ok"], [spec["id"] for spec in found["sets"]]) == (True, ["s1", "s2"])


@pytest.mark.usefixtures("before_the_opening")
def test_a_campaign_is_sealed_once_for_all_machines(run: Run, campaign: Path) -> None:
    sealed = run("seal", campaign, "--data", "d")
    assert (sealed.code, sealed.err) == (0, "")
    before = {path.name: path.read_bytes() for path in Path("d").iterdir()}
    unsealed = {"event.json", "written.json", "control-token"}
    assert set(before) == {"campaign.json", "amounts.i64", "keys.json"} | unsealed
    assert run("seal", campaign, "--data", "d").code == 0
    assert {path.name: path.read_bytes() for path in Path("d").iterdir()} == before


@pytest.mark.parametrize("role", ["gate", "settle", "control", "query", "recorder"])
def test_a_role_without_a_sealed_campaign_ends_with_2_and_one_sentence(run: Run, role: str) -> None:
    run("init", "d.toml", "--deployment")
    refused = run(role, "--deploy", "d.toml", *(["--set", "s1"] if role == "recorder" else []))
    assert (refused.code, refused.out) == (2, "")
    assert is_one_sentence(refused.err)
    assert "event: holds no campaign" in refused.err


def test_a_help_desk_finds_what_a_user_won(run: Run, campaign: Path) -> None:
    text = campaign.read_text(encoding="utf-8")
    campaign.write_text(re.sub(r"opens = 20\S+", 'opens = "now"', text), encoding="utf-8")
    directory = DataDir(Path("event"))
    directory.create()
    sealed = seal(parse_campaign(campaign.read_text(encoding="utf-8"), "c.toml"), directory, 1_800_000_000_000_000)
    load_or_create_keys(directory)

    async def hold() -> None:
        store = await SqliteStore.open_path(directory.journal)
        for round_ in sealed.campaign.rounds:
            await store.open([PotTerms(round_.id, round_.slots)])
        await store.claim(claims_of("r21", ["alice"]), 1_800_000_000_000_000)
        await store.close()

    asyncio.run(hold())
    found = run("find", "alice", "--data", "event")
    assert (found.code, found.err) == (0, "")
    assert found.out.startswith("alice won 8.80 CNY in round r21 at 2027-01-15T08:00:00.000000Z\n")
    receipt = found.out.split()[-1]
    assert run("verify-receipt", receipt, "--data", "event").code == 0
    nothing = run("find", "Alice", "--data", "event", "--json")
    assert (nothing.code, json.loads(nothing.out)["similar"]) == (1, ["alice"])
    raw = "al\x1b[31mice\u202e\x9b"
    steering = run("find", raw, "--data", "event")
    assert (steering.code, steering.out.splitlines()[0]) == (
        1, r"al\x1b[31mice\u202e\x9b has none of the 1 grants that were made",
    )  # fmt: skip
    asked = run("find", raw, "--data", "event", "--json")
    assert json.loads(asked.out)["user"] == raw
    assert asked.out.replace("\n", "").isprintable()


def test_of_a_campaign_that_was_never_served_that_is_told_and_of_a_journal_that_is_gone_what_helps(
    run: Run, campaign: Path, tmp_path: Path
) -> None:
    assert run("seal", campaign, "--data", "d").code == 0
    asked = (("export", "grants"), ("export", "tax", "--year", "2026"), ("find", "ann"), ("reconcile",), ("report",))
    for command in asked:
        refused = run(*command, "--data", "d")
        assert (refused.code, is_one_sentence(refused.err)) == (2, True), refused
        assert refused.err.startswith("redrush: d: the campaign is sealed, but was never served from here"), refused
    (tmp_path / "d" / "records.db").touch()  # a server has been here
    for command in asked:
        refused = run(*command, "--data", "d")
        assert (refused.code, is_one_sentence(refused.err)) == (1, True), refused
        assert "journal.db is missing; `redrush set rebuild --data d --why …` makes it anew" in refused.err, refused


def test_reconcile_and_export_are_told_of_one_place(run: Run) -> None:
    for command in (["reconcile"], ["export", "grants"]):
        refused = run(*command, "--data", "d", "--deploy", "d.toml")
        assert refused.code == 2
        assert "--data DIR, or --deploy FILE" in refused.err
