"""What commands make of everything that a stack has granted, packets between people among it, and what they leave
behind when they end in the middle."""

import csv
import io
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
import pytest

from redrush.config import load_deployment_file
from redrush.operate.deployment_reports import made_of_log
from redrush.operate.event_log import EventLog
from tests.acceptance.paying.paying_stack import PayingStack, minor, paying_stack, until
from tests.commands import COMMAND_MAX_S, REPOSITORY, Ran, redrush
from tests.gate.world import Answer
from tests.mailbox_beside import mailbox_beside, smtp

WINNERS: Final = [f"w{number}" for number in range(150)]
FRIENDS: Final = ["f0", "f1"]
TABLES: Final = '[[message]]\nby = "mail"\n[group]\n'
COLUMNS: Final = ["grant", "round", "slot", "user", "amount", "granted_at", "holds"]


class Held(msgspec.Struct):
    """A stack on which winners have won, and one has sent a packet; in minor units."""

    stack: PayingStack
    packet: str
    won: dict[str, int]
    sender: str
    grabbed: dict[str, dict[str, Any]]
    """The grants of friends, as they were told."""

    @property
    def left_minor(self) -> int:
        """What all have in their balances: the share that nobody has grabbed is still the packet's."""
        return sum(self.won.values()) - 300 + sum(minor(grant["amount"]) for grant in self.grabbed.values())

    def at(self) -> Iterator[tuple[str, Path]]:
        """Yield each way to say which stack it is."""
        yield "--data", self.stack.data
        yield "--deploy", self.stack.deployment


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    with (
        mailbox_beside() as (_, mail_port),
        paying_stack(
            tmp_path_factory.mktemp("reports"), packets=len(WINNERS), total="1500.00", payout='policy = "winner"',
            messages=TABLES, notifiers=smtp(mail_port),
        ) as (stack, _),
    ):  # fmt: skip
        won = stack.grab(WINNERS)
        assert len(won) == len(WINNERS)
        sender = max(won, key=lambda user: won[user])
        until(lambda: minor(stack.get(sender, "/v1/balance")["available"]) == won[sender])
        ticket = stack.tickets([sender])[sender]
        packet = stack.running.ask(stack.port, "POST", "/v1/packets", ticket, total="3.00", count=3).json["id"]
        grabbed = {friend: _grabbed(stack, packet, friend) for friend in FRIENDS}
        yield Held(stack, packet, won, sender, grabbed)


def _grabbed(stack: PayingStack, packet: str, friend: str) -> dict[str, Any]:
    """Return the friend's grant, once the packet is paid."""
    ticket, answers = stack.tickets([friend])[friend], list[Answer]()

    def granted() -> bool:
        answers.append(stack.running.ask(stack.running.port, "POST", f"/v1/packets/{packet}/grab", ticket))
        return answers[-1].status == 200 and answers[-1].outcome == "granted"

    until(granted, lambda: answers[-1])
    grant: dict[str, Any] = answers[-1].json["grant"]
    return grant


def _json(*arguments: object) -> dict[str, Any]:
    ran = _fine(*arguments, "--json")
    fields: dict[str, Any] = json.loads(ran.out)
    return fields


def _fine(*arguments: object) -> Ran:
    ran = redrush(*arguments)
    assert (ran.code, ran.err) == (0, ""), ran
    return ran


def test_grants_of_packets_are_exported_with_all_others(held: Held) -> None:
    for where in held.at():
        rows = [json.loads(line) for line in _fine("export", "grants", *where).out.splitlines()]
        assert {row["user"]: minor(row["amount"]) for row in rows if row["round"] == "r1"} == held.won
        assert {row["user"]: (row["grant"], row["amount"]) for row in rows if row["round"] != "r1"} == {
            friend: (grant["id"], grant["amount"]) for friend, grant in held.grabbed.items()
        }
        assert {row["round"] for row in rows} == {"r1", f"packet:{held.packet}"}
        assert len(rows) == len(WINNERS) + len(FRIENDS)
        head, *lines = csv.reader(io.StringIO(_fine("export", "grants", "--format", "csv", *where).out))
        assert head == COLUMNS, "as on one machine"
        assert len(lines) == len(rows)


def test_who_grabbed_a_packet_is_found_with_the_receipt_that_was_told(held: Held) -> None:
    for where, (friend, told) in itertools.product(held.at(), held.grabbed.items()):
        (found,) = _json("find", friend, *where)["grants"]
        assert (found["grant"], found["amount"], found["receipt"]) == (told["id"], told["amount"], told["receipt"])
        assert found["round"] == f"packet:{held.packet}"


def test_the_yearly_list_has_what_was_grabbed(held: Held) -> None:
    year = _fine("export", "grants", "--data", held.stack.data).out.partition('"granted_at":"')[2][:4]
    for where in held.at():
        head, *lines = csv.reader(io.StringIO(_fine("export", "tax", "--year", year, *where).out))
        column = head.index("from packets between people")
        assert {line[0]: line[column] for line in lines if line[column] != "0.00"} == {
            friend: grant["amount"] for friend, grant in held.grabbed.items()
        }
        assert len(lines) == len(WINNERS) + len(FRIENDS)


def test_everybody_is_owed_what_is_left_and_told_what_was_won(held: Held) -> None:
    payments = ("--payments", held.stack.payments)

    def undelivered() -> int:
        return sum(int(_json("reissue", *payments, *where)["count"]) for where in held.at())

    until(lambda: undelivered() == 0, undelivered)
    for where in held.at():
        plan = _json("payout", "make", *payments, *where)
        assert (plan["planned"], minor(plan["total"])) == (len(WINNERS) + len(FRIENDS), held.left_minor)
        assert _json("message", "retry", "--failed", *where)["again"] == 0
        assert {one["user"] for one in _json("message", "list", *where)["messages"]} == set(WINNERS)


def test_the_report_has_all_that_was_granted(held: Held, tmp_path: Path) -> None:
    """It has no way to say which stack it is but the directory."""
    report = _report(held.stack.data, tmp_path)
    (first,) = report["rounds"]
    assert first["granted"] == len(WINNERS)
    assert [one["name"] for one in report["verdicts"] if not one["holds"]] == []
    assert report["shared"]["grants"] == len(FRIENDS)


def _report(data: Path, out: Path) -> dict[str, Any]:
    ran = redrush("report", "--data", data, "--out", out, "--json")
    assert ran.code == 0, ran
    fields: dict[str, Any] = json.loads(ran.out)
    return fields


def test_who_ends_in_the_middle_of_the_log_has_let_go_of_the_database(held: Held) -> None:
    def broken_off(log: EventLog) -> None:
        next(log.grants())
        raise KeyError("in the middle")

    with pytest.raises(KeyError) as ended:
        made_of_log(load_deployment_file(held.stack.deployment), broken_off)
    with psycopg.connect((held.stack.data / "records.dsn").read_text()) as connection:
        query = "SELECT query FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND query LIKE '%journal%'"
        assert connection.execute(query).fetchall() == []
    assert ended.traceback, "which has all that was being read"


def test_a_command_that_fails_on_a_stack_that_is_down_says_so_in_one_sentence(held: Held) -> None:
    """Its servers are started for the command, and end before it does."""
    held.stack.running.down()
    assert len(_fine("export", "grants", "--data", held.stack.data).out.splitlines()) == len(WINNERS) + len(FRIENDS)
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "redrush", "export", "grants", "--data", held.stack.data],
            cwd=REPOSITORY, stdout=full, stderr=subprocess.PIPE, text=True, timeout=COMMAND_MAX_S, check=False,
        )  # fmt: skip
    assert ran.returncode == 1
    (said,) = ran.stderr.splitlines()
    assert "No space left on device" in said
