"""The sets' part of the control API: how each set is, and what only an operator may decide about one.

Every order is in the audit log before it is carried out, so also one that then fails, or whose outcome nobody learns:
`GET /v1/sets` tells what it did.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from redrush.control.comparing import HeardOf
from redrush.control.control_api import Fields, Operation, refusal_to_sign
from redrush.control.overview import Lack
from redrush.control.switch_log import SwitchLogFailed
from redrush.control.switchboard import Switchboard, TooManyChanges
from redrush.control.warden import Warden
from redrush.core.rush.instants import rfc3339
from redrush.core.sets.address import Address
from redrush.core.steering.switch_layers import SetOrdered
from redrush.errors import RedrushError
from redrush.ports.set_servers import SetServers
from redrush.ports.store import Known

Answer = tuple[int, dict[str, Any]]


class Watched(msgspec.Struct, frozen=True):
    """A set and its warden."""

    servers: SetServers
    warden: Warden
    heard: HeardOf


class _Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    why: str
    who: str = ""
    by: str = ""
    """For whom the event's own token signs, as with switches."""


class _OrderAt(_Order, frozen=True, kw_only=True, forbid_unknown_fields=True):
    address: str


class _Knowing(msgspec.Struct, frozen=True):
    who: str
    known: dict[str, Known]
    leaving: bool = False


class SetsApi:
    """The operations on the sets that this control role watches over; on none where a cluster promotes by itself."""

    def __init__(self, board: Switchboard, sets: Sequence[Watched], lack: Callable[[str], Lack | None]) -> None:
        """`lack` says why a set cannot grant, None if it can."""
        self._lack = lack
        self._board = board
        self._sets: Mapping[str, Watched] = {watched.servers.id: watched for watched in sets}

    def operations(self) -> Iterator[Operation]:
        """Yield every operation."""
        yield Operation("GET", "/v1/sets", self._list)
        yield Operation("POST", "/v1/sets/known", self._known)
        for set_id, watched in self._sets.items():
            yield Operation("POST", f"/v1/sets/{set_id}/lower", partial(self._of_set, watched, "lower", self._lower))
            heard = partial(self._of_set, watched, "heard", self._heard_out)
            yield Operation("POST", f"/v1/sets/{set_id}/heard", heard)
            released = partial(self._of_set, watched, "release", self._released)
            yield Operation("POST", f"/v1/sets/{set_id}/release", released)
            yield Operation("POST", f"/v1/sets/{set_id}/promote", partial(self._at, watched, "promote", self._promote))
            yield Operation("POST", f"/v1/sets/{set_id}/rebuild", partial(self._at, watched, "rebuild", self._rebuild))

    async def _list(self, _fields: Fields, _who: str) -> Answer:
        return 200, {"sets": [self._described(watched) for watched in self._sets.values()]}

    async def _known(self, fields: Fields, _who: str) -> Answer:
        """A gate says how far each set's log was when it was last told something durable."""
        try:
            telling = msgspec.convert(fields, _Knowing)
        except msgspec.ValidationError as fault:
            return 400, {"detail": f'send {{"who": "…", "known": {{set: …}}}}: {fault}'}
        for set_id, watched in self._sets.items():
            watched.heard.tell(telling.who, telling.known.get(set_id), leaving=telling.leaving)
        return 200, {}

    def _described(self, watched: Watched) -> dict[str, Any]:
        state = watched.warden.state
        fields: dict[str, Any] = msgspec.to_builtins(state)
        del fields["since_us"]
        lack = self._lack(watched.servers.id)
        absence = (None, None) if lack is None else (lack.reason, lack.why)
        return {**fields, "since": rfc3339(state.since_us), "reason": absence[0], "cannot_grant": absence[1]}

    async def _of_set(
        self, watched: Watched, name: str, act: Callable[[Watched], Awaitable[dict[str, Any]]], fields: Fields, who: str
    ) -> Answer:
        """Carry out an order that is about the set as a whole."""
        try:
            order = msgspec.convert(fields, _Order)
        except msgspec.ValidationError as fault:
            return 400, {"detail": f'send {{"why": "…"}}: {fault}'}
        ordered = SetOrdered(watched.servers.id, name)
        return await self._carried_out(ordered, order, who, partial(act, watched))

    async def _at(
        self,
        watched: Watched,
        name: str,
        act: Callable[[Watched, str], Awaitable[dict[str, Any]]],
        fields: Fields,
        who: str,
    ) -> Answer:
        """Carry out an order that is about one server of the set."""
        try:
            order = msgspec.convert(fields, _OrderAt)
        except msgspec.ValidationError as fault:
            return 400, {"detail": f'send {{"address": "…", "why": "…"}}: {fault}'}
        known = list(map(str, watched.servers.addresses))
        if order.address not in known:
            set_id = watched.servers.id
            return 400, {"detail": f"{order.address} is no server of set {set_id}, which has {', '.join(known)}"}
        ordered = SetOrdered(watched.servers.id, name, order.address)
        return await self._carried_out(ordered, order, who, partial(act, watched, order.address))

    async def _lower(self, watched: Watched) -> dict[str, Any]:
        """`parts` are those of all campaigns on the servers: it is done for each."""
        await watched.warden.lower()
        return {"parts": watched.warden.parts}

    async def _heard_out(self, watched: Watched) -> dict[str, Any]:
        """Whoever may have been granted what the set lacks was heard."""
        await watched.warden.heard_out()
        return {}

    async def _released(self, watched: Watched) -> dict[str, Any]:
        """Nobody is waited for any more who may have been granted what the set lacks."""
        await watched.warden.heard_out(write_off=True)
        return {}

    async def _promote(self, watched: Watched, address: str) -> dict[str, Any]:
        """`unasked` are sets that did not say which slots they gave or got: those may be in two sets now.
        `parts` as of `_lower`."""
        unasked = await watched.warden.force(_address(watched, address))
        return {"unasked": unasked, "parts": watched.warden.parts}

    async def _rebuild(self, watched: Watched, address: str) -> dict[str, Any]:
        """Whoever asks enters the journal, and finishes under this epoch; no other copy is promoted meanwhile."""
        is_all_known = await watched.warden.is_all_known()  # before the records are told of the new generation
        epoch = await watched.warden.expect_rebuilt(_address(watched, address))
        known = msgspec.to_builtins(watched.warden.best_known())
        return {"epoch": epoch, "known": known, "is_all_known": is_all_known}

    async def _carried_out(
        self, ordered: SetOrdered, order: _Order, who: str, act: Callable[[], Awaitable[dict[str, Any]]]
    ) -> Answer:
        if (why_not := refusal_to_sign(order.by, who)) is not None:
            return 403, {"detail": why_not}
        try:
            await self._board.note_order(ordered, order.by or who, order.why, order.who)
        except (SwitchLogFailed, TooManyChanges) as fault:
            return 503, {"detail": str(fault)}
        try:
            return 200, await act()
        except RedrushError as fault:
            return 409, {"detail": str(fault)}


def _address(watched: Watched, text: str) -> Address:
    return next(address for address in watched.servers.addresses if str(address) == text)
