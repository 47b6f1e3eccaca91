"""Two campaigns over the same servers: one server dies, then a set loses all of its files. Each campaign is whole again
by the orders that are given for it, and asks for no more than the other does."""

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any, Final

import pytest

from tests.acceptance.rollback.stack_event import Auditor
from tests.acceptance.stack.running_stack import RunningStack, kill, stack_up
from tests.campaigns import OFF, campaign, lucky
from tests.commands import Ran, redrush
from tests.patience import PATIENCE_S

PACKETS: Final = 160
PART: Final = 40
FIRST, SECOND = "spring", "summer"


class Campaign:
    """One campaign of the stack, as its participants and its operator see it."""

    def __init__(self, name: str, data: Path, set_id: str) -> None:
        self.name = name
        self.data = data
        self.set = set_id
        """What its part of the set is called that is lost."""
        self.auditor = Auditor()
        self._users = 0

    def rush(self, stack: RunningStack) -> None:
        """Let so many new users ask until they have a decision, all of which are grants."""
        users = [f"u{self._users + number}" for number in range(PART)]
        self._users += PART
        self.auditor.told(stack.grab(self._tickets(users), f"{self.name}-rush"))
        assert len(self.auditor.slot_of) == self._users

    def ask_again(self, stack: RunningStack) -> None:
        """Let all who were granted something ask again: they are told the same."""
        self.auditor.told(stack.grab(self._tickets(list(self.auditor.slot_of)), f"{self.name}-rush"))
        assert self.auditor.problems == []

    def _tickets(self, users: list[str]) -> dict[str, str]:
        path = self.data.parent / f"{self.name}.users"
        path.write_text("".join(f"{user}\n" for user in users))
        return dict(line.split("\t") for line in self.run("ticket", "--users", path).out.splitlines())

    def run(self, *words: object) -> Ran:
        """Run a command about the campaign, which must not fail."""
        ran = redrush(*words, "--data", self.data)
        assert ran.code == 0, (words, ran.out, ran.err)
        return ran

    def sets(self) -> dict[str, dict[str, Any]]:
        """Return the state of its part of each set."""
        listed: list[dict[str, Any]] = json.loads(self.run("set", "list", "--json").out)["sets"]
        return {state["set"]: state for state in listed}

    def can_grant(self) -> None:
        """Return as soon as its part of every set can, and a grant rests on a replica again."""
        deadline_s = time.monotonic() + PATIENCE_S
        while lacking := [
            state for state in self.sets().values() if state["durability"] != "replica" or state["cannot_grant"]
        ]:
            assert time.monotonic() < deadline_s, lacking
            time.sleep(0.2)

    def order_to_rebuild(self) -> list[str]:
        """Return the command that the sentence about the withheld set names, as soon as there is one."""
        deadline_s = time.monotonic() + PATIENCE_S
        while "set rebuild" not in (why := str(self.sets()[self.set]["why"])):
            assert time.monotonic() < deadline_s, self.sets()
            time.sleep(0.2)
        (command,) = re.findall(r"`redrush (set rebuild [^`]*)`", why)
        assert f"--data {self.data}" in command, "it does not say which campaign it is for"
        return str(command).split()

    def honour(self, of: "Campaign") -> Ran:
        """Show the receipts of all who were granted something in that campaign."""
        path = self.data.parent / f"{of.name}.receipts"
        path.write_text("".join(f"{receipt}\n" for receipt in of.auditor.receipts.values()))
        return redrush("set", "honour", "--receipts", path, "--data", self.data, "--json")

    def reconcile(self) -> dict[str, Any]:
        """Return the report about the campaign."""
        report: dict[str, Any] = json.loads(redrush("reconcile", "--data", self.data, "--json").out)
        return report

    def agrees(self) -> None:
        """See that the books have every grant that was acknowledged, and no other."""
        report = self.reconcile()
        assert (report["problems"], report["grants"]) == ([], len(self.auditor.slot_of))


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_both_go_on_after_a_failover_and_after_their_set_was_lost(tmp_path: Path) -> None:
    for name in (FIRST, SECOND):
        rounds = lucky(f"{name}-rush", "200.00", PACKETS, lasts="5h")
        (tmp_path / f"{name}.toml").write_text(campaign(rounds, id=name, tables=OFF))
    data = tmp_path / "d"
    both = (Campaign(FIRST, data, "s1"), Campaign(SECOND, data / "campaigns" / SECOND, f"s1_{SECOND}"))
    up = (tmp_path / f"{FIRST}.toml", data, "--sets", 2, "--gates", 1, "--replicas", 1)
    with stack_up(*up) as stack:
        ran = redrush("campaign", "add", tmp_path / f"{SECOND}.toml", "--data", data, "--why", "one more")
        assert ran.code == 0, ran.err
        for one in both:
            one.can_grant()
            one.rush(stack)
        _a_server_dies(stack, both)
        for one in both:
            one.run("switch", "set", "settlement.paused", "on", "--why", "the records are to lag")
            one.rush(stack)
        stack.down()
    shutil.rmtree(data / "sets" / "s1")
    with stack_up(*up) as stack:
        for one in both:
            one.run("switch", "release", "settlement.paused", "--why", "they need lag no more")
        _each_is_made_again(both)
        for one in both:
            one.ask_again(stack)
            one.rush(stack)
            one.agrees()


def _a_server_dies(stack: RunningStack, both: tuple[Campaign, Campaign]) -> None:
    kill(next(p["pid"] for p in stack.processes() if (p["role"], p["set"]) == ("store", "s1")))
    for one in both:
        one.rush(stack)
        one.can_grant()
        one.ask_again(stack)
        one.agrees()


def _refused_beside_the_first(one: Campaign, order: list[str]) -> None:
    """On another server than that of the first campaign it would take from that one what was granted there since."""
    used = order[order.index("--address") + 1]
    beside = next(server["address"] for server in one.sets()[one.set]["replicas"] if server["address"] != used)
    refused = redrush(*(beside if word == used else word for word in order))
    assert refused.code == 1
    assert f"{FIRST}/s1 of another campaign is in use at {used}" in refused.err
    assert f"`redrush {' '.join(order)}`" in refused.err


def _each_is_made_again(both: tuple[Campaign, Campaign]) -> None:
    """What was acknowledged and not recorded is known of each by its number, for all ended in good order; so nobody is
    asked for more than the receipts of so many, and those of another campaign are none."""
    orders = [one.order_to_rebuild() for one in both]
    status = redrush("stack", "status", "--data", both[0].data, "--json")
    assert (status.code, set(json.loads(status.out)["withheld"])) == (1, {one.set for one in both})
    for one, order in zip(both, orders, strict=True):
        if one is not both[0]:
            _refused_beside_the_first(one, order)
        made = redrush(*order)
        assert made.code == 0, made.err
        one.can_grant()
    for one, other in (both, both[::-1]):
        (problem,) = one.reconcile()["problems"]
        assert re.match(rf"set {one.set} went on without [1-9]\d* grants that were acknowledged, 0 of them", problem)
        foreign = one.honour(other)
        assert foreign.code == 1
        assert {row["outcome"] for row in json.loads(foreign.out)["receipts"]} == {"not_ours"}
        assert one.reconcile()["problems"] == [problem]
    for one in both:
        honoured = one.honour(one)
        assert honoured.code == 0, honoured.out
        assert {row["outcome"] for row in json.loads(honoured.out)["receipts"]} == {"known", "entered"}
        one.agrees()
