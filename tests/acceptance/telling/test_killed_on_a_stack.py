"""The payments process of a stack is killed with SIGKILL while mails are under way: nobody is told twice, and nobody is
forgotten."""

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.paying.paying_stack import paying_stack, until
from tests.acceptance.stack.running_stack import kill
from tests.acceptance.telling.audit import nobody_was_told_twice
from tests.mailbox_beside import mailbox_beside, smtp

WINNERS_A_KILL = 12


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", range(1, 4))
def test_nobody_is_told_twice_by_a_stack_whose_payments_are_killed_ten_times(tmp_path: Path, seed: int) -> None:
    draw, kills = random.Random(seed), 10
    winners = kills * WINNERS_A_KILL
    with (
        mailbox_beside() as (box, port),
        paying_stack(
            tmp_path, packets=winners, total=f"{winners}.00", options=("--sets", 2, "--gates", 1),
            messages='[[message]]\nby = "mail"\n', notifiers=smtp(port),
        ) as (stack, _),
        stack.messages() as book,
    ):  # fmt: skip
        for number in range(kills):
            hanging, before = draw.randrange(1, 4), len(box.mails)
            box.faults = ["hangs_after_the_dot"] * hanging
            assert len(stack.grab([f"u{number}-{k}" for k in range(WINNERS_A_KILL)])) == WINNERS_A_KILL
            until(lambda: len(box.mails) >= before + hanging)  # noqa: B023 - asked before the loop goes on
            time.sleep(draw.uniform(0.0, 0.1))  # somewhere in the midst of them
            victim = stack.pid("payments")
            kill(victim)
            box.faults = []
            until(lambda: stack.pid("payments") not in (0, victim))  # noqa: B023 - the same
        finals = ("sent", "unknown")
        until(lambda: Counter(str(one.state) in finals for one in book.listed()) == {True: winners})
        nobody_was_told_twice(box, book.listed(), kills)
