"""Processes of a stack are killed with SIGKILL while mails are under way: nobody is told twice, nobody forgotten."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from redrush.errors import RedrushError
from redrush.ports.message_book import KeptMessage
from tests.acceptance.paying.paying_stack import PayingStack, paying_stack, until
from tests.acceptance.stack.running_stack import kill
from tests.acceptance.telling.audit import nobody_was_told_twice
from tests.mailbox_beside import mailbox_beside, smtp

WINNERS_A_KILL = 12
KILLS = 10
FINALS = ("sent", "unknown")


def kept(stack: PayingStack) -> Sequence[KeptMessage]:
    """Return what the book has by now, nothing while its database is away."""
    try:
        with stack.messages() as book:
            return book.listed()
    except RedrushError:
        return ()


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("victims", [("payments",), ("payments", "postgres")], ids="+".join)
@pytest.mark.parametrize("seed", range(1, 4))
def test_nobody_is_told_twice_by_a_stack_whose_processes_are_killed_ten_times(
    tmp_path: Path, seed: int, victims: tuple[str, ...]
) -> None:
    draw, winners = random.Random(seed), KILLS * WINNERS_A_KILL
    with (
        mailbox_beside() as (box, port),
        paying_stack(
            tmp_path, packets=winners, total=f"{winners}.00", options=("--sets", 2, "--gates", 1),
            messages='[[message]]\nby = "mail"\n', notifiers=smtp(port),
        ) as (stack, _),
    ):  # fmt: skip
        for number in range(KILLS):
            hanging, before = draw.randrange(1, 4), len(box.mails)
            box.faults = ["hangs_after_the_dot"] * hanging
            assert len(stack.grab([f"u{number}-{k}" for k in range(WINNERS_A_KILL)])) == WINNERS_A_KILL
            until(lambda: len(box.mails) >= before + hanging)  # noqa: B023 - asked before the loop goes on
            time.sleep(draw.uniform(0.0, 0.1))  # somewhere in the midst of them
            name = draw.choice(victims)
            victim = stack.pid(name)
            kill(victim)
            box.faults = []
            until(lambda: stack.pid(name) not in (0, victim))  # noqa: B023 - the same
        until(lambda: Counter(str(one.state) in FINALS for one in kept(stack)) == {True: winners})
        nobody_was_told_twice(box, kept(stack), KILLS)
