"""Bulkheads and dependencies: nobody takes more than its share, refusals are values, and a stuck one is left alone."""

import asyncio
from typing import Any

import pytest

from redrush.core.load.breaker import Rule, State
from redrush.dependency import Bulkhead, Dependency, Share, Unanswered
from redrush.errors import RedrushError

PATIENT = Share(at_once_max=2, waiting_max=3, deadline_s=20.0)
IMPATIENT = Share(at_once_max=2, waiting_max=3, deadline_s=0.05)
RULE = Rule(failures=2, window_s=10.0, pause_s=1.0, pause_max_s=1.0, trial_max_s=5.0)


class Wallet:
    """A dependency that answers when the test lets it, or with a fault."""

    def __init__(self) -> None:
        self.asked = 0
        self.at_once = 0
        self.most_at_once = 0
        self.answers = asyncio.Event()
        self.fault: Exception | None = None

    async def pay(self) -> str:
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.answers.wait()
            if self.fault is not None:
                raise self.fault
            return "paid"
        finally:
            self.at_once -= 1


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def begun(*calls: Any) -> list[asyncio.Task[Any]]:
    """Start the calls, in order, and let each come as far as it can."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_so_many_are_served_at_once_so_many_wait_and_the_next_is_refused_at_once() -> None:
    wallet, bulkhead = Wallet(), Bulkhead("wallet", PATIENT)
    tasks = await begun(*(bulkhead.ask(wallet.pay) for _ in range(7)))
    assert (bulkhead.under_way, bulkhead.waiting, bulkhead.full) == (2, 3, True)
    assert [task.result() for task in tasks if task.done()] == [Unanswered.FULL] * 2
    wallet.answers.set()
    assert [await task for task in tasks[:5]] == ["paid"] * 5
    assert (wallet.most_at_once, wallet.asked) == (2, 5)
    assert (bulkhead.under_way, bulkhead.waiting, bulkhead.refused[Unanswered.FULL]) == (0, 0, 2)


async def test_who_is_not_answered_in_time_is_late_and_who_only_waited_found_it_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever waited has little time left, however far apart a busy machine has let them ask."""
    share = Share(at_once_max=2, waiting_max=3, deadline_s=0.5)
    monkeypatch.setattr("redrush.dependency.BEGINS_WITH_S", 0.4)
    wallet, bulkhead = Wallet(), Bulkhead("wallet", share)
    said = await asyncio.gather(*(bulkhead.ask(wallet.pay) for _ in range(5)))
    assert sorted(said) == [Unanswered.FULL] * 3 + [Unanswered.LATE] * 2
    assert (wallet.at_once, bulkhead.under_way, bulkhead.waiting) == (0, 0, 0)


async def test_a_fault_or_a_cancelled_caller_gives_the_place_back() -> None:
    wallet, bulkhead = Wallet(), Bulkhead("wallet", PATIENT)
    tasks = await begun(*(bulkhead.ask(wallet.pay) for _ in range(4)))
    for task in (tasks[0], tasks[2]):  # one under way, one that waits
        task.cancel()
    await asyncio.wait([tasks[0], tasks[2]])
    wallet.fault = TimeoutError("its own, not the bulkhead's")
    wallet.answers.set()
    for task in (tasks[1], tasks[3]):
        with pytest.raises(TimeoutError, match="its own"):
            await task
    assert (bulkhead.under_way, bulkhead.waiting, bulkhead.full) == (0, 0, False)
    wallet.fault = None
    assert await bulkhead.ask(wallet.pay) == "paid"


async def test_a_dependency_that_only_fails_is_left_alone_until_one_trial_is_answered() -> None:
    clock, wallet = Clock(), Wallet()
    dependency = Dependency("wallet", PATIENT, RULE, clock)
    wallet.answers.set()
    wallet.fault = RedrushError("no")
    for _ in range(RULE.failures):
        with pytest.raises(RedrushError, match="no"):
            await dependency.ask(wallet.pay)
    assert (await dependency.ask(wallet.pay), wallet.asked) == (Unanswered.AWAY, 2)
    clock.now_s = 1.5
    assert dependency.away_s == 1.5
    wallet.fault = None
    wallet.answers.clear()
    trial, *others = await begun(*(dependency.ask(wallet.pay) for _ in range(3)))
    assert [task.result() for task in others] == [Unanswered.AWAY] * 2
    wallet.answers.set()
    assert await trial == "paid"
    assert (await dependency.ask(wallet.pay), dependency.away_s) == ("paid", 0.0)


async def test_late_answers_count_against_a_dependency_and_a_full_one_does_not() -> None:
    clock, wallet = Clock(), Wallet()
    dependency = Dependency("wallet", IMPATIENT, RULE, clock)
    crowd = [dependency.ask(wallet.pay) for _ in range(20)]
    said = await asyncio.gather(*crowd)
    assert said.count(Unanswered.LATE) == 2
    assert (dependency.breaker.state, dependency.breaker.failures) == (State.AWAY, 2)

    other = Dependency("notifier", PATIENT, RULE, clock)
    tasks = await begun(*(other.ask(wallet.pay) for _ in range(30)))
    assert [task.result() for task in tasks if task.done()] == [Unanswered.FULL] * 25
    assert (other.breaker.state, other.breaker.failures) == (State.UP, 0)
    wallet.answers.set()
    assert [await task for task in tasks[:5]] == ["paid"] * 5
    assert dependency.refusal() is Unanswered.AWAY
    assert other.refusal() is None
