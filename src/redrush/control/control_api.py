"""The control API as operations: what each path takes and answers, with no word about HTTP connections.

Whoever serves them checks the token first, and says whose it is. An operation gets the body's fields and returns a
status with the fields of its answer; a refusal is a status of 400 or more with one sentence. Behind it is a typed order
(`redrush.control.orders`), which `carry_out` takes as it is where no server runs.

A switch or playbook has a path of its own, so the paths are known at the start: the site that serves the metrics serves
these too, and the serving process needs no framework for a handful of operators.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from redrush.control.operators import EVENTS_OWN
from redrush.control.orders import (
    ApplyPlaybook,
    BoardOrder,
    ChangeOrder,
    Given,
    ListPlaybooks,
    ListSwitches,
    Preview,
    ReadLog,
    ReleaseSwitch,
    SetSwitch,
    UndoPlaybook,
    Value,
)
from redrush.control.switchboard import ChangedMeanwhile, Switchboard
from redrush.core.steering.switch_layers import NotInForce
from redrush.core.steering.switches import WrongSetting
from redrush.errors import RedrushError

Fields = Mapping[str, Any]
Tell = Callable[[str, Mapping[str, float]], int]
Run = Callable[[Fields, str], Awaitable[tuple[int, dict[str, Any]]]]
"""Gets the fields, and who asks: the holder of the token."""

LOG_ENTRIES_MAX: Final = 1_000
"""Entries of the audit log in one answer, the newest; the file has them all."""


WATCH_MAX_S: Final = 15.0
"""How long a watch waits for a change; then it is answered with what is known already, so that nothing waits for a
client that is gone."""


class Operation(msgspec.Struct, frozen=True):
    """One path with its one method."""

    method: str
    path: str
    run: Run
    waits: bool = False
    """Whether it may take long because it waits for a change."""


class _Doing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of an order."""

    why: str = ""
    who: str = ""
    by: str = ""
    """For whom the event's own token signs: the console has checked who that is."""
    expects: int | None = None


class _Setting(_Doing, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That of a PUT. `value` null releases what was set by hand."""

    value: Value | None


class _Watching(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int


class _Telling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    readings: dict[str, float]


def refusal_to_sign(by: str, who: str) -> str | None:
    """Return why the holder of a token may not give an order in the name of `by`; None: it may, or names nobody."""
    if not by or who == EVENTS_OWN:
        return None
    return f'only the event\'s own token gives orders for somebody else, "{who}" is not it'


class ControlApi:
    """The operations on one switchboard."""

    def __init__(
        self,
        board: Switchboard,
        entries: Callable[[int], list[Any]],
        tell: Tell | None = None,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        """`entries` takes a count and returns at most that many of the newest entries of the audit log, oldest
        first; it may block. `tell` takes the readings that other processes tell of themselves; they hear `now_us` in
        return, to compare clocks.
        """
        self._board = board
        self._entries = entries
        self._tell = tell
        self._now_us = now_us

    def operations(self) -> Iterator[Operation]:
        """Yield every operation."""
        yield Operation("GET", "/v1/switches", partial(self._ask, ListSwitches()))
        yield Operation("GET", "/v1/switches/log", partial(self._ask, ReadLog()))
        yield Operation("POST", "/v1/switches/watch", self._watch, waits=True)
        yield Operation("GET", "/v1/playbooks", partial(self._ask, ListPlaybooks()))
        if self._tell is not None:
            yield Operation("POST", "/v1/readings", partial(self._take_readings, self._tell))
        for name in self._board.registry:
            yield Operation("PUT", f"/v1/switches/{name}", partial(self._set, name, previewed=False))
            yield Operation("POST", f"/v1/switches/{name}/preview", partial(self._set, name, previewed=True))
        for row in self._board.describe_playbooks():
            for verb, order in (("apply", ApplyPlaybook), ("undo", UndoPlaybook)):
                path, play = f"/v1/playbooks/{row['name']}/{verb}", partial(self._play, order, row["name"])
                yield Operation("POST", path, partial(play, previewed=False))
                yield Operation("POST", f"{path}/preview", partial(play, previewed=True))

    async def carry_out(self, order: BoardOrder, given: Given) -> dict[str, Any]:
        """Do what is ordered, and return the fields of the answer.

        Raises WrongSetting for a wrong name or value, NotInForce for what is not to be undone, ChangedMeanwhile where
        the order expects another version, SwitchLogFailed or TooManyChanges if it cannot be written down now,
        ConfigError for a log that cannot be read.
        """
        board = self._board
        match order:
            case ListSwitches():
                return {"version": board.snapshot.version, "switches": board.describe_switches()}
            case ListPlaybooks():
                rules = [msgspec.to_builtins(rule) for rule in board.plans.rules]
                listed = board.describe_playbooks()
                return {"version": board.snapshot.version, "playbooks": listed, "rules": rules}
            case ReadLog():
                return {"entries": msgspec.to_builtins(await asyncio.to_thread(self._entries, LOG_ENTRIES_MAX))}
            case Preview(previewed):
                effect, version = board.preview(previewed, given.who), board.snapshot.version
            case _:
                effect = await board.change(order, given)
                version = effect.layers.version
        return {
            "version": version,
            "changes": msgspec.to_builtins(effect.changes),
            "kept": msgspec.to_builtins(effect.kept),
        }

    async def _ask(self, order: BoardOrder, _fields: Fields, who: str) -> tuple[int, dict[str, Any]]:
        return await self._do(order, Given(who))

    async def _watch(self, fields: Fields, _who: str) -> tuple[int, dict[str, Any]]:
        """Answer as soon as there is another version than the one that is known: for gates, which follow."""
        try:
            known = msgspec.convert(fields, _Watching)
        except msgspec.ValidationError as fault:
            return 400, {"detail": f'send {{"version": the newest one you know}}: {fault}'}
        try:
            async with asyncio.timeout(WATCH_MAX_S):
                return 200, msgspec.to_builtins(await self._board.newer_than(known.version))
        except TimeoutError:
            return 200, msgspec.to_builtins(self._board.snapshot)

    async def _take_readings(self, tell: Tell, fields: Fields, _who: str) -> tuple[int, dict[str, Any]]:
        """Take what a process says of itself, for the automatic rules; answer how many there are of its kind."""
        try:
            telling = msgspec.convert(fields, _Telling)
        except msgspec.ValidationError as fault:
            return 400, {"detail": f'send {{"source": "…", "readings": {{name: value, …}}}}: {fault}'}
        alike = tell(telling.source, telling.readings)
        return 200, {"alike": alike} if self._now_us is None else {"alike": alike, "now_us": self._now_us()}

    async def _set(self, name: str, fields: Fields, who: str, *, previewed: bool) -> tuple[int, dict[str, Any]]:
        try:
            body = msgspec.convert(fields, _Setting)
        except msgspec.ValidationError as fault:
            return 400, {"detail": f'send {{"value": …, "why": "…"}}, null to release: {fault}'}
        released = ReleaseSwitch(name, body.why)
        order = released if body.value is None else SetSwitch(name, body.value, body.why)
        return await self._signed(order, body, who, previewed=previewed)

    async def _play(
        self, order: type[ApplyPlaybook | UndoPlaybook], playbook: str, fields: Fields, who: str, *, previewed: bool
    ) -> tuple[int, dict[str, Any]]:
        try:
            body = msgspec.convert(fields, _Doing)
        except msgspec.ValidationError as fault:
            return 400, {"detail": f'send {{"why": "…"}} or nothing: {fault}'}
        return await self._signed(order(playbook, body.why), body, who, previewed=previewed)

    async def _signed(
        self, order: ChangeOrder, body: _Doing, who: str, *, previewed: bool
    ) -> tuple[int, dict[str, Any]]:
        if (why_not := refusal_to_sign(body.by, who)) is not None:
            return 403, {"detail": why_not}
        given = Given(body.by or who, body.who, body.expects)
        return await self._do(Preview(order) if previewed else order, given)

    async def _do(self, order: BoardOrder, given: Given) -> tuple[int, dict[str, Any]]:
        try:
            return 200, await self.carry_out(order, given)
        except WrongSetting as refusal:
            return 400, {"detail": str(refusal)}
        except (NotInForce, ChangedMeanwhile) as refusal:
            return 409, {"detail": str(refusal)}
        except RedrushError as fault:  # the log cannot be written, or read
            return 503, {"detail": str(fault)}
