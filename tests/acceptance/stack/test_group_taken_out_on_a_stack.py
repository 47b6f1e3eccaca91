"""`[group]` is taken out of the file, and the stack started again: the packets that there are end all the same, and
what is left of them goes back, though nothing else of the campaign moves money."""

import time
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.stack.running_stack import RunningStack, stack_up
from tests.campaigns import OFF, a_round, campaign
from tests.commands import redrush
from tests.patience import PATIENCE_S

EXPIRES_S = 20
ROUND = a_round(total="1000.00", packets=10)


def until(happens: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 3 * PATIENCE_S
    while not happens():
        assert time.monotonic() < deadline_s, "it never was so"
        time.sleep(0.1)


def balance(stack: RunningStack, ticket: str) -> str:
    told: str = stack.get(stack.payments_port, "/v1/balance", ticket).json["available"]
    return told


def test_packets_that_are_left_end_at_their_deadlines_and_go_back(tmp_path: Path) -> None:
    file, data = tmp_path / "c.toml", tmp_path / "d"
    file.write_text(campaign(ROUND, tables=f'{OFF}[group]\nexpires = "{EXPIRES_S}s"\n'))
    with stack_up(file, data, "--sets", 2, "--gates", 1) as stack:
        ann, bob = stack.tickets(["ann", "bob"]).values()
        until(lambda: stack.ask(stack.port, "POST", "/v1/rounds/r1/grab", ann).json.get("outcome") == "granted")
        until(lambda: balance(stack, ann) == "100.00")
        sent = stack.ask(stack.payments_port, "POST", "/v1/packets", ann, total="40.00", count=4, kind="equal").json
        path = f"/v1/packets/{sent['id']}"
        until(lambda: stack.get(stack.payments_port, path, ann).json["state"] == "open")
        until(lambda: stack.ask(stack.port, "POST", f"{path}/grab", bob).json.get("outcome") == "granted")
        assert balance(stack, ann) == "60.00"
        stack.down()
    file.write_text(campaign(ROUND, tables=OFF))
    ran = redrush("campaign", "change", file, "--data", data, "--why", "enough", "--yes")
    assert ran.code == 0, ran.err
    with stack_up(file, data, "--sets", 2, "--gates", 1) as stack:
        assert stack.ask(stack.payments_port, "POST", "/v1/packets", ann, total="1.00", count=1).status == 404
        until(lambda: balance(stack, ann) == "90.00")
        until(lambda: balance(stack, bob) == "10.00")
        stack.down()
    ran = redrush("reconcile", "--data", data)
    assert ran.code == 0, ran.out + ran.err
