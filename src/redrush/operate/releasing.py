"""Giving up on grants that were lost and that nobody has shown a receipt for: `redrush set release`.

Of a single server the slots that were kept back for their winners go on: into their round while it is open, else where
the leftover of the round has gone. Of a set nothing is kept back but by the switch `answer_ended`: there the loss is
written off, so that `reconcile` no longer asks for it. Both are an operator's word, with a reason that is kept. Who
comes with a receipt afterwards finds the slot granted to somebody else, or gets it if it is still there.

There is no instant from which on receipts can come no more, so none is waited for: a person decides, and is shown
before how many winners that concerns.
"""

import asyncio
from pathlib import Path

from redrush.config import load_deployment_file
from redrush.config.deployment_file import Duty
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event
from redrush.control.generations import note_generation
from redrush.core.money.currency import format_amount
from redrush.core.rush.campaign import RETURNED_POT, Campaign
from redrush.core.rush.leftover import destination
from redrush.errors import ConfigError, RedrushError
from redrush.operate.mending import opened_journal
from redrush.operate.set_orders import NeedsYes, order_release
from redrush.operate.switching import Holder
from redrush.ports.pot_terms import returned_pot
from redrush.ports.store import Transfer
from redrush.stores.pots import WITHHELD
from redrush.wiring.clock import system_clock
from redrush.wiring.set_stores import open_store


def release_set(path: Path, set_id: str, why: str, holder: Holder, *, yes: bool) -> int:
    """Write off what the set went on without; return how many grants that are.

    NeedsYes says how many, unless `yes`. RedrushError if the set lacks nothing, or cannot be asked.
    """
    lost, honoured, unsure, written_off = asyncio.run(_losses(path, set_id))
    left = lost - honoured - written_off
    if left <= 0 and not unsure:
        raise RedrushError(f"set {set_id}: lacks nothing that anybody is waited for: nothing is to be released")
    if not yes:
        more = ", and nobody knows whether others besides" if unsure else ""
        raise NeedsYes(
            f"set {set_id}: went on without {lost} grants, {honoured} of them were entered again; "
            f"{max(0, left)} winners may still come with a receipt{more}; add --yes to wait for them no more"
        )
    order_release(path, set_id, why, holder)
    return max(0, left)


async def _losses(path: Path, set_id: str) -> tuple[int, int, bool, int]:
    """Return how many grants are lost, honoured, whether there may be more, and how many are written off."""
    deployment = load_deployment_file(path)
    deployment.set_named(set_id)
    campaign_id = load_event(DataDir(deployment.data)).sealed.campaign.id
    store = await open_store(deployment, set_id, campaign_id, Duty.WARDEN)
    try:
        _, _, lost, honoured, unsure, written_off = await store.log_end()
    finally:
        await store.close()
    return lost, honoured, unsure, written_off


def release_data_dir(data_dir: DataDir, why: str, who: str, *, yes: bool) -> int:
    """Let the slots go on that were kept back in the journal of a single server; return how many those are.

    NeedsYes says how many and what they are worth, unless `yes`. RedrushError if none are kept back. Raises StoreInUse
    while a server runs.
    """
    return asyncio.run(_release(data_dir, why, who, yes=yes))


async def _release(data_dir: DataDir, why: str, who: str, *, yes: bool) -> int:
    sealed = load_event(data_dir).sealed
    store = await opened_journal(data_dir)
    try:
        transfers = await store.transfers()
        kept = {
            name: half
            for name, half in transfers.taken.items()
            if name.startswith(WITHHELD) and name not in transfers.given
        }
        if not kept:
            raise RedrushError(f"{data_dir.root}: no slots are kept back: nothing is to be released")
        worth_minor = sum(int(sealed.amounts[half.slots[0].first]) for half in kept.values())
        worth = f"{format_amount(worth_minor, sealed.campaign.currency)} {sealed.campaign.currency}"
        if not yes:
            raise NeedsYes(
                f"{data_dir.root}: {len(kept)} slots worth {worth} are kept back for winners who may still come with a "
                "receipt; add --yes to let others have them"
            )
        await store.open([returned_pot()])
        now_us = system_clock().now_us()
        for name, half in kept.items():
            await store.give(_where(sealed.campaign, half, now_us), half.slots, name)
    finally:
        await store.close()
    try:
        note_generation(data_dir, {"what": "release", "why": why, "who": who, "slots": len(kept), "worth": worth})
    except OSError as fault:
        raise ConfigError(f"{data_dir.generations}: cannot be written: {fault.strerror}") from fault
    return len(kept)


def _where(campaign: Campaign, half: Transfer, now_us: int) -> str:
    """Return the pot that such a slot goes on in: its own while that is open, else where its leftover went."""
    name = half.pot
    while name != RETURNED_POT:
        pot = campaign.pot(name)
        assert pot is not None, "a journal has pots of its campaign"
        if now_us < pot.closes_us:
            return name
        name = destination(campaign, pot, pot.closes_us)
    return name
