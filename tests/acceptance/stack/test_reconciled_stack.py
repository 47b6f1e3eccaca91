"""The records of a running stack are reconciled all the time: what somebody changes by SQL is told within seconds."""

import json
import time
from pathlib import Path
from typing import Final

import psycopg

from tests.acceptance.stack.running_stack import POLL_S, stack_up
from tests.campaigns import campaign, lucky
from tests.commands import redrush
from tests.patience import PATIENCE_S, OwnTime

USERS: Final = 20
TOLD_MAX_S: Final = 10.0


def test_a_row_that_somebody_changes_is_told_by_status_and_metric_while_the_stack_runs(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(campaign(lucky("r1", "200.00", 100, min="0.50"), id="stack"))
    with stack_up(tmp_path / "c.toml", tmp_path / "d", "--sets", 1, "--replicas", 0, "--gates", 1) as stack:
        decided = stack.grab(stack.tickets([f"u{k}" for k in range(USERS)]), "r1")
        assert {decision["outcome"] for decision in decided.values()} == {"granted"}
        (recorder,) = [process for process in stack.processes() if process["role"] == "recorder"]
        port = int(recorder["address"].rpartition(":")[2])

        def metric(name: str) -> float:
            lines = stack.get(port, "/metrics").body.decode().splitlines()
            return float(next(line for line in lines if line.startswith(name)).split()[-1])

        deadline_s = time.monotonic() + PATIENCE_S
        while metric("redrush_reconcile_compared_total") < USERS:
            assert time.monotonic() < deadline_s
            time.sleep(POLL_S)
        assert metric("redrush_reconcile_problems") == 0
        assert recorder["disagrees"] is None
        dsn = (stack.data / "records.dsn").read_text(encoding="utf-8")
        with psycopg.connect(dsn, autocommit=True) as outside:
            assert outside.execute("""UPDATE grants SET "user" = 'eve' WHERE "user" = 'u7'""").rowcount == 1
            outside.execute("INSERT INTO bill_postings VALUES (7, 1, 'stack', 'credit:gift', 'sponsor', 'user:eve')")
        taken = OwnTime(recorder["pid"])
        while not metric("redrush_reconcile_problems"):
            assert taken.passed_s < TOLD_MAX_S
            time.sleep(POLL_S)
        found = stack.wait_until(lambda _now: "('eve'" in str(stack.get(port, "/reconcile").json))
        assert stack.get(port, "/reconcile").status == 503
        assert any(process.get("disagrees") for process in found.values())
        assert "the records disagree" in redrush("stack", "status", "--data", stack.data).out
        report = redrush("reconcile", "--deploy", stack.data / "deployment.toml", "--json")
        assert report.code == 1
        told = json.loads(report.out)
        assert told["books"]["postings"] == 1
        named = [problem for problem in told["problems"] if "credit:gift" in problem]
        assert named, told["problems"]
        assert "the table alarms" in named[0]
