"""The database of a stack hangs: packets are given out as before, whoever needs it says so, and all comes back."""

from pathlib import Path
from typing import Final

import psycopg
import pytest

from tests.acceptance.stack.running_stack import RunningStack, stack_up
from tests.campaigns import a_round, campaign
from tests.commands import redrush
from tests.stopping import stopped

CAMPAIGN: Final = campaign(
    a_round("r1", "5.00", 500),
    id="stack",
    tables="""\
[[playbook]]
name = "no-queries"
description = "the database is away: people come back for their list"
settings = { "sampling.non_core" = 0 }
[[rule]]
name = "records-away"
playbook = "no-queries"
reading = "records.away_seconds"
leaves_at = 3
returns_at = 0
after = "100ms"
hold = "100ms"
""",
)
USERS: Final = 100
NEEDING: Final = ("recorder-s1", "recorder-s2", "query")


def states(stack: RunningStack, wanted: str) -> None:
    stack.wait_until(lambda now: {now[name]["state"] for name in NEEDING} == {wanted})


def applied_by_rule(stack: RunningStack) -> bool:
    return "set by rule records-away" in redrush("switch", "list", "--data", stack.data).out


@pytest.mark.soak
def test_a_database_that_hangs_costs_nobody_a_packet_and_everything_is_recorded_when_it_is_back(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CAMPAIGN)
    with stack_up(tmp_path / "c.toml", tmp_path / "d", "--sets", 2, "--gates", 2) as stack:
        tickets = stack.tickets([f"u{number}" for number in range(USERS)])
        first, then = dict(list(tickets.items())[: USERS // 2]), dict(list(tickets.items())[USERS // 2 :])
        assert {answer["outcome"] for answer in stack.grab(first, "r1").values()} == {"granted"}
        states(stack, "ready")
        postmaster = int((stack.data / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])
        with stopped(postmaster):
            assert {answer["outcome"] for answer in stack.grab(then, "r1").values()} == {"granted"}
            states(stack, "not ready")
            stack.wait_until(lambda _: applied_by_rule(stack))
            refused = stack.get(stack.query_port, "/v1/grants", next(iter(tickets.values())))
            assert (refused.status, "retry-after" in refused.headers) == (503, True)
        states(stack, "ready")
        stack.wait_until(lambda _: not applied_by_rule(stack))
        ran = redrush("reconcile", "--data", stack.data, "--json")
        assert ran.code == 0, ran.out
        dsn = (stack.data / "records.dsn").read_text().strip()
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT count(*), count(DISTINCT slot) FROM grants").fetchone() == (USERS, USERS)
        stack.down()
