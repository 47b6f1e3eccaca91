"""Sets that went back in time: nobody is granted what was acknowledged to another, and the named command mends it."""

import shutil
from pathlib import Path

from tests.acceptance.rollback.stack_event import BATCH, Wound
from tests.acceptance.stack.running_stack import kill, redrush, wait_for_end


def test_an_older_backup_of_the_sets_is_not_granted_from(tmp_path: Path, prepared_postgres: Path) -> None:
    wound = Wound(tmp_path, "--sets", 1, "--replicas", 1, "--gates", 1)
    wound.use_database(prepared_postgres)
    wound.backup.mkdir()
    with wound.up() as stack:
        wound.rush(stack)
        stack.down()
    wound.keep("sets")
    with wound.up() as stack:
        wound.rush(stack)
        stack.down()
    wound.put_back("sets")
    with wound.up() as stack:
        said = wound.lacking(stack, "s1", "was wound back", "redrush set rebuild s1")
        assert not wound.reconcile()["ok"]
        wound.mend(said)
        wound.rush(stack)
        wound.ask_again(stack)
        assert wound.reconcile()["ok"]
        stack.down()
    assert not wound.auditor.problems
    assert len(wound.auditor.slot_of) == 3 * BATCH


def test_sets_that_are_lost_with_the_list_of_those_founded_are_not_founded_again(
    tmp_path: Path, prepared_postgres: Path
) -> None:
    wound = Wound(tmp_path, "--sets", 1, "--replicas", 0, "--gates", 1)
    wound.use_database(prepared_postgres)
    with wound.up() as stack:
        wound.rush(stack)
        stack.down()
    shutil.rmtree(wound.data / "sets")
    (wound.data / "founded.json").unlink()
    with wound.up() as stack:
        said = wound.lacking(stack, "s1", "redrush set rebuild s1")
        wound.mend(said)
        wound.rush(stack)
        wound.ask_again(stack)
        assert wound.reconcile()["ok"]
        stack.down()
    assert not wound.auditor.problems


def test_a_loss_that_nobody_can_tell_the_extent_of_is_never_reconciled_silently(
    tmp_path: Path, prepared_postgres: Path
) -> None:
    """Everybody is killed in one moment, and the sets come back older: who knew of the last grants is dead."""
    wound = Wound(tmp_path, "--sets", 1, "--replicas", 0, "--gates", 1)
    wound.use_database(prepared_postgres)
    wound.backup.mkdir()
    with wound.up() as stack:
        wound.rush(stack)
        stack.down()
    wound.keep("sets")
    with wound.up() as stack:
        wound.rush(stack)
        wound.recorded()  # all of it this time, but who is to know
        pids = stack.pids()
        kill(stack.process.pid)
        wait_for_end(pids)
    wound.put_back("sets")
    detached = wound.up_detached()
    assert detached.code == 1, "it came up without the set"
    assert "set s1 is withheld" in detached.err
    wound.run("stack", "down")
    with wound.up() as stack:
        wound.mend(wound.withheld("s1"))
        wound.ask_again(stack)
        report = wound.reconcile()
        assert not report["ok"]
        assert len(report["problems"]) == 1
        assert "`redrush set honour --none --why …`" in report["problems"][0]
        refused = redrush("set", "honour", "--none", "--data", wound.data)
        assert refused.code == 2
        wound.run("set", "honour", "--none", "--why", "the hotline had no calls")
        assert wound.reconcile()["ok"]
        said = wound.run("switch", "log").out
        assert "the hotline had no calls" in said
        stack.down()
    assert not wound.auditor.problems
