"""How the switches get from the control role to the parts of another process."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Final

import msgspec

from redrush.control.control_access import load_token_if_any
from redrush.control.switch_follower import SwitchFollower
from redrush.core.nobody import ignore
from redrush.core.steering import figures
from redrush.core.steering.figure import Value
from redrush.core.steering.switches import GRANTS_PER_SECOND_MAX, REPORTING_DROPPED, SETTLEMENT_PAUSED, Snapshot
from redrush.http.ask import ControlAddress, ControlUnreachable, ask
from redrush.ports.clock import HeardTimes, TimeHeard
from redrush.ports.store import Known
from redrush.ports.switch_line import SwitchLine
from redrush.stores.valkey import ValkeyStore
from redrush.wiring.control_tls import control_role_of
from redrush.wiring.role import Parts, Surroundings
from redrush.wiring.troubles import Troubles

TELL_S: Final = 0.5
"""How often a process tells its readings: rules wait for seconds."""
TELL_AGAIN_S: Final = 1.0
"""How often a gate tells what it knows of the sets when that is nothing new: so it is known to live."""
TELL_MAX_S: Final = 0.2
"""Ultra-short: what is told is out of date at once, and a control role that is slow to hear of it has enough to do."""


class Knowing:
    """Tells the control role how far each set's log was when this process was last told something durable: if the set's
    servers lose that, they are not used."""

    def __init__(self, around: Surroundings, stores: Mapping[str, ValkeyStore]) -> None:
        self._address = control_of(around)
        self._token = load_token_if_any(around.data_dir)
        self._who = f"gate {around.control} {os.getpid()}"
        self._stores = stores

    async def run(self) -> None:
        """Tell it for ever; what the control role did not hear is told again, and what it heard now and then."""
        told: dict[str, Known] | None = None
        told_s = 0.0
        while self._token is not None:
            known, now_s = self._known(), asyncio.get_running_loop().time()
            if (known != told or now_s - told_s >= TELL_AGAIN_S) and await self._tell(self._token, known):
                told, told_s = known, now_s
            await asyncio.sleep(TELL_S)

    async def leave(self) -> None:
        """Tell it for the last time: no claim is made any more, and none is under way."""
        if self._token is not None:
            await self._tell(self._token, self._known(), leaving=True)

    def _known(self) -> dict[str, Known]:
        return {name: seen for name, store in self._stores.items() if (seen := store.acknowledged()) is not None}

    async def _tell(self, token: str, known: Mapping[str, Known], *, leaving: bool = False) -> bool:
        fields = {"who": self._who, "known": msgspec.to_builtins(known), "leaving": leaving}
        try:
            answered = await ask(self._address, token, "POST", "/v1/sets/known", fields, TELL_MAX_S)
        except ControlUnreachable:
            return False
        return answered.status == 200


class SettlementPause:
    """Whether settlement is to rest, as a recorder or a closer asks it."""

    def __init__(self) -> None:
        self._paused = False
        self._grants_per_s_max: float | None = None

    def __call__(self) -> bool:
        return self._paused

    def grants_per_s_max(self) -> float | None:
        """Return how many grants are to be recorded a second at most; None: as many as can be."""
        return self._grants_per_s_max

    def apply(self, snapshot: Snapshot) -> None:
        """Let the snapshot hold."""
        self._paused = snapshot.flag(SETTLEMENT_PAUSED)
        self._grants_per_s_max = snapshot.number(GRANTS_PER_SECOND_MAX)


def control_of(around: Surroundings) -> ControlAddress:
    """Return where the control role of the deployment is."""
    return control_role_of(around.deployment)


def switch_line(around: Surroundings, token: str, troubles: Troubles) -> SwitchLine:
    """Return the line to the control role of the deployment."""
    data_dir = around.data_dir
    # Where the event's directory is read-only nothing is remembered: a start without the control role has the defaults.
    kept = data_dir.switches_heard if os.access(data_dir.root, os.W_OK) else None
    return SwitchFollower(
        control_of(around),
        token,
        around.terms.plans.registry(around.sealed.campaign),
        kept,
        on_fault=troubles.listener("switches"),
    )


async def listen_to_switches(
    around: Surroundings, parts: Parts, troubles: Troubles, *applied: Callable[[Snapshot], None]
) -> None:
    """Apply the switches that were heard last, and every change from now on. An event without a control token has no
    switches: a warning is logged."""

    def apply(snapshot: Snapshot) -> None:
        for one in applied:
            one(snapshot)

    token = load_token_if_any(around.data_dir)
    if token is None:
        around.log.warning(
            "the event has no control token: nothing can be switched", directory=str(around.data_dir.root)
        )
        return
    heard = switch_line(around, token, troubles).snapshots()
    apply(await anext(heard))
    parts.add("switches", _follow(heard, apply))


async def _follow(heard: AsyncIterator[Snapshot], apply: Callable[[Snapshot], None]) -> None:
    async for snapshot in heard:
        apply(snapshot)


class Reporting:
    """Tells the control role the readings of this process: sent and forgotten, not sent while operators want that."""

    def __init__(self, around: Surroundings, source: str) -> None:
        self._address = control_of(around)
        self._token = load_token_if_any(around.data_dir)
        self._source = f"{source} {around.control} {os.getpid()}"
        self._dropped = False
        self._times = HeardTimes()
        self._counts = {"told": 0, "lost": 0, "dropped": 0}

    def apply(self, snapshot: Snapshot) -> None:
        """Let the snapshot hold."""
        self._dropped = snapshot.flag(REPORTING_DROPPED)

    async def run(self, readings: Callable[[], Mapping[str, float]], alike: Callable[[int], None] = ignore) -> None:
        """Tell the readings, for ever; `alike` hears each time how many processes of this kind there are.

        While the control role is away nothing is told, for it has no rules then, and nothing heard.
        """
        while self._token is not None:
            self._counts[await self._tell(self._token, readings, alike)] += 1
            await asyncio.sleep(TELL_S)

    async def _tell(self, token: str, readings: Callable[[], Mapping[str, float]], alike: Callable[[int], None]) -> str:
        if self._dropped:
            return "dropped"
        sent_ns = time.monotonic_ns()
        fields = {"source": self._source, "readings": dict(readings())}
        try:
            answered = await ask(self._address, token, "POST", "/v1/readings", fields, TELL_MAX_S)
        except ControlUnreachable:
            return "lost"  # the line of the switches reports the same
        if isinstance(now_us := answered.fields.get("now_us"), int):
            self._times.hear(now_us, sent_ns, time.monotonic_ns())
        if isinstance(count := answered.fields.get("alike"), int):  # a control role of an earlier release says nothing
            alike(count)
        return "told"

    def time_heard(self) -> TimeHeard | None:
        """Return what the clock of the control role said last; None if it was not heard for long."""
        return self._times.newest(time.monotonic_ns())

    def readings(self) -> Iterator[Value]:
        """Yield what became of the reports."""
        for fate, count in self._counts.items():
            yield figures.REPORTS(count, fate)
