"""Sealing what an amendment adds: amounts are split from a fresh seed and written down, before anything tells of them.

A table of amounts that was added is a file of its own, `amounts-1.i64` and so on, written once. It counts from the
moment on at which the event's file names it, with its hash (`redrush.control.event`); one that is named nowhere is what
an amendment has left that was killed, and the next one writes over it.
"""

import hashlib
import secrets
from array import array
from collections.abc import Iterator, Sequence
from sys import byteorder

import msgspec

from redrush.config import CampaignFile, RoundSpec
from redrush.control.code_file import seal_codes
from redrush.control.data_dir import DataDir
from redrush.control.durable_file import write_durably
from redrush.control.sealing import SEED_BYTES, amounts_of_round, round_of
from redrush.core.rush.additions import Added, budget_of
from redrush.core.rush.campaign import Campaign, Slots
from redrush.errors import ConfigError


def additions_in(
    campaign: Campaign, added: Sequence[Added], file: CampaignFile
) -> Iterator[tuple[RoundSpec, int, int]]:
    """Yield each round of the file that has more than the campaign: how many packets more, and their total. A round
    that the campaign does not have comes with all of its own."""
    for spec in file.rounds:
        round_ = campaign.round(spec.id)
        packets, total_minor = (0, 0) if round_ is None else budget_of(round_, added)
        if spec.packets > packets:
            yield spec, spec.packets - packets, spec.total_minor - total_minor


def seal_additions(
    campaign: Campaign, added: Sequence[Added], slot_count: int, file: CampaignFile, data_dir: DataDir
) -> tuple[Added, ...]:
    """Split what the file adds, and write the amounts down; return all additions, those from before first.

    `slot_count` is how many slots there are. Every addition must be possible (`redrush.control.amending`). ConfigError
    if the disk refuses.
    """
    done = list(added)
    new = {spec.id: spec for spec, _, _ in additions_in(campaign, added, file) if campaign.round(spec.id) is None}
    seal_codes(file, new, data_dir)
    for spec, packets, total_minor in additions_in(campaign, added, file):
        known = campaign.round(spec.id)
        bounds = spec if known is None else known
        seed = secrets.token_bytes(SEED_BYTES)
        added_spec = msgspec.structs.replace(
            spec,
            packets=packets,
            total_minor=total_minor,
            min_minor=bounds.min_minor,
            max_minor=bounds.max_minor,
        )
        amounts = amounts_of_round(added_spec, seed)
        raw = amounts.astype("<i8").tobytes()
        slots = Slots(slot_count, packets)
        slot_count = slots.end
        done.append(
            Added(
                round=spec.id,
                slots=slots,
                total_minor=total_minor,
                seed=seed.hex(),
                amounts_sha256=hashlib.sha256(raw).hexdigest(),
                new=round_of(spec, 0, slots) if known is None else None,
            )
        )
        path = data_dir.added_amounts(len(done))
        try:
            write_durably(path, raw)
        except OSError as fault:
            raise ConfigError(f"{path}: cannot be written, nothing was changed: {fault.strerror}") from fault
    return tuple(done)


def load_added_amounts(added: Sequence[Added], data_dir: DataDir) -> "array[int]":
    """Return the amounts of all additions, one after the other. ConfigError if a table is not as it was written."""
    amounts = array("q")
    for number, one in enumerate(added, start=1):
        path = data_dir.added_amounts(number)
        remedy = (
            f"`redrush restore BACKUP --data {data_dir.root} --only {path.name}` puts it back from any later backup"
        )
        try:
            raw = path.read_bytes()
        except OSError as fault:
            raise ConfigError(f"{path}: cannot be read: {fault.strerror}; {remedy}") from fault
        if hashlib.sha256(raw).hexdigest() != one.amounts_sha256:
            raise ConfigError(f"{path}: is not the table that was added; {remedy}")
        amounts.frombytes(raw)
    if byteorder == "big":
        amounts.byteswap()
    return amounts
