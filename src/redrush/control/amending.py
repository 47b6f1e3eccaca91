"""Amendments: what of a prepared campaign may still be changed, and what a changed file would change, in sentences.

What the packets hold is fixed at the seal, and nothing here touches that: packets are added behind them, as is a round
(`redrush.control.adding`). When rounds open and close may be changed
while nobody can have acted on it: an opening only while it lies ahead, a close only to a later instant, before it is
reached. The change is kept beside the seal, in the open part (`redrush.control.event`), with the hash of the file it
came from: from then on that file, and no older one, is the campaign's.
"""

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec

from redrush.config import CampaignFile
from redrush.control.differences import NAMES, rounds_of, shown
from redrush.control.event import KEPT, Event, OpenTerms, RoundTimes, amended, open_terms_of
from redrush.control.sealing import BUDGET_FIXED, round_of, source_sha256
from redrush.core.money.currency import format_amount
from redrush.core.money.feasibility import ImpossibleSplit, check_feasible
from redrush.core.rush.additions import ADDED_MAX, Added, budget_of, with_added_rounds
from redrush.core.rush.campaign import Campaign, Kind, Round, Slots
from redrush.core.rush.leftover import destination
from redrush.core.rush.message import MessageTerms

AHEAD_US: Final = 5_000_000
"""How far ahead an instant must lie, old and new, to be changed: every process must have heard of it by then."""

REHEARSAL_FIXED: Final = "people were shown what it is: start it as a campaign of its own, redrush campaign add"
DRAWN: Final = "what a draw promises was fixed when it was sealed: add another round to the file"
FIXED: Final = "what the packets hold was fixed when the campaign was sealed"
MORE: Final = "what the packets hold was fixed when they were sealed: more packets, with a higher total, may be added"
FULL: Final = f"{ADDED_MAX} additions were made to this campaign, which is the most"
NEW_NOT_AHEAD: Final = f"a round that is added must open more than {AHEAD_US // 1_000_000} seconds from now"
NOT_AHEAD: Final = f"it must lie {AHEAD_US // 1_000_000} seconds ahead, before and after the change"

DATA_ADDRESS: Final = re.compile(r"data:(?P<kind>[a-z0-9/+.-]+);base64,(?P<content>[A-Za-z0-9+/=]*)")
SHOWN_MAX: Final = 200
"""Characters that are shown of a text."""
AT_ONCE: Final = frozenset(
    {"name", "timezone", "playbooks", "rules", "limits", "client", "admission", "page", "group", "payout", "messages"}
)
"""Of the open part: what a running server follows. The rest is for its next start, or a sleeping campaign's next
waking."""
AT_THE_START: Final = frozenset({"limits.trusted_proxies", "group.followers"})
"""Of those: what connections that are there have been judged by, and who is connected to at the start."""
THERE_OR_NOT: Final = frozenset({"group"})
"""Of those: a server that runs has its parts, or has not, and follows what is changed within."""
KEYS: Final = {
    "proof_of_work": "tickets",
    "client": "client",
    "playbooks": "playbook",
    "rules": "rule",
    "messages": "message",
}
"""The tables of a campaign file, where they are called otherwise here."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the file says otherwise than the event has it."""

    what: str
    before: str
    after: str
    refused: str | None = None
    """Why it may not be changed; None: it may."""
    at_once: bool = True
    """Whether a running server follows; False: from its next start on."""
    adds: bool = False
    """Whether packets are added."""


def changes_between(event: Event, file: CampaignFile, now_us: int) -> list[Change]:
    """Return what would change, at `now_us` (µs since the epoch), if the campaign became what the file says."""
    campaign = event.sealed.campaign
    found = [
        Change(what=key, before=before, after=now, refused="start it as a campaign of its own: redrush campaign add")
        for key, before, now in (("id", campaign.id, file.id), ("currency", campaign.currency, file.currency))
        if before != now
    ]
    if campaign.budget_minor != file.budget_minor:
        before, now = (
            "none" if one is None else format_amount(one, campaign.currency)
            for one in (campaign.budget_minor, file.budget_minor)
        )
        found.append(Change(what="budget", before=before, after=now, refused=BUDGET_FIXED))
    if campaign.rehearsal != file.rehearsal:
        before, now = ("true" if one else "false" for one in (campaign.rehearsal, file.rehearsal))
        found.append(Change(what="rehearsal", before=before, after=now, refused=REHEARSAL_FIXED))
    found += _in_rounds(event, file, now_us)
    if len(event.open.added) + sum(change.adds for change in found) > ADDED_MAX:
        found = [msgspec.structs.replace(change, refused=FULL) if change.adds else change for change in found]
    found += _in_the_open_part(event.open, open_terms_of(file))
    if not any(change.refused for change in found):
        after = campaign_after(campaign, file)
        found = [_with_leftover(change, campaign, after, now_us) for change in found]
    return found


def amended_terms(event: Event, file: CampaignFile, added: tuple[Added, ...]) -> OpenTerms:
    """Return the open part after all changes, each of which must be possible; `added` are all additions by then."""
    campaign = with_added_rounds(event.sealed.campaign, added)
    times = {
        round_.id: RoundTimes(round_.opens_us, round_.closes_us, round_.release_per_s)
        for round_ in campaign_after(campaign, file).rounds
    }
    return msgspec.structs.replace(open_terms_of(file), rounds=times, added=added, amended_sha256=source_sha256(file))


def campaign_after(campaign: Campaign, file: CampaignFile) -> Campaign:
    """Return the campaign with the rounds and times of the file; a round that the file does not have is never open."""
    written = {spec.id: spec for spec in file.rounds}
    new = [round_of(spec, 0, Slots(0, 0)) for spec in file.rounds if campaign.round(spec.id) is None]
    campaign = msgspec.structs.replace(campaign, rounds=(*campaign.rounds, *new))
    times = {}
    for round_ in campaign.rounds:
        spec = written.get(round_.id)
        if spec is None:
            times[round_.id] = RoundTimes(round_.opens_us, round_.opens_us, round_.release_per_s)
        else:
            opens_us = round_.opens_us if spec.opens_us is None else spec.opens_us
            times[round_.id] = RoundTimes(opens_us, opens_us + spec.lasts_us, spec.release_per_s)
    return amended(campaign, times)


def _in_rounds(event: Event, file: CampaignFile, now_us: int) -> Iterator[Change]:
    campaign = event.sealed.campaign
    before = {written["id"]: written for written in rounds_of(campaign)}
    after = {written["id"]: written for written in rounds_of(file)}
    for round_id, now in after.items():
        if round_id not in before:
            yield _new_round(now, file.currency, now_us)
            continue
        round_ = campaign.round(round_id)
        assert round_ is not None
        packets, total_minor = budget_of(round_, event.open.added)
        before[round_id] |= {"packets": packets, "total_minor": total_minor}
        if now["packets"] > packets and file.currency == campaign.currency:
            yield _more_packets(round_, before[round_id], now, file.currency, now_us)
            now.update(packets=packets, total_minor=total_minor)
        for key, name in NAMES.items():
            was, is_ = before[round_id].get(key), now.get(key)
            if was == is_ or (key == "opens_us" and is_ is None) or (name in {"min", "max"} and now["kind"] == "equal"):
                continue
            what = f'round "{round_id}", {name}'
            words = [
                shown(key, written, currency)
                for written, currency in ((before[round_id], campaign.currency), (now, file.currency))
            ]
            refused = _refusal(name, round_, was, is_, now_us)
            yield Change(what=what, before=words[0], after=words[1], refused=refused)
    for round_id in before.keys() - after.keys():
        round_ = campaign.round(round_id)
        assert round_ is not None
        if round_.closes_us > round_.opens_us:
            ahead = round_.opens_us > now_us + AHEAD_US
            refused = None if ahead else "it has opened, or opens in a moment: somebody may have won in it"
            yield Change(what=f'round "{round_id}"', before="to come", after="cancelled", refused=refused)


def _new_round(written: dict[str, Any], currency: str, now_us: int) -> Change:
    opens_us = written["opens_us"]
    refused = None if opens_us is not None and opens_us > now_us + AHEAD_US else NEW_NOT_AHEAD
    return Change(
        what=f'round "{written["id"]}"',
        before="not there",
        after=f"a new round of {written['packets']} packets, {shown('total_minor', written, currency)} {currency}",
        refused=refused,
        adds=True,
    )


def _more_packets(round_: Round, before: dict[str, Any], now: dict[str, Any], currency: str, now_us: int) -> Change:
    more, total_minor = now["packets"] - before["packets"], now["total_minor"] - before["total_minor"]
    told = [f"{one['packets']} of {shown('total_minor', one, currency)} {currency}" for one in (before, now)]
    refused = None
    if round_.closes_us <= now_us + AHEAD_US:
        refused = "it is over, or ends in a moment"
    elif round_.draw is not None:
        refused = DRAWN
    elif now["kind"] != round_.kind:
        refused = FIXED
    else:
        try:
            check_feasible(
                total_minor, more, round_.min_minor, round_.max_minor, lambda minor: format_amount(minor, currency)
            )
        except ImpossibleSplit as impossible:
            alike = "; those of an equal round are worth the same" if round_.kind is Kind.EQUAL else ""
            refused = f"what is added is split by itself, by the rules of the round{alike}: {impossible}"
    return Change(what=f'round "{round_.id}", packets', before=told[0], after=told[1], refused=refused, adds=True)


def _refusal(name: str, round_: Round, was: Any, is_: Any, now_us: int) -> str | None:
    if name == "release_per_second":
        return None
    if name == NAMES["draw"]:
        return DRAWN
    if name == "opens":
        return None if min(was, is_) > now_us + AHEAD_US else NOT_AHEAD
    if name == "lasts":
        if is_ < was:
            return "people were told that they have until then: a round may only last longer"
        return None if round_.closes_us > now_us + AHEAD_US else "it is over, or ends in a moment"
    if name == "share":
        return "what winners share was fixed when the campaign was sealed"
    if name == "line":
        return "the line was fixed when the campaign was sealed; its pace is a switch"
    return "where the leftover goes is worked out again after a crash" if name == "leftover" else MORE


def _with_leftover(change: Change, before: Campaign, after: Campaign, now_us: int) -> Change:
    """Refuse a change of times that would send the leftover of a pot that is over somewhere else than it went."""
    if not change.what.startswith("round "):
        return change
    for pot in before.pots:
        if pot.closes_us > now_us + AHEAD_US:
            continue
        now = after.pot(pot.id)
        assert now is not None
        if destination(before, pot, pot.closes_us) != destination(after, now, now.closes_us):
            why = f"the leftover of round {pot.round.id}, which is over, would have gone somewhere else"
            return msgspec.structs.replace(change, refused=why)
    return change


def _in_the_open_part(before: OpenTerms, after: OpenTerms) -> Iterator[Change]:
    for key in after.__struct_fields__:
        if key in KEPT:
            continue
        was, is_ = getattr(before, key), getattr(after, key)
        if was != is_ and not (was is None and key in {"name", "timezone"}):
            if key == "messages":
                yield from _in_messages(was, is_)
            else:
                comes_or_goes = key in THERE_OR_NOT and None in {was, is_}
                yield from _between(KEYS.get(key, key), was, is_, at_once=key in AT_ONCE and not comes_or_goes)


def _in_messages(before: Sequence[MessageTerms], after: Sequence[MessageTerms]) -> Iterator[Change]:
    """Yield what differs between the tables of each notifier; if only their order does, that."""
    was, is_ = ({one.by: one for one in terms} for terms in (before, after))
    if was == is_:
        yield Change(what=KEYS["messages"], before=", ".join(was), after=", ".join(is_))
    for by in dict.fromkeys((*was, *is_)):
        what, old, new = message_of(by), was.get(by), is_.get(by)
        if old is not None and new is not None:
            yield from _between(what, old, new, at_once=True)
        else:
            words = ["nothing" if one is None else f"tells of {_words(one.of)}" for one in (old, new)]
            yield Change(what=what, before=words[0], after=words[1])


def message_of(by: str) -> str:
    """Return what a change of what winners are told by this notifier is called."""
    return f'{KEYS["messages"]} "{by}"'


def _between(key: str, was: Any, is_: Any, *, at_once: bool) -> Iterator[Change]:
    """Yield what differs between two tables, key by key, or between two values."""
    if isinstance(was, msgspec.Struct) and isinstance(is_, msgspec.Struct):
        for name in is_.__struct_fields__:
            if getattr(was, name) != getattr(is_, name):
                yield from _between(f"{key}.{name}", getattr(was, name), getattr(is_, name), at_once=at_once)
        return
    if isinstance(was, Mapping) and isinstance(is_, Mapping):
        for name in dict.fromkeys((*was, *is_)):
            if was.get(name) != is_.get(name):
                yield from _between(f"{key}.{name}", was.get(name), is_.get(name), at_once=at_once)
        return
    before, after = _words(was), _words(is_)
    if before == after:  # they differ behind what is shown of them
        after = f"{after}, changed"
    yield Change(what=key, before=before, after=after, at_once=at_once and key not in AT_THE_START)


def _words(value: Any) -> str:
    if value is None or value == ():
        return "nothing"
    if isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct) and hasattr(value[0], "name"):
        return ", ".join(one.name for one in value)
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, msgspec.Struct):
        return ", ".join(f"{name} {_words(getattr(value, name))}" for name in value.__struct_fields__)
    if isinstance(value, Mapping):
        return ", ".join(map(str, value))
    return _shortened(str(value))


def _shortened(text: str) -> str:
    """Return the text on one line, cut where it is long; of a file that is kept in the page what it is, and a hash that
    tells another content."""
    if (file := DATA_ADDRESS.fullmatch(text)) is not None:
        content = b64decode(file["content"])
        return f"{file['kind']} of {len(content):,} bytes ({sha256(content).hexdigest()[:8]})"
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_MAX else f"{line[:SHOWN_MAX]}…"
