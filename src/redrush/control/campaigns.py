"""The campaigns of one directory besides its first: which there are, and when each has a round.

Each is a whole event with a directory of its own, `campaigns/ID`: seal, keys, journal, records, switches. What one does
cannot reach another. `campaigns.json` lists them with the instants of their rounds, so that a server that starts reads
one file, and opens none that has no round for long. Who has added or ended one stands in `campaigns.jsonl`, durably,
before it is so.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

from redrush.control.data_dir import DataDir
from redrush.control.durable_file import append_durably
from redrush.control.json_file import keep_json, load_json
from redrush.core.rush.campaign import Campaign
from redrush.errors import ConfigError

CAMPAIGNS_MAX: Final = 10_000
"""Of one directory: the list is read and written as a whole."""
VERSION: Final = 1


class RoundTimes(msgspec.Struct, frozen=True):
    """When a round is open."""

    id: str
    opens_us: int
    closes_us: int


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One campaign of the list."""

    id: str
    name: str
    rounds: tuple[RoundTimes, ...]
    added_at: str
    ended_at: str | None = None
    """Since when it is served no more; None: it is."""
    sets: tuple[str, ...] = ()
    """On a deployment: the sets that it is divided over, in order."""
    rehearsal: bool = False

    def state(self, now_us: int) -> str:
        """Return "ended", "open", "ahead" (a round is to come), or "over"."""
        if self.ended_at is not None:
            return "ended"
        if any(one.opens_us <= now_us < one.closes_us for one in self.rounds):
            return "open"
        return "ahead" if any(now_us < one.opens_us for one in self.rounds) else "over"

    def near(self, now_us: int, ahead_us: int) -> RoundTimes | None:
        """Return the first of the rounds that is open, or opens within so long; None: none."""
        return next((one for one in self.rounds if one.opens_us <= now_us + ahead_us and now_us < one.closes_us), None)


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `campaigns.jsonl`."""

    at: str
    who: str
    said: str
    what: str
    campaign: str
    why: str


class _File(msgspec.Struct, frozen=True):
    version: int
    campaigns: tuple[Listing, ...]


def times_of(campaign: Campaign) -> tuple[RoundTimes, ...]:
    """Return when the rounds of a campaign are open."""
    return tuple(RoundTimes(round_.id, round_.opens_us, round_.closes_us) for round_ in campaign.rounds)


def load_served(data_dir: DataDir) -> dict[str, Listing]:
    """Return, by id, the campaigns that are to be served. ConfigError if the list cannot be read."""
    return {one.id: one for one in load_listings(data_dir) if one.ended_at is None}


def directory_of(data_dir: DataDir, campaign_id: str) -> DataDir:
    """Return the directory of one of them."""
    return DataDir(data_dir.campaigns / campaign_id)


def hosted_beside(data_dir: DataDir) -> list[DataDir]:
    """Return the directories of the campaigns that were ever hosted beside the one of this directory, also of those
    that have been ended."""
    return [DataDir(found) for found in sorted(data_dir.campaigns.glob("*")) if found.is_dir()]


def first_beside(data_dir: DataDir) -> DataDir:
    """Return the directory of the first campaign that this one's is beside; it itself, if it is the first."""
    above = data_dir.root.absolute().parent
    first = DataDir(above.parent)
    return first if above == first.campaigns.absolute() and first.campaign.is_file() else data_dir


def keeper_of_books(data_dir: DataDir) -> DataDir:
    """Return the directory whose server keeps the books of this one's campaign: bills and messages are the process's,
    so a campaign that is hosted beside another has none of its own."""
    return first_beside(data_dir)


def load_listings(data_dir: DataDir) -> tuple[Listing, ...]:
    """Return the list, in the order in which they were added. ConfigError if it cannot be read."""
    path = data_dir.campaign_list
    found = load_json(path, _File, _File(VERSION, ()), "a list of campaigns")
    if found.version != VERSION:
        raise ConfigError(f"{path}: has version {found.version}; this redrush reads version {VERSION}")
    return found.campaigns


@contextmanager
def changing_listings(data_dir: DataDir) -> Iterator[list[Listing]]:
    """Yield the list to be changed; it is written when the block ends well. One process at a time.

    ConfigError if the disk refuses, or there are too many.
    """
    lock = os.open(data_dir.root / "campaigns.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        listings = list(load_listings(data_dir))
        yield listings
        keep_listings(data_dir, listings)
    finally:
        os.close(lock)


def keep_listings(data_dir: DataDir, listings: Sequence[Listing]) -> None:
    """Write the list, which is locked (`changing_listings`). ConfigError as there."""
    if len(listings) > CAMPAIGNS_MAX:
        raise ConfigError(f"{data_dir.root}: has {CAMPAIGNS_MAX:,} campaigns, no more are possible")
    keep_json(data_dir.campaign_list, _File(VERSION, tuple(listings)))


def note(data_dir: DataDir, line: Noted) -> None:
    """Write down who does what, durably, before it is done. ConfigError if the disk refuses."""
    path = data_dir.campaign_log
    try:
        append_durably(path, msgspec.json.encode(line) + b"\n")
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be written, nothing was done: {fault.strerror}") from fault
