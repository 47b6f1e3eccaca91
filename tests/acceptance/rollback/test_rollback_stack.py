"""Sets that went back in time: nobody is granted what was acknowledged to another, and the named command mends it."""

import shutil
from pathlib import Path

from tests.acceptance.rollback.stack_event import BATCH, Wound


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
