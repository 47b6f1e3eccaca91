"""A role that follows amendments: one that it could not follow is followed soon, a follower that dies is heard."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from redrush.control.data_dir import DataDir
from redrush.errors import RedrushError
from redrush.wiring import amended_role
from redrush.wiring.amended_role import AmendedRole
from tests.patience import PATIENCE_S


class Gatelike:
    """A role that goes on as an amended event, once what it needs for that is there."""

    def __init__(self, faults: list[Exception]) -> None:
        self.faults = faults
        self.followed: list[Any] = []
        self.ends = asyncio.get_running_loop().create_future()

    async def start(self, control: Any) -> dict[str, Any]:
        return {}

    async def stop(self) -> None:
        return None

    def failed(self) -> "asyncio.Future[None]":
        return self.ends

    async def amend(self, around: Any) -> bool:
        if self.faults:
            raise self.faults.pop(0)
        self.followed.append(around)
        return True


def event(data: Path, greeting: str) -> Any:
    log = SimpleNamespace(info=lambda *_said, **_more: None, error=lambda *_said, **_more: None)
    return SimpleNamespace(
        terms=greeting, sealed=SimpleNamespace(campaign=SimpleNamespace(id="c")), data_dir=DataDir(data), log=log,
        deployment=None, control=None, clock=None,
    )  # fmt: skip


async def following(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: list[Exception]) -> Any:
    before, now = event(tmp_path, "hello"), event(tmp_path, "good evening")
    before.data_dir.event.write_text("{}")
    monkeypatch.setattr(amended_role, "LOOK_S", 0.01)
    monkeypatch.setattr(amended_role, "surroundings", lambda *_where: now)
    role: Any = Gatelike(faults)
    amended = AmendedRole(before, role, lambda _around: role)
    control: Any = object()
    await amended.start(control)
    return amended


async def test_an_amendment_that_a_role_could_not_follow_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    amended = await following(tmp_path, monkeypatch, [RedrushError("a set is away"), RedrushError("still")])
    async with asyncio.timeout(PATIENCE_S):
        while amended.around.terms != "good evening":
            await asyncio.sleep(0.01)
    role: Any = amended._role
    assert [around.terms for around in role.followed] == ["good evening"]
    await amended.stop()


async def test_a_follower_that_breaks_off_ends_the_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    amended = await following(tmp_path, monkeypatch, [KeyError("r9")])
    with pytest.raises(KeyError, match="r9"):
        async with asyncio.timeout(PATIENCE_S):
            await amended.failed()
    await amended.stop()
