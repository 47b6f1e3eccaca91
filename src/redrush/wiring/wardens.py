"""The wardens of a control role: one for each set, with its notes, its figures, and its part of the control API."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from redrush.config.deployment_file import Duty, SetSpec
from redrush.config.hosted import part_of_set
from redrush.control.campaigns import first_beside, load_served
from redrush.control.comparing import HeardOf
from redrush.control.council import Council
from redrush.control.data_dir import DataDir
from redrush.control.mending_orders import named_by
from redrush.control.overview import Lack
from redrush.control.sets_api import SetsApi, Watched
from redrush.control.switchboard import Switchboard
from redrush.control.warden import Warden
from redrush.control.warden_notes import WardenNotes
from redrush.core.sets.address import Address
from redrush.core.sets.failover import Policy
from redrush.core.steering import figures
from redrush.core.steering.figure import Value
from redrush.ports.store import Store, StoreUnavailable, Transfers
from redrush.records.postgres import PostgresRecords
from redrush.settle.moves import read_transfers
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.set_servers import ValkeySetServers
from redrush.wiring.moves_of_away import MovesOfAway
from redrush.wiring.role import Parts, Surroundings
from redrush.wiring.set_records import open_records
from redrush.wiring.set_stores import access_of

ASKED_MAX_S: Final = 2.0
"""How long the records may take to say how far they know a set; they are asked again at the next look."""

_COUNCILS: Final[WeakValueDictionary[tuple[Address, ...], Council]] = WeakValueDictionary()
"""Of this process, by the servers of a set. A council is there for as long as one of its wardens is,
of whichever campaign: an amendment makes the wardens of one campaign anew, and the others go on."""

DURABILITIES = ("replica", "disk", "none")
"""What an acknowledged grant may rest on, as `redrush.control.set_state.SetState` says."""


async def _transfers_of_others(
    stores: Mapping[str, Store], instead: MovesOfAway, set_id: str
) -> dict[str, Transfers | None]:
    """Return the moves of each other set, None where they are not known."""
    others = {name: store for name, store in stores.items() if name != set_id}
    answered = await read_transfers(others)
    known: dict[str, Transfers | None] = {name: answered.get(name) for name in others}
    for name in others.keys() - answered.keys():
        with contextlib.suppress(StoreUnavailable):
            known[name] = await instead(name)
    return known


def _council_of(spec: SetSpec, data_dir: DataDir, campaign_id: str) -> Council:
    """Return the council of all campaigns that have a part on the servers of this set, or part of a set."""
    if (found := _COUNCILS.get(spec.addresses)) is not None:
        return found
    first = first_beside(data_dir)
    set_id = spec.id if first is data_dir else spec.id.removesuffix(part_of_set("", campaign_id))

    def parts() -> list[str]:
        served = load_served(first).values()
        return [set_id, *(part_of_set(set_id, one.id) for one in served if set_id in one.sets)]

    made = _COUNCILS[spec.addresses] = Council(parts)
    return made


class Wardens:
    """The wardens watch from `run` on, until their parts are cancelled and `close` was called."""

    def __init__(self, around: Surroundings, stores: Mapping[str, Store], told: Callable[[str], None]) -> None:
        """`stores` of all sets, by set. Raises ConfigError if another control process watches over one of the sets."""
        self._watched: list[Watched] = []
        self._notes: list[WardenNotes] = []
        self._records: list[PostgresRecords] = []
        deployment, campaign_id = around.deployment, around.sealed.campaign.id
        if deployment.valkey.cluster:  # it promotes by itself
            return
        access = access_of(deployment.valkey, Duty.WARDEN)
        instead = MovesOfAway(deployment, campaign_id)
        for spec in deployment.sets:
            self._notes.append(WardenNotes.open_path(deployment.control.notes, spec.id))
            servers = ValkeySetServers(spec.id, spec.addresses, SetKeys(campaign_id, spec.id), access)
            records, heard = open_records(spec, ASKED_MAX_S, ASKED_MAX_S), HeardOf()
            self._records.append(records)
            warden = Warden(
                servers,
                policy=Policy(spec.replicas_needed, deployment.control.lower_after_us),
                notes=self._notes[-1],
                clock=around.clock,
                others=partial(_transfers_of_others, stores, instead, spec.id),
                recorded=partial(asyncio.to_thread, records.known),
                heard=heard,
                all_told=heard.have_all_told,
                told=told,
                event=named_by(deployment.data),
                council=_council_of(spec, around.data_dir, campaign_id),
            )
            self._watched.append(Watched(servers, warden, heard))

    def operations(self, board: Switchboard, lack: Callable[[str], Lack | None]) -> SetsApi:
        """Return the operations on the sets, which note orders on this board. `lack` says why a set cannot grant."""
        return SetsApi(board, self._watched, lack)

    def hint(self, set_id: str) -> str | None:
        """Return what the set's warden does about it, or waits for; None if it has nothing to say."""
        states = (watched.warden.state for watched in self._watched)
        return next((state.why for state in states if state.set == set_id), None)

    def run(self, parts: Parts) -> None:
        """Watch from now on."""
        for watched in self._watched:
            parts.add(f"warden of {watched.servers.id}", watched.warden.run())

    def readings(self) -> Iterator[Value]:
        """Yield the epoch and the durability of each set."""
        for state in (watched.warden.state for watched in self._watched):
            yield figures.SET_EPOCH(state.epoch, state.set)
            for durability in DURABILITIES:
                yield figures.SET_DURABILITY(state.durability == durability, state.set, durability)

    def close(self) -> None:
        """Let another control process watch over the sets."""
        for watched in self._watched:
            watched.warden.leave()
        for notes in self._notes:
            notes.close()
        for records in self._records:
            records.close()
