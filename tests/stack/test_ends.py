"""Where the logs of a stack's sets ended is noted when it ends: of every campaign, and of no set that is not there."""

import asyncio
from pathlib import Path

from redrush.config import load_deployment_file
from redrush.config.deployment_file import Duty
from redrush.config.hosted import part_of_set
from redrush.control.campaigns import Listing, changing_listings
from redrush.control.durable_file import write_durably
from redrush.control.warden_notes import WardenNotes
from redrush.ports.store import Known
from redrush.processes.valkey_server import Guard, ValkeyServer, find_program
from redrush.stack.options import StackOptions, StackPlan, deployment_text, plan_stack
from redrush.stack.server_users import ServerUsers
from redrush.stack.set_servers import StackSet
from redrush.stack.stack_dir import StackDir
from redrush.stack.up import note_ends
from redrush.stores.valkey.establishing import establish_set
from tests.stack.test_set_servers import quiet_pair

NAMES = ("summer", "autumn", "winter")
ENDED = "winter"
NOT_THERE = "autumn"
"""A campaign whose part of the set is lost."""


def planned(directory: Path) -> tuple[StackDir, StackPlan]:
    """Return the directory of a stack of one set, and its plan, with three more campaigns of which one has ended."""
    stack = StackDir(directory)
    stack.event.create()
    plan = plan_stack(StackOptions(sets=1, replicas=0, gates=1, port=0, control_port=0), stack, None, 0)
    write_durably(stack.deployment, deployment_text(plan, stack).encode())
    with changing_listings(stack.event) as listings:
        for name in NAMES:
            ended_at = "2027-01-01T00:00:00Z" if name == ENDED else None
            listings.append(
                Listing(id=name, name=name, rounds=(), added_at="2026-12-01T00:00:00Z", ended_at=ended_at, sets=("s1",))
            )
    return stack, plan


def end_noted(directory: Path, set_id: str) -> Known | None:
    """Return where the log of a set ended, None if nobody knows."""
    notes = WardenNotes.open_path(directory, set_id)
    try:
        return notes.ended
    finally:
        notes.close()


def test_the_end_of_each_campaigns_log_is_noted(tmp_path: Path) -> None:
    stack, plan = planned(tmp_path)

    async def run() -> None:
        users = ServerUsers.of(stack)
        access = users.access(Duty.WARDEN)
        one = StackSet(plan.sets[0], stack, "spring", find_program(), users)
        server = ValkeyServer(
            stack.server("s1", "a"), port=plan.sets[0].ports[0], guard=Guard(users.lines(), access, None)
        )
        await server.start()
        try:
            await one.begin()
            addresses = load_deployment_file(stack.deployment).set_named("s1").addresses
            for name in (NAMES[0], ENDED):
                await establish_set(addresses, name, part_of_set("s1", name), 0, access)
            await note_ends(stack, stack.deployment, [one])
        finally:
            server.kill()

    asyncio.run(run())
    ends = {name: end_noted(stack.control / "campaigns" / name, part_of_set("s1", name)) for name in NAMES}
    assert end_noted(stack.control, "s1") is not None
    assert {name for name, end in ends.items() if end is not None} == set(NAMES) - {NOT_THERE, ENDED}


def test_of_a_set_that_was_never_begun_and_of_one_that_does_not_answer_nothing_is_noted(tmp_path: Path) -> None:
    async def run() -> None:
        async with quiet_pair(tmp_path) as (sets, servers):
            await sets.note_end()
            for server in servers:
                server.kill()
            await sets.note_end()

    asyncio.run(run())
    assert end_noted(StackDir(tmp_path).control, "s1") is None
