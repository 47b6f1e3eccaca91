"""Sets that went back in time: nobody is granted what was acknowledged to another, and the named command mends it.

One stack of three sets, brought up four times, for that is what costs: an older backup put back, sets that are lost
with the list of those founded, grants that nobody honours, and a loss that nobody can tell the extent of. Beside them,
what a stack that has nothing to do takes of a core, whether it can grant or not.
"""

import shutil
from pathlib import Path
from typing import Final

from tests.acceptance.rollback.stack_event import BATCH, Wound
from tests.acceptance.stack.running_stack import RunningStack, kill, wait_for_end
from tests.commands import redrush

SETS: Final = ("s1", "s2", "s3")
BACKED_UP, LOST = ("sets/s1", "sets/s3"), "sets/s2"
UNRECORDED: Final = 3
IDLE_CPU_MAX: Final = 0.03
"""What a process of a stack that nobody asks anything may take of a core: 2 %, and what a busy machine adds to that by
cold caches. Who asks without a pause takes ten times as much."""
MEASURED_S: Final = 4.0
MEASURED_MAX: Final = 3
"""The least of so many measurements counts."""


def test_sets_that_went_back_in_time_are_withheld_and_mended_as_they_say(
    tmp_path: Path, prepared_postgres: Path
) -> None:
    wound = Wound(tmp_path, "--sets", len(SETS), "--replicas", 0, "--gates", 1)
    wound.use_database(prepared_postgres)
    (wound.backup / "sets").mkdir(parents=True)
    with wound.up() as stack:
        wound.rush(stack)
        stack.down()
    wound.keep(*BACKED_UP)
    with wound.up() as stack:
        wound.rush(stack)
        wound.recorded()
        _is_idle(stack)
        wound.run("switch", "set", "settlement.paused", "on", "--why", "the records are to lag")
        unrecorded = list(wound.rush(stack, UNRECORDED, home=(0, len(SETS))))
        stack.down()
    wound.put_back(*BACKED_UP)
    shutil.rmtree(wound.data / LOST)
    (wound.data / "founded.json").unlink()
    with wound.up() as stack:
        _what_is_known_is_mended(wound, stack, unrecorded)
        wound.recorded()  # all of it this time, but who is to know
        pids = stack.pids()
        kill(stack.process.pid)
        wait_for_end(pids)
    wound.put_back("sets/s3")
    detached = wound.up_detached()
    try:
        assert detached.code == 1, "it came up without the set"
        assert "set s3 is withheld" in detached.err
        _an_operator_has_the_last_word(wound)
    finally:
        wound.run("stack", "down")
    assert not wound.auditor.problems


def _what_is_known_is_mended(wound: Wound, stack: RunningStack, unrecorded: list[str]) -> None:
    wound.run("switch", "release", "settlement.paused", "--why", "they need lag no more")
    said = wound.lacking(stack, "s1", "was wound back", *(f"redrush set rebuild {set_id}" for set_id in SETS))
    assert not wound.reconcile()["ok"]
    _is_idle(stack)
    for set_id in SETS:
        wound.mend(said, set_id)
    wound.lacks_nothing()
    _nobody_waits_for_the_last(wound, unrecorded)
    wound.rush(stack)
    wound.ask_again(stack)
    report = wound.reconcile()
    assert report["ok"], report["problems"]
    assert len(wound.auditor.slot_of) == 3 * BATCH + UNRECORDED - 1


def _nobody_waits_for_the_last(wound: Wound, unrecorded: list[str]) -> None:
    """Of the grants that the set went on without one is honoured by nobody: an operator gives it up, and says why."""
    (problem,) = wound.reconcile()["problems"]
    assert f"set s1 went on without {UNRECORDED} grants" in problem
    assert "`redrush set release s1 --why …`" in problem
    wound.auditor.give_up(unrecorded[-1])
    assert sorted(set(wound.honour())) == ["entered", "known"]
    (problem,) = wound.reconcile()["problems"]
    assert f"{UNRECORDED - 1} of them were entered again" in problem
    release = ("set", "release", "s1", "--why", "the hotline is closed", "--data", wound.data)
    asked = redrush(*release)
    assert asked.code == 2
    assert "1 winners may still come with a receipt" in asked.err
    assert not wound.reconcile()["ok"]
    released = redrush(*release, "--yes")
    assert (released.code, released.out) == (0, "s1: 1 lost grants are written off\n"), released.err
    assert wound.reconcile()["ok"]
    assert redrush(*release, "--yes").code == 1, "nothing is left to be released"
    assert "the hotline is closed" in wound.run("switch", "log").out


def _an_operator_has_the_last_word(wound: Wound) -> None:
    """Everybody was killed in one moment, and a set came back older: who knew of the last grants is dead."""
    wound.mend(wound.withheld("s3"))
    wound.lacks_nothing()
    report = wound.reconcile()
    assert not report["ok"]
    assert len(report["problems"]) == 1
    assert "`redrush set honour --none --why …`" in report["problems"][0]
    refused = redrush("set", "honour", "--none", "--data", wound.data)
    assert refused.code == 2
    wound.run("set", "honour", "--none", "--why", "the hotline had no calls")
    report = wound.reconcile()
    assert report["ok"], report["problems"]
    assert report["grants"] == len(wound.auditor.slot_of)
    said = wound.run("switch", "log").out
    assert "the hotline had no calls" in said


def _is_idle(stack: RunningStack) -> None:
    busy: dict[str, float] = {}
    for _ in range(MEASURED_MAX):
        shares = stack.cpu_shares(MEASURED_S)
        busy = {name: share for name, share in shares.items() if share >= IDLE_CPU_MAX}
        if not busy:
            return
    raise AssertionError(f"a stack that is asked nothing takes of a core: {busy}")
