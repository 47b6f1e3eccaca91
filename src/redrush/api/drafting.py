"""Campaigns being written and served: drafts by whoever steers, and what adding, amending and ending one does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.api.access import Actor
from redrush.api.diary import Diary, Line
from redrush.api.seals import Refused
from redrush.api.steering import IN_THE_CONSOLE
from redrush.control.data_dir import DataDir
from redrush.control.event import load_campaign
from redrush.control.written import load_written
from redrush.errors import RedrushError
from redrush.operate.campaigns import (
    Amended,
    add_campaign,
    change_campaign,
    directory_of_campaign,
    end_campaign,
    how_the_first_ends,
    list_campaigns,
)
from redrush.operate.draft_form import set_value
from redrush.operate.drafts import Checked, Drafts, Uploaded, edition_of, id_in
from redrush.operate.switching import Holder

WRITE: Final = "write draft"
DRAFT_CHANGED: Final = "the draft was changed since you looked, so nothing was done; look at what it would do now"


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a draft that was to be served."""

    campaign: str
    new: bool
    changes: list[dict[str, Any]]
    """Of a campaign that is served already: what the draft changes, or would."""
    done: bool
    doubts: list[str]
    seen: str
    """Names the draft as it was: who says so with `yes` lets that be served, and nothing that was written since."""


class Drafting:
    """See the module."""

    def __init__(self, data_dir: DataDir, deploy: Path | None, diary: Diary, now_us: Callable[[], int]) -> None:
        self.drafts = Drafts(data_dir)
        self._data_dir = data_dir
        self._deploy = deploy
        self._diary = diary
        self._now_us = now_us

    def known(self) -> list[str]:
        """Return the ids of all campaigns, those that were ended too."""
        return [one["campaign"] for one in list_campaigns(self._data_dir)]

    def begin(self, actor: Actor, name: str, kind: str, of: str | None = None) -> str:
        """Begin a draft from the template of a kind, or as a copy of another one (`of`); return its text. ConfigError
        for what there is not, and a name that is taken."""
        noted = self._diary.noting(actor.name, "begin draft", name, actor.address)
        return self.drafts.begin(name, kind, noted) if of is None else self.drafts.clone(name, of, noted)

    def write(self, actor: Actor, name: str, text: str, seen: str | None) -> str:
        """Keep another text in place of the edition that was `seen` (None: of whichever is there), and return it as it
        is kept. ConfigError if there is no such draft, or it is too long; WrittenMeanwhile if somebody has kept another
        one since, which stays."""
        return self._write(actor, name, text.replace("\r\n", "\n"), seen, name)

    async def set_value(self, actor: Actor, name: str, path: str, value: str, seen: str | None) -> str:
        """Keep another value at a key of the text; otherwise as `write`. ConfigError if there is no such key, too."""
        text = self.drafts.check_seen(name, seen)
        changed = await asyncio.to_thread(set_value, text, path, value)
        return self._write(actor, name, changed, edition_of(text), f"{name}: {path}")

    def _write(self, actor: Actor, name: str, text: str, seen: str | None, about: str) -> str:
        if text == self.drafts.read(name):
            return text  # whoever has kept it, it is there
        self.drafts.check_seen(name, seen)
        self.drafts.write(name, text, self._diary.noting(actor.name, WRITE, about, actor.address))
        return text

    def remove(self, actor: Actor, name: str, seen: str | None) -> None:
        """Remove a draft with its lists. ConfigError and WrittenMeanwhile as for `write`."""
        self.drafts.check_seen(name, seen)
        self.drafts.remove(name, self._diary.noting(actor.name, "remove draft", name, actor.address))

    async def upload(self, actor: Actor, name: str, file: str, pieces: AsyncIterator[bytes]) -> Uploaded:
        """Keep a list beside a draft, and say what is in it. ConfigError as `Drafts.take`."""
        noted = self._diary.noting(actor.name, "upload", f"{name}: {file}", actor.address)
        return await self.drafts.take(name, file, pieces, noted)

    def is_served(self, text: str) -> bool:
        """Return whether the campaign of its id is served by this very text, so that it is kept elsewhere, too."""
        try:
            directory = directory_of_campaign(self._data_dir, id_in(text))
            written = None if directory is None else load_written(directory)
        except RedrushError:
            return False  # what cannot be read is no copy of anything
        return written is not None and written.text.replace("\r\n", "\n") == text

    def last_written(self, name: str) -> Line | None:
        """Return the entry of the log of when a draft was written last, None if it says so no more."""
        return next(
            (one for one in reversed(self._diary.lines())
             if one.what == WRITE and (one.about == name or one.about.startswith(f"{name}: "))),
            None,
        )  # fmt: skip

    async def check(self, name: str) -> Checked:
        """Return what a draft would do, or what is wrong with it."""
        return await asyncio.to_thread(self.drafts.check, name, self._now_us())

    async def base(self, name: str, seen: str | None) -> str:
        """Return what names a draft with its lists. Refused if that is not what was `seen` (None: whatever it is)."""
        base = await asyncio.to_thread(self.drafts.base, name)
        if seen not in {None, base}:
            raise Refused(409, DRAFT_CHANGED)
        return base

    async def place(self, actor: Actor, name: str, why: str, *, yes: bool, seen: str | None = None) -> Placed:
        """Let a draft be served: as a new campaign, or as an amendment of the one that has its id. Without `yes` only
        told. ConfigError for what is wrong with it, or cannot be amended; Refused if it is not what was `seen`."""
        file = await asyncio.to_thread(self.drafts.load, name)
        base = await self.base(name, seen if yes else None)
        holder = Holder(said=IN_THE_CONSOLE, by=actor.name)
        known = self.known()
        noted = self._diary.noting(actor.name, "serve draft", name, actor.address, why=why)
        if file.id in known:
            amended: Amended = await asyncio.to_thread(
                change_campaign, file, self._data_dir, holder, why, yes=yes, noted=noted
            )
            changes = [msgspec.to_builtins(one) for one in amended.changes]
            return Placed(campaign=file.id, new=False, changes=changes, done=amended.done, doubts=[], seen=base)
        checked = await self.check(name)
        if not yes:
            return Placed(campaign=file.id, new=True, changes=[], done=False, doubts=checked.warnings, seen=base)
        added = await asyncio.to_thread(add_campaign, file, self._data_dir, holder, why, None, self._deploy, noted)
        return Placed(
            campaign=added.campaign, new=added.new, changes=[], done=True, doubts=list(added.doubts), seen=base
        )

    async def clone(self, actor: Actor, name: str, of: str, opens: str) -> str:
        """Begin a draft as a copy of a campaign that is served, or was, whose first round opens then; return its text.
        ConfigError where there is no such campaign, or it cannot be copied."""
        known = self._listed(of)
        noted = self._diary.noting(actor.name, "clone campaign", f"{of} as {name}", actor.address)
        return await asyncio.to_thread(self.drafts.clone_served, name, DataDir(Path(known["directory"])), opens, noted)

    def _listed(self, campaign: str) -> dict[str, Any]:
        """Return what is told of a campaign that is served, or was. Refused for none such."""
        found = next((one for one in list_campaigns(self._data_dir) if one["campaign"] == campaign), None)
        if found is None:
            raise Refused(404, f'there is no campaign "{campaign}"')
        return found

    async def end(self, actor: Actor, campaign: str, typed: str, why: str) -> None:
        """Serve a campaign no more. Refused where none such is served, unless its id was typed, and for the first."""
        ended_at = self._listed(campaign)["ended_at"]
        if ended_at is not None:
            raise Refused(409, f'campaign "{campaign}" was ended at {ended_at}')
        if typed.strip() != campaign:
            raise Refused(400, f'type "{campaign}" to end it: nobody can win in it any more')
        if campaign == load_campaign(self._data_dir).id:
            raise Refused(409, how_the_first_ends(campaign, self._data_dir))
        self._diary.note(actor.name, "end campaign", campaign, why, actor.address)
        holder = Holder(said=IN_THE_CONSOLE, by=actor.name)
        await asyncio.to_thread(end_campaign, campaign, self._data_dir, holder, why, yes=True)
