"""More campaigns in one directory: added, listed and ended by commands, whether a server runs there or not.

What takes long (splitting a total, reading a list of users, fsyncs) is done here, in the command's own process. A
running server sees the list change and takes the campaign up, or lets it go, within a second; no other's claims wait.
"""

from pathlib import Path
from typing import Any

import msgspec

from redrush.config import CampaignFile, DeploymentFile, load_deployment_file, load_payments_file
from redrush.config.deployment_file import load_first_deployment
from redrush.config.hosted import deployment_beside, text_beside
from redrush.control import sealing
from redrush.control.adding import seal_additions
from redrush.control.amending import Change, amended_terms, campaign_after, changes_between, message_of
from redrush.control.campaigns import (
    Listing,
    Noted,
    RoundTimes,
    changing_listings,
    directory_of,
    keep_listings,
    load_listings,
    load_served,
    note,
    times_of,
)
from redrush.control.data_dir import DataDir
from redrush.control.doubts import look_at_audience
from redrush.control.durable_file import write_durably
from redrush.control.event import (
    Event,
    as_served,
    doubts_before,
    is_current,
    keep_open_terms,
    load_campaign,
    load_event,
    load_open_terms,
    prepare_event,
)
from redrush.control.switch_log import SwitchLog, SwitchLogInUse
from redrush.control.written import keep_written
from redrush.core.money.currency import format_amount
from redrush.core.rush.additions import budget_of
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.instants import rfc3339
from redrush.errors import ConfigError
from redrush.operate.noting import Noting
from redrush.operate.switching import Holder, name_of
from redrush.wiring.clock import system_clock
from redrush.wiring.role import division_of


class Added(msgspec.Struct, frozen=True):
    """What became of a campaign that was to be added."""

    campaign: str
    new: bool
    """False: it was there already, and what is open of it is now as the file says."""
    directory: Path
    doubts: tuple[str, ...]


def add_campaign(
    file: CampaignFile,
    data_dir: DataDir,
    holder: Holder,
    why: str = "",
    keys_from: DataDir | None = None,
    deploy: Path | None = None,
    noted: Noting = None,
) -> Added:
    """Seal the campaign in a directory of its own, and list it. ConfigError if its id is taken, or the disk refuses.

    `deploy` is the file of the deployment that serves the directory; None: that in the directory, if there is one. On a
    deployment each set gets a part for the campaign first, so its servers must run. RedrushError if they do not.
    """
    data_dir.require()
    deploy = deployment_file_of(data_dir) if deploy is None else deploy
    deployment = None if deploy is None else load_first_deployment(deploy)
    clock, who = system_clock(), name_of(data_dir, holder)
    check_addition(file, data_dir, load_campaign(data_dir).id)
    own = directory_of(data_dir, file.id)
    with changing_listings(data_dir) as listings:
        before = next((index for index, one in enumerate(listings) if one.id == file.id), None)
        doubts = doubts_before(file, own, look_at_audience(file), clock.now_us(), keys_from)
        at = rfc3339(clock.now_us())
        what = "add" if before is None else "prepare again"
        if noted is not None:
            noted()
        note(data_dir, Noted(at=at, who=who, said=holder.said, what=what, campaign=file.id, why=why))
        sets: tuple[str, ...] = ()
        if deployment is not None:
            known = () if before is None else listings[before].sets
            sets = known or tuple(spec.id for spec in deployment.sets)
            from redrush.operate.establishing import establish_parts  # noqa: PLC0415 - one machine has no Valkey client

            establish_parts(deployment_beside(deployment, file.id, own.root, sets), file.id)
        campaign = prepare_event(file, own, clock.now_us, keys_from).event.sealed.campaign
        if deploy is not None:
            write_durably(own.deployment, text_beside(deploy.absolute(), file.id, sets).encode())
        listing = msgspec.structs.replace(listing_of(campaign, at), sets=sets)
        if before is None:
            listings.append(listing)
        else:
            listings[before] = msgspec.structs.replace(listing, added_at=listings[before].added_at)
    return Added(file.id, before is None, own.root, tuple(doubts))


def check_addition(file: CampaignFile, data_dir: DataDir, first_id: str) -> None:
    """ConfigError if the campaign cannot be added to a directory whose first campaign has this id."""
    if first_id == file.id:
        raise ConfigError(f'{data_dir.root}: "{file.id}" is the first campaign of this directory; choose another id')
    if any(one.id == file.id and one.ended_at is not None for one in load_listings(data_dir)):
        raise ConfigError(f'{data_dir.root}: campaign "{file.id}" has been ended; choose another id')
    is_current(file, directory_of(data_dir, file.id))


def end_campaign(campaign_id: str, data_dir: DataDir, holder: Holder, why: str, *, yes: bool) -> None:
    """Serve a campaign no more; what it has granted stays in its directory. ConfigError for a round that is open or to
    come, unless `yes`, for the first campaign, and where there is no such one."""
    data_dir.require()
    clock, who = system_clock(), name_of(data_dir, holder)
    with changing_listings(data_dir) as listings:
        index = next((index for index, one in enumerate(listings) if one.id == campaign_id), None)
        if index is None and campaign_id == load_event(data_dir).sealed.campaign.id:
            raise ConfigError(how_the_first_ends(campaign_id, data_dir))
        if index is None:
            raise ConfigError(_no_such(data_dir, campaign_id, listings))
        listing, at = listings[index], rfc3339(clock.now_us())
        if listing.ended_at is not None:
            raise ConfigError(f'campaign "{campaign_id}" was ended at {listing.ended_at}')
        if (state := listing.state(clock.now_us())) != "over" and not yes:
            doing = "has a round open now" if state == "open" else "has a round to come"
            raise ConfigError(f'campaign "{campaign_id}" {doing}, and nobody could win any more; add --yes to end it')
        note(data_dir, Noted(at=at, who=who, said=holder.said, what="end", campaign=campaign_id, why=why))
        listings[index] = msgspec.structs.replace(listing, ended_at=at)


def how_the_first_ends(campaign_id: str, data_dir: DataDir) -> str:
    """Return what is said to whoever wants to end the first campaign of a directory."""
    ends = "redrush stack down" if data_dir.deployment.exists() else "redrush stop"
    return (
        f'campaign "{campaign_id}" is the first of this directory, and ends with its server: {ends} --data '
        f"{data_dir.root}; until then `redrush switch set answer_ended on` says to everybody that it is over, and who "
        "has won keeps it"
    )


class Amended(msgspec.Struct, frozen=True):
    """What a changed file changes, or would."""

    campaign: str
    changes: tuple[Change, ...]
    done: bool
    live: bool
    """Whether a server runs, which follows within a second or two."""


def change_campaign(
    file: CampaignFile, data_dir: DataDir, holder: Holder, why: str, *, yes: bool, noted: Noting = None
) -> Amended:
    """Tell what would change if the campaign of the directory that has the file's id became what the file says; with
    `yes` make it so, written down first. ConfigError where there is no such campaign.

    Nothing is changed where anything is refused.
    """
    data_dir.require()
    clock, who = system_clock(), name_of(data_dir, holder)
    own = data_dir
    if load_campaign(data_dir).id != file.id:
        if file.id not in load_served(data_dir):
            raise ConfigError(_no_such(data_dir, file.id, load_listings(data_dir)))
        own = directory_of(data_dir, file.id)
    with changing_listings(data_dir) as listings:
        event = load_event(own)
        changes = tuple(changes_between(event, file, clock.now_us()))
        live = _is_served(own)
        if own.deployment.exists() and not any(change.refused for change in changes):
            deployment = load_deployment_file(own.deployment)
            changes = _as_divided(changes, event, file, deployment)
            changes = _as_told(changes, event, file, deployment.payments.file)
        if not yes or not changes or any(change.refused for change in changes):
            return Amended(file.id, changes, done=False, live=live)
        told = "; ".join(f"{change.what}: {change.before} -> {change.after}" for change in changes)
        at = rfc3339(clock.now_us())
        if noted is not None:
            noted()
        note(data_dir, Noted(at=at, who=who, said=holder.said, what=f"change {told}", campaign=file.id, why=why))
        added = seal_additions(event.sealed.campaign, event.open.added, len(event.sealed.amounts), file, own)
        terms = amended_terms(event, file, added)
        place = next((index for index, one in enumerate(listings) if one.id == file.id), None)
        if place is not None:
            # With both times: whoever is killed between here and the end leaves a campaign that is awake too often.
            before, after = times_of(event.sealed.campaign), times_of(as_served(event.sealed.campaign, terms))
            listings[place] = msgspec.structs.replace(listings[place], rounds=(*before, *after))
            keep_listings(data_dir, listings)
            listings[place] = msgspec.structs.replace(listings[place], name=file.name, rounds=after)
        keep_open_terms(terms, own)
        keep_written(file, own)
    return Amended(file.id, changes, done=True, live=live)


def _as_divided(
    changes: tuple[Change, ...], event: Event, file: CampaignFile, deployment: DeploymentFile
) -> tuple[Change, ...]:
    """Refuse changes of rounds by which a pot that is there would be divided over other sets than it is."""
    before = event.sealed.campaign
    now, after = (division_of(deployment, one) for one in (before, campaign_after(before, file)))
    if all(now.shares(pot.id) == after.shares(pot.id) for pot in before.pots):
        return changes
    why = (
        "a set of the deployment takes part from some round on, and with these rounds it would be another one: its "
        "packets are where they are; add the round behind that one"
    )
    return tuple(
        msgspec.structs.replace(change, refused=why) if change.what.startswith("round ") else change
        for change in changes
    )


def _as_told(
    changes: tuple[Change, ...], event: Event, file: CampaignFile, payments: Path | None
) -> tuple[Change, ...]:
    """Refuse messages by a notifier that is new to the campaign and unknown to the deployment, where its payments file
    is on this machine: they would be made and never sent."""
    if payments is not None and not payments.exists():
        return changes
    known = set() if payments is None else {one.name for one in load_payments_file(payments).notifiers}
    known |= {terms.by for terms in event.open.messages}
    strange = {
        message_of(terms.by): "the payments file of the deployment has no such [[notifier]]: add it there, and start "
        "the role payments anew"
        for terms in file.messages
        if terms.by not in known
    }
    return tuple(msgspec.structs.replace(one, refused=one.refused or strange.get(one.what)) for one in changes)


def _is_served(data_dir: DataDir) -> bool:
    """Whether a process has the campaign open: it holds the lock of its switches."""
    board_dir = data_dir
    if data_dir.deployment.exists():
        board_dir = DataDir(load_deployment_file(data_dir.deployment).control.notes)
    if not board_dir.switches.exists():
        return False
    try:
        SwitchLog.open(board_dir.switches).close()
    except SwitchLogInUse:
        return True
    return False


def all_listings(data_dir: DataDir) -> tuple[Listing, ...]:
    """Return every campaign of the directory, those that were ended too, the first one first. ConfigError if there is
    none, or the list cannot be read."""
    first = load_campaign(data_dir)
    return (listing_of(first, ""), *load_listings(data_dir))


def listing_of(campaign: Campaign, added_at: str) -> Listing:
    """Return a campaign as the list has it, of one machine."""
    return Listing(
        id=campaign.id,
        name=campaign.name,
        rounds=times_of(campaign),
        added_at=added_at,
        rehearsal=campaign.rehearsal,
    )


def list_campaigns(data_dir: DataDir) -> list[dict[str, Any]]:
    """Return what `all_listings` does, as JSON has it."""
    listings, now_us = all_listings(data_dir), system_clock().now_us()
    first = listings[0]
    return [
        {
            "campaign": one.id,
            "name": one.name,
            "state": one.state(now_us),
            "rounds": [_times_shown(times) for times in one.rounds],
            "directory": str(data_dir.root if one.id == first.id else directory_of(data_dir, one.id).root),
            "ended_at": one.ended_at,
            "rehearsal": one.rehearsal,
        }
        for one in listings
    ]


def directory_of_campaign(data_dir: DataDir, campaign_id: str) -> DataDir | None:
    """Return where a campaign is, also one that was ended; None: there is none of that id. ConfigError as
    `all_listings`."""
    first, *others = all_listings(data_dir)
    if campaign_id == first.id:
        return data_dir
    return directory_of(data_dir, campaign_id) if campaign_id in {one.id for one in others} else None


def show_campaign(campaign_id: str, data_dir: DataDir) -> dict[str, Any]:
    """Return one campaign with its rounds' packets and totals. ConfigError if there is none."""
    found = next((row for row in list_campaigns(data_dir) if row["campaign"] == campaign_id), None)
    if found is None:
        raise ConfigError(_no_such(data_dir, campaign_id, load_listings(data_dir)))
    own = DataDir(Path(found["directory"]))
    terms = load_open_terms(own)
    campaign = as_served(sealing.load_campaign(own), terms)
    rounds = []
    # The list may have more of them: a change that was killed leaves it with the times before and after.
    for times, round_ in zip(times_of(campaign), campaign.rounds, strict=True):
        packets, total_minor = budget_of(round_, terms.added)
        total = format_amount(total_minor, campaign.currency)
        rounds.append({**_times_shown(times), "kind": str(round_.kind), "packets": packets, "total": total})
    return {**found, "currency": campaign.currency, "timezone": campaign.timezone, "rounds": rounds}


def _times_shown(times: RoundTimes) -> dict[str, str]:
    return {"round": times.id, "opens_at": rfc3339(times.opens_us), "closes_at": rfc3339(times.closes_us)}


def deployment_file_of(data_dir: DataDir) -> Path | None:
    """Return the deployment file in a directory; None for that of a single server."""
    return data_dir.deployment if data_dir.deployment.exists() else None


def _no_such(data_dir: DataDir, campaign_id: str, listings: tuple[Listing, ...] | list[Listing]) -> str:
    known = ", ".join(one.id for one in listings) or "none"
    return f'{data_dir.root}: there is no campaign "{campaign_id}" besides the first; there are {known}'
