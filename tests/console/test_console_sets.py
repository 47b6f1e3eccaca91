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

OLGA: Final = Actor(name="olga", role=Role.OPERATOR, address="127.0.0.1", session="x")
ANNA: Final = Actor(name="anna", role=Role.ADMIN, address="127.0.0.1", session="y")


def _states(_: Path) -> list[dict[str, Any]]:
    """Return two sets of which all copies are lost."""
    return [{"set": name, "epoch": 3, "primary": None, "replicas": []} for name in ("s1", "s2")]


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
        async with asyncio.timeout(10):
            while (await orders.listed(None))["rebuilt"]["running"]:
                await asyncio.sleep(0.01)
        await orders.confirm(OLGA, second.token, "its disks too", "s2", break_glass=True)
        assert [one["what"] for one in steering.glass()] == ["rebuild s2 a:1"]
        async with asyncio.timeout(10):
            while (await orders.listed(None))["rebuilt"]["running"]:
                await asyncio.sleep(0.01)
        assert (await orders.listed(None))["rebuilt"]["said"] == "s2 is back"
