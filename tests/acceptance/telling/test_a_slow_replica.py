"""A set's replica stands still while its winners are told: nobody is told twice, or forgotten, and nothing is stuck."""

import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from redrush.stack.stack_dir import StackDir
from redrush.stack.up import status
from tests.acceptance.paying.paying_stack import PayingStack, paying_stack, until
from tests.mailbox_beside import mailbox_beside, smtp

BEFORE, AMID = 12, 8
STILL_S = 4.0
"""Far more than a store waits for its replica."""


def test_winners_of_a_set_whose_replica_stood_still_are_told_once(tmp_path: Path) -> None:
    with (
        mailbox_beside() as (box, port),
        paying_stack(
            tmp_path, packets=BEFORE + AMID, total=f"{BEFORE + AMID}.00",
            options=("--sets", 1, "--replicas", 1, "--gates", 1),
            messages='[[message]]\nby = "mail"\n', notifiers=smtp(port),
        ) as (stack, _),
    ):  # fmt: skip
        early, late = [f"u{number}" for number in range(BEFORE)], [f"v{number}" for number in range(AMID)]
        assert len(stack.grab(early)) == BEFORE
        replica = _replica(stack)
        os.kill(replica, signal.SIGSTOP)
        try:
            # What is granted meanwhile is on the primary alone: neither said, nor recorded, nor told.
            with ThreadPoolExecutor(AMID) as crowd:
                first = list(crowd.map(lambda ticket: _asks(stack, ticket), stack.tickets(late).values()))
            time.sleep(STILL_S)
            told = {str(mail["To"]).partition("@")[0] for mail in box.mails}
        finally:
            os.kill(replica, signal.SIGCONT)
        assert set(first) == {503}, "a commit whose fate is unknown is not answered"
        assert told <= set(early), "nobody is told of what might be taken back"
        time.sleep(5)  # what one user may ask is counted
        until(lambda: len(stack.grab(late)) == AMID)
        with stack.messages() as book:
            until(lambda: Counter(str(one.state) for one in book.listed()) == {"sent": BEFORE + AMID}, book.listed)
        assert Counter(str(mail["To"]) for mail in box.mails) == {f"{user}@corp.example": 1 for user in (*early, *late)}


def _asks(stack: PayingStack, ticket: str) -> int:
    """Return the status of the answer to one claim."""
    return stack.running.ask(stack.running.port, "POST", "/v1/rounds/r1/grab", ticket).status


def _replica(stack: PayingStack) -> int:
    """Return the process of the set's replica."""
    found = [one for one in status(StackDir(stack.data))["processes"] if one["role"] == "replica"]
    return int(found[0]["pid"])
