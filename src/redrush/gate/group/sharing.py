"""Shake, open, share: what a winner of a round with `[round.share]` does next.

The answer to a grab says that there is a packet, and not what is in it. It is *opened* with its id, as often as one
likes: nothing is remembered of that, so there is nothing to be lost. It is *shared* once: a group packet of the
sponsor's, whose creation has the grant's id in its name, so every repeat finds the same one. Opening needs the set of
the grant and nothing else. Sharing needs the set of the packet; in the embedded form, where that is the same one, it is
written into the book of packets too.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from redrush.core.rush.campaign import Campaign, Kind, grant_id_prefix
from redrush.core.rush.group import Packet
from redrush.core.rush.instants import http_date, rfc3339
from redrush.core.rush.packet_note import shared_packet_id
from redrush.core.rush.share import SHARE_PREFIX
from redrush.dependency import Unanswered
from redrush.gate.grants import GrantWriter
from redrush.gate.group.asked import Asked
from redrush.gate.group.parts import ServedGroup
from redrush.gate.group.routes import LATE_MAX, told_of
from redrush.gate.queries import LateAnswers, Queries, refused
from redrush.gate.rush.rush import Rush
from redrush.http import answers
from redrush.http.route import Route, Waiter
from redrush.ports.store import Claimed


class ClosedGrantWriter:
    """Writes grants that were not opened: of what they hold nothing is said, nor in a receipt."""

    def __init__(self, campaign: Campaign, round_id: str) -> None:
        self._prefix = grant_id_prefix(campaign.id, round_id)
        self._round = round_id

    def write(self, _user: str, slot: int, at_us: int) -> str:
        """Return the grant of `slot` at `at_us` (µs since the epoch) as a JSON object."""
        id_ = f"{self._prefix}{slot}"
        return (
            f'{{"id":"{id_}","round":"{self._round}","slot":{slot},"granted_at":"{rfc3339(at_us)}",'
            f'"open":"/v1/grants/{id_}/open","share":"/v1/grants/{id_}/share"}}'
        )


class SharedRound:
    """A round whose winners open and share."""

    def __init__(self, campaign: Campaign, rush: Rush, opened: GrantWriter) -> None:
        """`opened` writes a grant with all that it holds."""
        self.rush = rush
        self.opened = opened
        self.prefix = grant_id_prefix(campaign.id, rush.round.id)


Run = Callable[[SharedRound, str, int], Coroutine[Any, Any, bytes]]


class Sharing:
    """The routes of `/v1/grants/{grant}/open` and `…/share`. Not thread-safe: it lives on the event loop."""

    def __init__(
        self, queries: Queries, now_us: Callable[[], int], seed: bytes, group: Callable[[], ServedGroup | None]
    ) -> None:
        """`seed` is the campaign's; `group` returns what serves packets between people; None: nothing can be shared
        here."""
        self._seed = seed
        self.rounds: list[SharedRound] = []
        self._queries = queries
        self._now_us = now_us
        self._group = group
        self._late = LateAnswers(LATE_MAX, told_of)

    def open(self, grant: bytes) -> Route | None:
        """Return the route of `POST /v1/grants/{grant}/open`."""
        return self._of(grant, self._opened)

    def share(self, grant: bytes) -> Route | None:
        """Return the route of `POST /v1/grants/{grant}/share`."""
        return self._of(grant, self._shared)

    def _of(self, grant: bytes, run: Run) -> Asked | None:
        text = grant.decode("ascii", "replace")
        for shared in self.rounds:
            number = text.removeprefix(shared.prefix)
            if number != text and number.isdecimal():
                return Asked(partial(self._begin, run, shared, int(number)))
        return None

    def _begin(
        self, run: Run, shared: SharedRound, slot: int, waiter: Waiter, user: str, _fields: object
    ) -> bytes | None:
        return self._late.promise(waiter, run(shared, user, slot))

    async def _claim(self, shared: SharedRound, user: str, slot: int) -> Claimed | bytes:
        """Return the user's grant of this slot; or what to answer where it is not theirs, or cannot be known."""
        claimed = await self._queries.claimed_by(shared.rush.home(user), user)
        if isinstance(claimed, Unanswered):
            return refused(claimed)
        return answers.NOT_FOUND if claimed is None or claimed.slot != slot else claimed

    async def _opened(self, shared: SharedRound, user: str, slot: int) -> bytes:
        claimed = await self._claim(shared, user, slot)
        if isinstance(claimed, bytes):
            return claimed
        body = f'{{"grant":{shared.opened.write(user, claimed.slot, claimed.at_us)}}}'
        head = f"Date: {http_date(self._now_us())}\r\nCache-Control: no-store\r\n"
        return answers.answer(200, body.encode("ascii"), headers=head)

    async def _shared(self, shared: SharedRound, user: str, slot: int) -> bytes:
        claimed = await self._claim(shared, user, slot)
        if isinstance(claimed, bytes):
            return claimed
        group, terms = self._group(), shared.rush.round.share
        if group is None or terms is None:
            return answers.NOT_FOUND
        packet = Packet(
            id=shared_packet_id(self._seed, f"{shared.prefix}{slot}"),
            sender=user,
            kind=Kind.EQUAL if terms.equal else Kind.LUCKY,
            total_minor=terms.total_minor,
            count=terms.count,
            greeting=terms.greeting,
            created_us=self._now_us(),
            request=f"{SHARE_PREFIX}{shared.prefix}{slot}",
            sponsored=True,
            lasts_us=terms.expires_us,
        )
        opened = await group.share(packet)
        told = None if opened is None else await group.routes.told(user, opened)
        return answers.QUERIES_BUSY if told is None else told
