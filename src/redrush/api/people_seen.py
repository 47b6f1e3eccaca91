"""What is written down when somebody looks at people: their stories, lists of them, and tables that are taken along.

A story is noted each time. Lists that are looked through page by page are noted once in a while, by whom and of what.
A table is noted when it begins, and when it ends with how many it was about, whole or broken off: it has every grant,
one person takes one at a time, and it ends when they may not see people any more.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final

from redrush.api.access import Actor
from redrush.api.accounts import Accounts, Role
from redrush.api.diary import Diary
from redrush.api.seals import Refused
from redrush.errors import RedrushError
from redrush.operate.looking import GrantTold

READ_STORY: Final = "read story"
LISTED_EVERY_S: Final = 600
"""How often it is noted that somebody goes on looking through a list."""
LISTED_MAX: Final = 1_000
"""Lists that are known to be looked through; the oldest are forgotten, and noted again."""
TRIES_MAX: Final = 10
REST_S: Final = 3.0
"""Busy records are asked again after this, so many times: a long table is not begun anew for one page."""
TABLES_MAX: Final = 4
"""Tables that are taken at once: each asks the records for page after page."""

Page = tuple[Sequence[GrantTold], str | None]
Paged = Callable[[str], Awaitable[Page]]
"""Returns the grants after a place, and the place to go on from."""


class PeopleSeen:
    """See the module."""

    def __init__(self, accounts: Accounts, diary: Diary, now_s: Callable[[], int]) -> None:
        self._accounts = accounts
        self._diary = diary
        self._now_s = now_s
        self._listed_s: dict[tuple[str, str], int] = {}
        self._taking: set[str] = set()

    def story(self, actor: Actor, user: str) -> None:
        """Note that somebody reads a person's story."""
        self._diary.note(actor.name, READ_STORY, user, address=actor.address)

    def listed(self, actor: Actor, what: str) -> None:
        """Note that somebody looks through a list of people, unless that was noted lately."""
        now_s, key = self._now_s(), (actor.name, what)
        if now_s - self._listed_s.get(key, now_s - LISTED_EVERY_S) < LISTED_EVERY_S:
            return
        self._diary.note(actor.name, "read list", what, address=actor.address)
        self._listed_s.pop(key, None)
        self._listed_s[key] = now_s  # the newest ones last
        while len(self._listed_s) > LISTED_MAX:
            del self._listed_s[next(iter(self._listed_s))]

    async def table(
        self, actor: Actor, what: str, paged: Paged, after: str = ""
    ) -> AsyncGenerator[Sequence[GrantTold]]:
        """Begin a table of all grants after a place, and return its pages. Refused for somebody who takes one already,
        and while too many do; what `paged` raises for the first page is raised at once."""
        if actor.name in self._taking:
            raise Refused(409, "you take a table already; wait for its end, or give it up")
        if len(self._taking) >= TABLES_MAX:
            raise Refused(503, f"{TABLES_MAX} people take tables already; ask again in a moment")
        first = await paged(after)
        self._diary.note(actor.name, "begin table", f"{what}, after {after}" if after else what, address=actor.address)
        return self._pages(actor, what, paged, first)

    async def _pages(self, actor: Actor, what: str, paged: Paged, page: Page) -> AsyncGenerator[Sequence[GrantTold]]:
        count, how = 0, "broken off"
        self._taking.add(actor.name)
        try:
            while True:
                self._accounts.require_still(actor.name, Role.OPERATOR)
                rows, place = page
                yield rows
                count += len(rows)
                if place is None:
                    break
                page = await _patiently(paged, place)
            how = "whole"
        finally:
            self._taking.discard(actor.name)
            self._diary.note(actor.name, "end table", f"{what}: {count} rows, {how}", address=actor.address)


async def _patiently(paged: Paged, place: str) -> Page:
    for _ in range(TRIES_MAX - 1):
        try:
            return await paged(place)
        except RedrushError:
            await asyncio.sleep(REST_S)
    return await paged(place)
