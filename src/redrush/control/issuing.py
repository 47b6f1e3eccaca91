"""Issuing tickets for the users of an event."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from redrush.control.campaigns import first_beside
from redrush.control.data_dir import DataDir
from redrush.control.event import load_campaign
from redrush.control.keys import load_or_create_keys
from redrush.control.urls import base_url
from redrush.control.user_list import read_users, users_of
from redrush.core.identity.tickets import KeyRing, sign_ticket
from redrush.core.identity.user_ids import checked_user
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.durations import parse_duration_us
from redrush.core.rush.instants import rfc3339_s
from redrush.errors import ConfigError

AFTER_THE_LAST_ROUND_S: Final = 3_600
"""How long tickets last beyond the last round unless told otherwise: winners look at what they have won."""


class TicketPlan(msgspec.Struct, frozen=True):
    """Tickets that can all be issued: everybody in it has a valid id."""

    users: tuple[str, ...]
    file: Path | None
    ring: KeyRing
    expires_s: int
    proven: bool
    warnings: tuple[str, ...]
    links: str | None = None
    """The page that people open with their tickets; None: tickets alone."""

    def lines(self) -> Iterator[str]:
        """Yield "user<TAB>ticket", or link, for each of `users` and each line of the file."""
        for user in self.users:
            yield self._line(user)
        if self.file is not None:
            for _, user in users_of(self.file):
                yield self._line(user)

    def _line(self, user: str) -> str:
        ticket = sign_ticket(self.ring, user, self.expires_s, proven=self.proven)
        return f"{user}\t{ticket if self.links is None else link_of(self.links, ticket)}"


def link_of(page: str, ticket: str) -> str:
    """Return the link that opens the page with the ticket. It stands in the fragment, which no browser sends and no
    proxy logs; the page takes it out of the address at once."""
    root = "" if urlsplit(page).path else "/"
    return f"{page}{root}#ticket={quote(ticket, safe='')}"


def plan_tickets(  # noqa: PLR0913 - for whom, how long, and in which form
    data_dir: DataDir,
    users: Sequence[str],
    users_file: Path | None,
    ttl: str | None,
    now_s: int,
    *,
    proven: bool = False,
    list_name: str | None = None,
    links: str | None = None,
) -> TicketPlan:
    """Return the tickets of `users` and of each line of `users_file`, valid for `ttl` from `now_s` (seconds since the
    epoch); without `ttl` until an hour after the last round closes.

    `proven` tickets are good at once where the campaign asks for proof of work; others must be exchanged there.
    `links`: the address of the page that is opened with them.
    `list_name` stands for the file in what is told of it. Makes the keys if the directory has none yet. ConfigError,
    before anything is issued, for a directory that holds no campaign, a bad user id (with its line), a bad duration, or
    a file that cannot be read.
    """
    if not users and users_file is None:
        raise ConfigError("nobody to issue tickets for: give --user U or --users FILE")
    expires_s, warnings = _expiry(load_campaign(data_dir), ttl, now_s)
    names = tuple(map(_named, users))
    if users_file is not None:
        survey = read_users(users_file, with_lines=True, name=list_name).survey
        if survey.users == 0:
            warnings.append(f"{list_name or users_file}: nobody is on the list")
        warnings += [f"{list_name or users_file}: {doubt}" for doubt in survey.warnings()]
    ring = load_or_create_keys(data_dir).tickets
    page = None if links is None else base_url("--links", links)
    if page is not None:
        warnings += _page_of_another(data_dir, page)
    return TicketPlan(names, users_file, ring, expires_s, proven, tuple(warnings), page)


def _page_of_another(data_dir: DataDir, page: str) -> list[str]:
    """Return a warning where the links of a campaign that was added to others lead to the root of a server: that is the
    page of the first one, where its tickets are good for nothing."""
    if urlsplit(page).path or first_beside(data_dir) == data_dir:
        return []
    return [
        f"--links {page}: on the server that serves this campaign beside others, that is the page of the first one; "
        f"this one's is {page}/c/{data_dir.root.resolve().name}"
    ]


def _named(user: str) -> str:
    try:
        return checked_user(user)
    except ValueError as fault:
        raise ConfigError(f"--user: {fault}") from None


def _expiry(campaign: Campaign, ttl: str | None, now_s: int) -> tuple[int, list[str]]:
    """Return when tickets expire, and what is to be said about that."""
    last = max(campaign.rounds, key=lambda round_: round_.closes_us)
    closes_s = -(-last.closes_us // 1_000_000)
    closes = f"the last round, {last.id}, closes at {rfc3339_s(closes_s)}"
    if ttl is None:
        expires_s = max(closes_s, now_s) + AFTER_THE_LAST_ROUND_S
    else:
        try:
            expires_s = now_s + parse_duration_us(ttl) // 1_000_000
        except ValueError as fault:
            raise ConfigError(f"--ttl: {fault}") from None
    if closes_s <= now_s:
        return expires_s, [f"{closes}, which is over: these tickets can win nothing any more"]
    if expires_s < closes_s:
        return expires_s, [
            f"the tickets end at {rfc3339_s(expires_s)}, but {closes}: whoever asks in between is refused; "
            "without --ttl they last until an hour after it"
        ]
    return expires_s, []
