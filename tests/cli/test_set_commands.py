"""`redrush set` where it cannot do what is asked: one sentence that says why. What it does: tests/acceptance/stack."""

from pathlib import Path
from typing import Any

import pytest

from redrush.errors import ConfigError, RedrushError
from redrush.operate.set_orders import what_is_lost
from redrush.processes.loopback import free_port
from tests.cli.test_commands import Run, is_one_sentence, run
from tests.cli.test_switch_commands import TEXT

__all__ = ["run"]


@pytest.fixture
def deploy(run: Run) -> str:
    """A deployment of which nothing runs."""
    Path("c.toml").write_text(TEXT, encoding="utf-8")
    assert run("seal", "c.toml", "--data", "event").code == 0
    control, server = free_port(), free_port()
    Path("deployment.toml").write_text(
        '[event]\ndata = "event"\nrecords = "host=127.0.0.1 port=1"\n'
        f'[[set]]\nid = "s1"\naddresses = ["127.0.0.1:{server}"]\n[control]\ncontrol_port = {control}\n'
    )
    return "deployment.toml"


@pytest.mark.parametrize(
    "command",
    [
        ("list",),
        ("lower", "s1", "--why", "x"),
        ("promote", "s1", "127.0.0.1:1", "--why", "x"),
        ("promote", "s1", "127.0.0.1:1", "--why", "x", "--yes"),
    ],
    ids=str,
)
def test_without_the_control_role_it_is_said_that_it_must_run(run: Run, deploy: str, command: tuple[str, ...]) -> None:
    refused = run("set", *command, "--deploy", deploy)
    assert (refused.code, refused.out) == (1, "")
    assert is_one_sentence(refused.err), refused.err
    assert "the control role, which watches over the sets, must run" in refused.err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("lower", "s9", "--why", "x"), 'there is no set "s9" in the deployment, only s1'),
        (("promote", "s9", "127.0.0.1:1", "--why", "x", "--yes"), 'there is no set "s9"'),
        (("rebuild", "s9", "--address", "127.0.0.1:1"), 'there is no set "s9"'),
        (("rebuild", "s1", "--address", "127.0.0.1:1"), "127.0.0.1:1 is no server of set s1, which has 127.0.0.1:"),
        (("honour", "--receipts", "none"), "none: cannot be read"),
    ],
    ids=str,
)
def test_wrong_use_ends_with_one_sentence(run: Run, deploy: str, command: tuple[str, ...], said: str) -> None:
    refused = run("set", *command, "--deploy", deploy)
    assert (refused.code, refused.out, said in refused.err) == (2, "", True), refused.err
    assert is_one_sentence(refused.err), refused.err


def test_an_event_must_be_named_and_have_sets(run: Run, deploy: str) -> None:
    for neither in ((), ("--data", "event", "--deploy", deploy)):
        refused = run("set", "list", *neither)
        assert (refused.code, "say which event: --data DIR of a stack" in refused.err) == (2, True)
    refused = run("set", "list", "--data", "event")
    assert (refused.code, "is not the directory of a stack, so it has no sets" in refused.err) == (2, True)


def test_who_lowers_or_promotes_says_why(run: Run, deploy: str) -> None:
    for command in (("lower", "s1"), ("promote", "s1", "127.0.0.1:1", "--yes")):
        refused = run("set", *command, "--deploy", deploy)
        assert (refused.code, "--why" in refused.err) == (2, True)


def test_a_server_that_does_not_answer_cannot_take_a_rebuilt_set(run: Run, deploy: str) -> None:
    address = Path(deploy).read_text().partition('addresses = ["')[2].partition('"')[0]
    refused = run("set", "rebuild", "s1", "--address", address, "--yes", "--deploy", deploy)
    assert (refused.code, refused.out, address in refused.err) == (1, "", True)
    assert is_one_sentence(refused.err), refused.err


def _state(**replica: Any) -> dict[str, Any]:
    found = {"address": "b:1", "answers": True, "in_step": False, "epoch": 5, **replica}
    return {"set": "s1", "primary": "a:1", "epoch": 5, "replicas": [found]}


@pytest.mark.parametrize(
    ("state", "address", "said"),
    [
        (_state(), "a:1", "a:1 is the primary of set s1: grants that wait for a replica now may be lost"),
        (
            _state(in_step=True),
            "b:1",
            "b:1 is in step with a:1, and what this grants on its own disk alone",
        ),
        (_state(), "b:1", "b:1 may lack the last grants of set s1, and those are lost then"),
        (_state(epoch=3), "b:1", "b:1 has its copy from epoch 3 and set s1 is in epoch 5: every grant since then"),
        (_state(answers=False), "b:1", "b:1 does not answer, so nobody knows which grants of set s1 it lacks"),
    ],
)
def test_who_promotes_by_force_is_told_what_may_be_lost(state: dict[str, Any], address: str, said: str) -> None:
    assert what_is_lost(state, address).startswith(said)


def test_what_cannot_be_promoted_at_all_is_refused() -> None:
    with pytest.raises(RedrushError, match="b:1 holds no copy of set s1"):
        what_is_lost(_state(epoch=0), "b:1")
    with pytest.raises(ConfigError, match="c:1 is no server of set s1, which has a:1, b:1"):
        what_is_lost(_state(), "c:1")
