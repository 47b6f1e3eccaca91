"""The status of a stack that is only being started: there is no control role yet to ask."""

import os
from pathlib import Path

from redrush.processes.names import process_name
from redrush.stack.stack_dir import Running, StackDir, StackState, write_state
from redrush.stack.up import ROLES_LATER, status


def test_before_the_roles_are_started_the_servers_are_told(tmp_path: Path) -> None:
    stack = StackDir(tmp_path)
    ourselves = process_name(os.getpid())
    assert ourselves is not None
    server = Running(
        role="store", set="s1", pid=None, address="127.0.0.1:1", state="starting", why="x", name="s1-a", process=None
    )
    write_state(stack, StackState(ourselves, (server,)))
    row = {"role": "store", "set": "s1", "pid": None, "address": "127.0.0.1:1", "state": "starting", "why": "x"}
    assert status(stack) == {
        "processes": [{**row, "name": "s1-a", "durability": None, "reason": None}],
        "lacking": ROLES_LATER,
        "withheld": {},
    }
