"""The campaigns that a server has besides its first: awake while they have a round, asleep at all other times.

Asleep, a campaign is a line of the list: no gate, no open file, no task, nothing per second. It wakes `AHEAD_S` before
a round opens, when somebody asks for it, who is told to ask again, or when a payment has ended that it began before it
fell asleep; and it sleeps again when nothing is open, all is recorded, no packet or order is under way, nobody is to be
paid or told unasked, and nobody has asked for `IDLE_S`.
After a start whoever may have something left to do is woken, few at a time (`redrush.wiring.undone`). It is reached at
`/v1/campaigns/ID/…`, and at `/v1/rounds/ROUND` where no other campaign has a round of that id. Requests come to the
site of the first campaign; that of the campaign answers them, with its own tickets: what is good in one campaign is
nothing in another.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from typing import Any, Final

from redrush.control.campaigns import Listing, directory_of
from redrush.control.data_dir import DataDir
from redrush.core.load.loop_share import LoopShare
from redrush.core.rush.phase import SteadyClock
from redrush.core.steering import figures
from redrush.core.steering.figure import Value
from redrush.errors import RedrushError
from redrush.gate.page_view import MOMENT, NO_CAMPAIGN
from redrush.http import answers
from redrush.http.reader import Request
from redrush.http.site import Found, Site
from redrush.wiring.campaign_paths import CAMPAIGNS, LOOK_S, PAGES, CampaignList
from redrush.wiring.control_tls import Shown
from redrush.wiring.embedded_event import EmbeddedEvent
from redrush.wiring.readings import rounds_figures
from redrush.wiring.steering import control_site
from redrush.wiring.undone import was_served

AHEAD_S: Final = 60.0
"""How long before an opening a campaign is awake."""
IDLE_S: Final = 60.0
"""How long nobody may have asked for a campaign that falls asleep."""
ASKED_MAX: Final = 64
"""Campaigns without a round now that are awake because somebody asked: each has open files and two threads."""
CAMPAIGNS_TOLD_MAX: Final = 64
"""Awake campaigns with metrics of their own, the first to wake: each is some thirty series. All are in the log."""
RETRY_S: Final = 5.0
"""After a wake-up that failed, before the next one is tried."""

OWNERS_S: Final = 1.0
"""How often it is looked whose payments have ended."""
CALL_AGAIN_S: Final = 60.0
"""How long after a campaign was woken for a payment it is not woken for one again."""

UNDONE_WOKEN_MAX: Final = 4
"""Campaigns that are opened at once before one is that only may have something left to do."""

OpenHosted = Callable[[DataDir], Awaitable[EmbeddedEvent]]
LeftUndone = Callable[[DataDir], bool]
"""Whether the campaign of a directory, which is not open, may have something to do by itself. Blocks."""
Absent = Callable[[], Awaitable[set[str]]]
"""Returns the campaigns of which a payment has ended, and nobody is here to hear of it. Raises RedrushError."""

_BEING_OPENED = answers.problem(503, "this campaign sleeps and is being woken up; ask again", "Retry-After: 1\r\n")
_TOO_MANY = answers.problem(503, "too many campaigns are awake; ask again later", "Retry-After: 5\r\n")


class _Hosted:
    """One campaign of the list."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.event: EmbeddedEvent | None = None
        self.control: Site | None = None
        self.asked_s = float("-inf")
        self.listened_s = float("-inf")
        """When heads were forgotten last, so that whoever asks is seen."""
        self.failed_s = float("-inf")
        self.called_s = float("-inf")
        self.waking: asyncio.Task[None] | None = None
        self.closing: asyncio.Task[None] | None = None

    def may_wake(self, now_s: float) -> bool:
        """Whether it sleeps, is closed whole, and has not failed to be opened just now."""
        sleeps = self.event is None and self.waking is None and self.closing is None
        return sleeps and now_s - self.failed_s >= RETRY_S

    def is_due(self, now_us: int) -> bool:
        """Whether a round is open, or opens soon."""
        return self.listing.near(now_us, int(AHEAD_S * 1e6)) is not None


class Hosting:
    """See the module. `find` and `find_control` are called for paths that the first campaign does not have."""

    def __init__(
        self,
        data_dir: DataDir,
        first: EmbeddedEvent,
        clock: SteadyClock,
        open_hosted: OpenHosted,
        left_undone: LeftUndone,
        absent: Absent,
        log: Any,
    ) -> None:
        self.control: tuple[str, int | None, Shown | None] = ("", None, None)
        """Where the control port is, for the directories of the campaigns."""
        self._data_dir = data_dir
        self._first = first
        self._clock = clock
        self._open = open_hosted
        self._left_undone = left_undone
        self._absent = absent
        self._log = log
        self._hosted: dict[str, _Hosted] = {}
        self._list = CampaignList(data_dir, lambda: first.sealed.campaign, log)
        self._awake: dict[str, _Hosted] = {}
        self._undone: dict[str, _Hosted] = {}
        """Who may have something left to do, since an earlier process or a payment, until that is known, or done."""
        self._ending: set[asyncio.Task[None]] = set()
        self._next_due_us = 0
        self._owners_s = float("-inf")
        """When it was looked last whose payments have ended."""
        self._look()

    # -- requests

    def find(self, request: Request) -> Found | None:
        """Return what serves a participant's request; None if it is for no campaign of the list."""
        site = self._first.gate.site
        if (own := self._of_first(request)) is not None:
            return site.serve_for(site, request, own)
        if (found := self._named(request.path)) is None:
            return NO_CAMPAIGN if request.path.startswith(PAGES) else None
        hosted, path = found
        event = self._awake_event(hosted)
        if event is _BEING_OPENED and path.startswith(PAGES):
            return MOMENT  # a person looks at it
        return event if isinstance(event, bytes) else event.gate.site.serve_for(site, request, path)

    def find_control(self, request: Request) -> Found | None:
        """Return what serves an operator's request about a campaign of the list. One that sleeps has nothing here: its
        commands do what they do without a server."""
        if (found := self._named(request.path)) is None or found[0].control is None:
            return None
        hosted, path = found
        hosted.asked_s = asyncio.get_running_loop().time()
        assert hosted.control is not None
        # Whose token it is, and whether it is good still, is looked up each time.
        return hosted.control.serve_for(self._first.gate.site, request, path, once=True)

    def _of_first(self, request: Request) -> bytes | None:
        """Return the short path of a request that names the first campaign by its id."""
        prefix = CAMPAIGNS + self._first.sealed.campaign.id.encode("ascii") + b"/"
        return b"/v1/" + request.path.removeprefix(prefix) if request.path.startswith(prefix) else None

    def _named(self, path: bytes) -> tuple[_Hosted, bytes] | None:
        """Return the campaign that a path names, and the path in it."""
        named = self._list.paths.named(path)
        return None if named is None else (self._hosted[named[0]], named[1])

    def _awake_event(self, hosted: _Hosted) -> EmbeddedEvent | bytes:
        now_s = hosted.asked_s = asyncio.get_running_loop().time()
        if hosted.event is not None:
            return hosted.event
        if hosted.may_wake(now_s):
            if len(self._awake) >= ASKED_MAX:
                return _TOO_MANY
            self._wake(hosted)
        return _BEING_OPENED

    # -- time

    async def run(self) -> None:
        """Follow the list, wake who is due, and let sleep who is idle, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._list.has_changed():
                self._look()
            await self._call_owners()
            self._wake_and_rest()

    def tick(self) -> None:
        """Renew what is prebuilt of who is awake. Every second."""
        for hosted in self._awake.values():
            if hosted.event is not None:
                hosted.event.tick()

    def beat(self, late_s: float, loop: LoopShare) -> float:
        """See to the admission of who is awake; returns how many seconds shall lie between the beats."""
        pauses_s = [hosted.event.gate.beat(late_s, loop) for hosted in self._awake.values() if hosted.event is not None]
        return min(pauses_s, default=float("inf"))

    def readings(self) -> Iterator[Value]:
        """Yield how many campaigns there are, and of those that are awake their answers, records and reconciliation."""
        awake = sum(hosted.event is not None for hosted in self._awake.values())
        for state, count in (("awake", awake), ("asleep", len(self._hosted) - awake)):
            yield figures.CAMPAIGNS(count, state)
        for campaign in list(self._awake)[:CAMPAIGNS_TOLD_MAX]:
            event = self._awake[campaign].event
            if event is not None:
                for one in (*rounds_figures(event.gate), *event.readings()):
                    yield one.of_campaign(campaign)

    async def stop(self) -> None:
        """Close everything that is awake. Nobody is served any more by now."""
        waking = [hosted.waking for hosted in self._hosted.values() if hosted.waking is not None]
        await asyncio.gather(*waking, return_exceptions=True)
        await asyncio.gather(*self._ending, return_exceptions=True)
        for hosted in tuple(self._awake.values()):
            self._let_sleep(hosted)
        await asyncio.gather(*self._ending)

    def _wake_and_rest(self) -> None:
        now_us, now_s = self._clock.now_us(), asyncio.get_running_loop().time()
        for hosted in (*self._due(now_us), *self._next_undone(now_s)):
            if hosted.may_wake(now_s):
                self._wake(hosted)
        for hosted in tuple(self._awake.values()):
            event = hosted.event
            idle = event is not None and now_s - hosted.asked_s >= IDLE_S and not hosted.is_due(now_us)
            if now_s - hosted.asked_s >= IDLE_S / 2 and hosted.listened_s < hosted.asked_s:
                # Whoever asks by a head that is remembered is not seen here.
                hosted.listened_s = now_s
                self._first.gate.site.forget_heads()
            # Whoever claims keeps a round of the gate awake.
            busy = event is not None and (event.recorder.lag or event.gate.gauge.parked or event.gate.awake)
            if idle and not busy and not self._has_unsettled(event):
                self._let_sleep(hosted)

    async def _call_owners(self) -> None:
        """Have those woken of which a payment has ended while they slept: they alone know what it was for."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._owners_s < OWNERS_S:
            return
        self._owners_s = now_s
        with contextlib.suppress(RedrushError):  # the payments, which read the same book, tell of it
            for name in await self._absent():
                hosted = self._hosted.get(name)
                if hosted is not None and hosted.event is None and now_s - hosted.called_s >= CALL_AGAIN_S:
                    hosted.called_s = now_s
                    self._undone[name] = hosted

    def _next_undone(self, now_s: float) -> list[_Hosted]:
        """Return a few of those that may have something left to do."""
        waking = sum(hosted.waking is not None for hosted in self._awake.values())
        able = (hosted for hosted in self._undone.values() if hosted.may_wake(now_s))
        return list(islice(able, max(0, UNDONE_WOKEN_MAX - waking)))

    def _has_unsettled(self, event: EmbeddedEvent | None) -> bool:
        """Whether it has something to do by itself, see there; where nobody knows, it may have."""
        try:
            return event is not None and event.has_unsettled()
        except RedrushError:
            return True

    def _due(self, now_us: int) -> list[_Hosted]:
        """Return who has a round now or soon. Looked up only when the next instant of anybody has come."""
        if now_us < self._next_due_us:
            return []
        due = [hosted for hosted in self._hosted.values() if hosted.is_due(now_us)]
        ahead_us = int(AHEAD_S * 1e6)
        openings_us = (one.opens_us - ahead_us for hosted in self._hosted.values() for one in hosted.listing.rounds)
        if all(hosted.event is not None for hosted in due):
            self._next_due_us = min((at_us for at_us in openings_us if at_us > now_us), default=_NEVER_US)
        return due

    # -- the list

    def _look(self) -> None:
        """Take up what is new on the list, and let go of what has been ended."""
        is_first = not self._hosted
        if (listings := self._list.read()) is None:
            return
        for gone in [hosted for name, hosted in self._hosted.items() if name not in listings]:
            del self._hosted[gone.listing.id]
            self._undone.pop(gone.listing.id, None)
            self._let_sleep(gone)
            self._log.info("a campaign was ended", campaign=gone.listing.id)
        for name, listing in listings.items():
            if name in self._hosted:
                self._hosted[name].listing = listing
            else:
                self._hosted[name] = _Hosted(listing)
                if not is_first:
                    self._log.info("a campaign was taken up", campaign=name)
        for hosted in self._hosted.values() if is_first else ():
            if was_served(directory_of(self._data_dir, hosted.listing.id)):
                self._undone[hosted.listing.id] = hosted
        if is_first and listings:
            self._log.info("campaigns besides the first were taken up", campaigns=len(listings))
        self._next_due_us = 0
        self._first.gate.site.forget_heads()  # whose a short path is may have changed

    # -- waking

    def _wake(self, hosted: _Hosted) -> None:
        self._awake[hosted.listing.id] = hosted
        hosted.waking = asyncio.create_task(self._woken(hosted), name=f"waking {hosted.listing.id}")

    async def _woken(self, hosted: _Hosted) -> None:
        name = hosted.listing.id
        data_dir = directory_of(self._data_dir, name)
        try:
            if name in self._undone and not await self._is_wanted(hosted, data_dir):
                self._undone.pop(name, None)
                self._awake.pop(name, None)
                return
            event = await self._open(data_dir)
        except Exception as fault:  # noqa: BLE001 - one campaign that cannot be opened must not take the others along
            self._log.error("a campaign cannot be opened, the others go on", campaign=name, fault=str(fault))
            hosted.failed_s = asyncio.get_running_loop().time()
            self._awake.pop(name, None)
        else:
            hosted.control = self._control_site(data_dir, event)
            if name not in self._undone:  # else it sleeps again as soon as all is done
                hosted.asked_s = asyncio.get_running_loop().time()
            hosted.event = event
            event.steering.announce(*self.control, prefix=f"/v1/campaigns/{name}")
            if self._hosted.get(name) is not hosted:  # ended meanwhile
                self._let_sleep(hosted)
        finally:
            hosted.waking = None

    async def _is_wanted(self, hosted: _Hosted, data_dir: DataDir) -> bool:
        """Whether it has something left to do, or a round; or somebody has asked for it."""
        undone = await asyncio.to_thread(self._left_undone, data_dir)
        return undone or hosted.asked_s > 0 or hosted.is_due(self._clock.now_us())

    def _control_site(self, data_dir: DataDir, event: EmbeddedEvent) -> Site:
        site = control_site(data_dir, data_dir.operators_used, self._clock.now_us)
        event.serve_control(site)
        return site

    def _let_sleep(self, hosted: _Hosted) -> None:
        """Serve it no more, and close it when what was accepted is decided. Only then can it be woken again."""
        self._first.gate.site.forget_heads()
        event, hosted.event, hosted.control = hosted.event, None, None
        if event is None:
            return
        if self._undone.get(hosted.listing.id) is hosted:
            del self._undone[hosted.listing.id]
        hosted.closing = asyncio.create_task(self._close(hosted, event), name=f"closing {hosted.listing.id}")
        self._ending.add(hosted.closing)
        hosted.closing.add_done_callback(self._ending.discard)

    async def _close(self, hosted: _Hosted, event: EmbeddedEvent) -> None:
        try:
            await event.steering.stop()
            await event.gate.drained()
            await event.stop()
        finally:
            hosted.closing = None
            if self._awake.get(hosted.listing.id) is hosted:
                del self._awake[hosted.listing.id]


_NEVER_US: Final = 1 << 62
