"""redrush under test: an event in a data directory, served by a real `redrush serve` on the server's core.

Directories are prepared in this process through the same functions as the commands use, so that a run starts in a
second: sealed once, copied for each run, so that every run of a figure meets the same users, tickets and amounts.
"""

import asyncio
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from redrush.config import load_campaign_file
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event, prepare_event
from redrush.control.issuing import plan_tickets
from redrush.core.rush.draw import PLAYS_MAX
from redrush.drill.bench.browser import ask
from redrush.ports.store import PotTerms, claims_of, grants_of
from redrush.processes.failure import ProcessFailed
from redrush.processes.loopback import free_port
from redrush.processes.pinned import Child, Cores, Target
from redrush.stores.sqlite import LogReader, SqliteStore

GRANTS_PER_CLAIM = 1_000
"""Users in one call of the store when a journal is made in bulk: as a full batch of the gate."""
TICKETS_LAST = "1d"
CAMPAIGN = "bench"
_SERVE = "import sys; from redrush.cli.main import main; sys.argv[0] = 'redrush'; main()"
"""`redrush` by this very interpreter: the script of that name may belong to another environment."""


class RoundPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A round that is open from the moment of sealing, for a day."""

    id: str = "rush"
    packets: int
    release_per_s: float | None = None
    drawn: bool = False
    """A draw, in which next to no play hits one of the packets."""


ENDLESS_LIMITS: Final = (
    "[limits]",
    "user_per_second = 1000000",
    'connections_per_address_max = "off"',
    "[admission]",
    'queueing_target = "200ms"',
)
"""A few users make all the load. Their limit is looked at before each answer, as in an event, and never reached.

What can be done at the most is asked with hundreds of claims waiting all the time, as the peers let them: admission,
which would refuse some to keep the others' wait short, watches as in an event and has a target out of reach."""


class Event(msgspec.Struct, frozen=True):
    """A campaign file and the data directory it is sealed in."""

    file: Path
    data: DataDir


def make_event(
    directory: Path, rounds: Sequence[RoundPlan], audience: Iterable[str] | None = None, *, group: bool = False
) -> Event:
    """Write a campaign file for the rounds and seal it in `directory`, which is created. `group`: people may send
    packets, too."""
    directory.mkdir(parents=True)
    lines = ["[campaign]", f'id = "{CAMPAIGN}"', 'name = "bench"', 'currency = "CNY"']
    if audience is not None:
        users = directory / "audience.txt"
        with users.open("w", encoding="ascii") as out:
            out.writelines(f"{user}\n" for user in audience)
        lines.append(f'audience = "{users}"')
    for plan in rounds:
        lines += ["[[round]]", f'id = "{plan.id}"', 'opens = "now"', 'lasts = "24h"']
        if plan.drawn:
            lines += ['kind = "draw"', f"plays = {{ per_user = {PLAYS_MAX} }}", "[[round.prize]]", 'id = "packet"']
            lines += ['holds = "goods"', f"count = {plan.packets}", 'odds = "1/1000000000000"']
            continue
        lines.append('kind = "lucky"')
        lines += [f'total = "{plan.packets}.00"', f"packets = {plan.packets}", 'min = "0.50"', 'max = "2.00"']
        if plan.release_per_s is not None:
            lines.append(f"release_per_second = {plan.release_per_s}")
    if group:
        lines.append("[group]")
    lines += ENDLESS_LIMITS
    event = Event(directory / "campaign.toml", DataDir(directory / "data"))
    event.file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    prepare_event(load_campaign_file(event.file), event.data, lambda: time.time_ns() // 1_000)
    return event


def copy_of(event: Event, directory: Path) -> Event:
    """Return the same event in another directory: its seal, its keys, and its journal so far."""
    shutil.copytree(event.data.root, directory)
    return Event(event.file, DataDir(directory))


@contextmanager
def serve(event: Event, cores: Cores) -> Iterator[Target]:
    """Run `redrush serve` for the event on the server's core; the block begins when it answers."""
    port = free_port()
    argv = [sys.executable, "-c", _SERVE, "serve", str(event.file), "--data", str(event.data.root)]
    argv += ["--port", str(port), "--control-port", "0"]
    child = Child(argv, cores.server, log=event.data.root.with_suffix(".log"), name="redrush serve")
    with child:
        child.wait_for_line("ready")
        yield Target(child, port)


def issue(event: Event, users: Sequence[str]) -> list[str]:
    """Return a ticket for each user, in their order."""
    lines = plan_tickets(event.data, users, None, TICKETS_LAST, time.time_ns() // 1_000_000_000).lines()
    return [line.partition("\t")[2] for line in lines]


def grant_in_bulk(event: Event, users: Sequence[str], round_id: str = "rush") -> None:
    """Grant a slot to each of the users through the real store, which nobody else has open."""

    async def grant() -> None:
        round_ = load_event(event.data).sealed.campaign.round(round_id)
        assert round_ is not None
        store = await SqliteStore.open_path(event.data.journal)
        await store.open([PotTerms(round_.id, round_.slots)])
        for start in range(0, len(users), GRANTS_PER_CLAIM):
            claims = claims_of(round_.id, users[start : start + GRANTS_PER_CLAIM])
            await store.claim(claims, round_.opens_us + start)
        await store.close()

    asyncio.run(grant())


def granted(event: Event) -> int:
    """Return how many slots the journal says are granted. For a server that has ended: what is on the disk counts."""
    with LogReader(event.data.journal) as journal:
        return sum(1 for record in journal.records() for _ in grants_of(record))


def expect(port: int, ticket: str, outcome: str, *, repeat: bool | None = None, round_id: str = "rush") -> bytes:
    """Ask once and return the body; ProcessFailed unless the outcome is the expected one."""
    answer = ask(port, ticket, round_id)
    seen = msgspec.json.decode(answer.body, type=_Seen)
    if answer.status != 200 or seen.outcome != outcome or (repeat is not None and seen.repeat is not repeat):
        raise ProcessFailed(f'a server under test should have answered "{outcome}", but said {answer.body!r}')
    return answer.body


class _Seen(msgspec.Struct, frozen=True):
    outcome: str
    repeat: bool | None = None
