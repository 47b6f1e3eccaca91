"""Orders about sets from the console, with the control role and its servers stood for: what is refused leaves nothing.

With real ones: tests/acceptance/stack/test_sets_of_a_stack.py.
"""

import asyncio
import threading
from pathlib import Path
from typing import Any, Final

import pytest

from redrush.api import sets
from redrush.api.access import Actor
from redrush.api.accounts import Role
from redrush.api.seals import Refused
from redrush.api.sets import SetAsked, SetVerb
from tests.console.console_world import without_server
from tests.patience import PATIENCE_S

OLGA: Final = Actor(name="olga", role=Role.OPERATOR, address="127.0.0.1", session="x")
ANNA: Final = Actor(name="anna", role=Role.ADMIN, address="127.0.0.1", session="y")


def _states(_: Path) -> list[dict[str, Any]]:
    """Return two sets of which all copies are lost."""
    return [{"set": name, "epoch": 3, "primary": None, "replicas": []} for name in ("s1", "s2")]


async def test_what_promoting_loses_is_said_of_the_state_that_the_order_is_bound_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    primaries = iter(("a:1", "b:1"))
    replica = {"address": "b:1", "answers": True, "epoch": 3, "in_step": True}
    monkeypatch.setattr(
        sets, "describe_sets", lambda path: [_states(path)[0] | {"primary": next(primaries), "replicas": [replica]}]
    )
    (tmp_path / "deployment.toml").touch()
    async with without_server(tmp_path) as world:
        seen = await world.desk.sets.preview(OLGA, SetAsked(verb=SetVerb.PROMOTE, set="s1", address="b:1"))
        assert seen.says == "b:1 is in step with a:1, and what this grants on its own disk alone may be lost"
        with pytest.raises(Refused, match="another primary meanwhile"):
            await world.desk.sets.confirm(OLGA, seen.token, "its disk", "s1")


async def test_a_rebuild_that_is_refused_breaks_no_glass_and_uses_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def carry_out(_path: Path, asked: SetAsked, *_: object) -> str:
        assert ended.wait(10)
        return f"{asked.set} is back"

    monkeypatch.setattr(sets, "describe_sets", _states)
    monkeypatch.setattr(sets, "_what_it_does", lambda *_: "it is made anew")
    monkeypatch.setattr(sets, "_carry_out", carry_out)
    (tmp_path / "deployment.toml").touch()
    async with without_server(tmp_path) as world:
        steering, orders = world.desk.steering, world.desk.sets
        first, second = [
            await orders.preview(OLGA, SetAsked(verb=SetVerb.REBUILD, set=name, address="a:1")) for name in ("s1", "s2")
        ]
        await orders.confirm(OLGA, first.token, "its disks are gone", "s1")
        steering.protect(ANNA, ["set.*"])
        before = [line.what for line in world.desk.diary.lines()]
        with pytest.raises(Refused, match="being made anew"):
            await orders.confirm(OLGA, second.token, "its disks too", "s2", break_glass=True)
        assert (steering.glass(), [line.what for line in world.desk.diary.lines()]) == ([], before)
        ended.set()
        async with asyncio.timeout(PATIENCE_S):
            while (await orders.listed(None))["rebuilt"]["running"]:
                await asyncio.sleep(0.01)
        await orders.confirm(OLGA, second.token, "its disks too", "s2", break_glass=True)
        assert [one["what"] for one in steering.glass()] == ["rebuild s2 a:1"]
        async with asyncio.timeout(PATIENCE_S):
            while (await orders.listed(None))["rebuilt"]["running"]:
                await asyncio.sleep(0.01)
        assert (await orders.listed(None))["rebuilt"]["said"] == "s2 is back"
