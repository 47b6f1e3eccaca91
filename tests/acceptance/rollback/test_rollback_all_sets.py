"""The files of all sets are put back at once, with moves of slots between the sets in what was lost.

Each set is mended by the command that is named for it, although no other set can say at first which slots they
exchanged; then every grant that somebody was told of is there, at its slot, and nobody is told another one.
"""

import json
import os
import re
import signal
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.rollback.stack_event import BATCH, PACKETS, Wound
from tests.acceptance.stack.running_stack import RunningStack, kill, wait_for_end
from tests.commands import redrush

MORE_THAN_A_SHARE = 30
"""Users of one set beyond its share of the slots: theirs come from other sets."""


def _back_and_mended(
    directory: Path, database: Path, sets: int, replicas: int, *, recorded: bool, gates: int = 2
) -> None:
    wound = Wound(directory, "--sets", sets, "--replicas", replicas, "--gates", gates)
    wound.use_database(database)
    wound.backup.mkdir()
    with wound.up() as stack:
        wound.rush(stack)
        stack.down()
    wound.keep("sets")
    with wound.up() as stack:
        if not recorded:
            wound.run("switch", "set", "settlement.paused", "on", "--why", "the records are to lag")
        wound.rush(stack, PACKETS // sets + MORE_THAN_A_SHARE, home=(0, sets))
        if recorded:
            stack.down()
        else:
            pids = stack.pids()
            kill(stack.process.pid)
            wait_for_end(pids)
    wound.put_back("sets")
    with wound.up() as stack:
        _mended(wound, stack, sets, recorded=recorded)
        stack.down()
    assert not wound.auditor.problems


def _mended(wound: Wound, stack: RunningStack, sets: int, *, recorded: bool) -> None:
    told = len(wound.auditor.slot_of)
    assert told == BATCH + PACKETS // sets + MORE_THAN_A_SHARE
    if not recorded:
        wound.run("switch", "release", "settlement.paused", "--why", "they need lag no more")
    exported = redrush("export", "grants", "--data", wound.data)
    assert exported.code == 1
    assert "redrush set " in exported.err
    rows = {row["user"]: row["slot"] for row in map(json.loads, exported.out.splitlines())}
    assert rows.items() <= wound.auditor.slot_of.items()
    assert len(rows) == told if recorded else BATCH <= len(rows) < told
    _refused_while_a_server_hangs(wound)
    for number in range(1, sets + 1):
        said = wound.withheld(f"s{number}")
        assert not wound.reconcile()["ok"]
        wound.mend(said)
    outcomes = wound.honour()
    assert set(outcomes) <= {"entered", "known"}
    assert outcomes.count("entered") == told - len(rows)
    wound.rush(stack)
    wound.ask_again(stack)
    report = wound.reconcile()
    assert report["ok"], report["problems"]
    assert report["grants"] == told + BATCH


def _refused_while_a_server_hangs(wound: Wound) -> None:
    """It might know of moves. An order that is refused has changed nothing."""
    said = wound.withheld("s1")
    if "set rebuild" not in said:
        return  # a promotion says whom it could not ask, and is done
    before = _generations(wound)
    status = redrush("stack", "status", "--data", wound.data, "--json")
    assert status.code == 1, "it is no success while a set is withheld"
    assert said in status.err
    assert f"--data {wound.data}" in said
    (pid,) = {found["pid"] for found in json.loads(status.out)["processes"] if found["name"] == "s2-a"}
    os.kill(pid, signal.SIGSTOP)
    try:
        address = re.findall(r"--address (\S+)", said)[0]
        refused = redrush("set", "rebuild", "s1", "--address", address, "--yes", "--data", wound.data)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert refused.code == 1
    assert "s2 must answer" in refused.err
    assert _generations(wound) == before


def _generations(wound: Wound) -> tuple[object, ...]:
    with psycopg.connect((wound.data / "records.dsn").read_text()) as database:
        in_records = database.execute("SELECT log, generation FROM cursors ORDER BY log").fetchall()
    return in_records, *((wound.data / "control" / f"warden-s{number}.json").read_text() for number in (1, 2))


def test_two_sets_that_went_back_at_once_are_mended_one_after_the_other(
    tmp_path: Path, prepared_postgres: Path
) -> None:
    _back_and_mended(tmp_path, prepared_postgres, 2, 0, recorded=True, gates=1)


@pytest.mark.soak
@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("replicas", [0, 1])
@pytest.mark.parametrize("sets", [2, 3])
def test_all_sets_went_back_at_once(
    sets: int, replicas: int, recorded: bool, tmp_path: Path, prepared_postgres: Path
) -> None:
    _back_and_mended(tmp_path, prepared_postgres, sets, replicas, recorded=recorded)
