"""The campaigns that a deployment has besides its first, in each of its roles: taken up and ended while it runs.

A role process is one role for each campaign: each over parts of the sets that are that campaign's alone, with its own
switches, wardens, recorders, keys (`redrush.config.hosted`). They share the process, its ports and its clock. What
comes to the ports of the first for another campaign is answered by the site of that one's role.

The list is in the directory of the event. Where machines have copies of that, it is copied last.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from redrush.config.hosted import deployment_beside
from redrush.control.campaigns import Listing, directory_of
from redrush.control.data_dir import DataDir
from redrush.core.steering import figures
from redrush.core.steering.figure import Value
from redrush.gate.page_view import MOMENT, NO_CAMPAIGN
from redrush.http import answers
from redrush.http.reader import Request
from redrush.http.site import Found, Site
from redrush.wiring.amended_role import AmendedRole
from redrush.wiring.campaign_paths import LOOK_S, PAGES, CampaignList
from redrush.wiring.role import Role, Surroundings, surroundings
from redrush.wiring.steering import control_site

RETRY_S: Final = 2.0
"""After a campaign that could not be taken up, before it is tried again."""
LINGER_S: Final = 10.0
"""How long who serves nobody goes on after a campaign's end: for the last that gates have granted of it."""
HOSTED_MAX: Final = 64
"""Campaigns besides the first that a role serves: each has connections to every set, and tasks of its own."""

OF_CAMPAIGN: Final = frozenset({
    figures.CLAIMS.name, figures.BATCHES.name, figures.RECORDS_BEHIND.name, figures.RECORDS_BEHIND_SECONDS.name,
    figures.RECONCILE_PROBLEMS.name, figures.RECONCILE_BEHIND.name, figures.RECONCILE_UNSWEPT.name,
})  # fmt: skip
"""What is told of each campaign; all else is the process's, or the same for all."""

_BEING_TAKEN_UP: Final = answers.problem(503, "this campaign is being taken up; ask again", "Retry-After: 1\r\n")

MakeHosted = Callable[[Surroundings, Listing], Role | None]
"""Makes the role of a campaign; None: this process has nothing to do for it."""


class _Hosted:
    """One campaign in this process."""

    def __init__(self, listing: Listing, role: Role, control: Site) -> None:
        self.listing = listing
        self.role = role
        self.control = control
        self.watch: asyncio.Task[None] | None = None


class HostedRoles:
    """See the module. Made before the first campaign's role starts, so that nobody is told that a campaign does not
    exist; `begin` when it has started; then `run` it as a task; then `stop`."""

    def __init__(self, around: Surroundings, first: AmendedRole, make: MakeHosted) -> None:
        self._around = around
        self._first = first
        self._make = make
        self._data_dir = around.data_dir
        self._hosted: dict[str, _Hosted] = {}
        self._list = CampaignList(around.data_dir, lambda: first.around.sealed.campaign, around.log)
        self._list.load()
        self._retry_at_s: float | None = None
        self._ending: set[asyncio.Task[None]] = set()
        first.beside, first.elsewhere = self.roles, self.find

    async def begin(self, control: Site) -> None:
        """Take up who is on the list, and answer for them on the ports of the first."""
        await self._look()
        control.elsewhere = self.find_control

    async def run(self) -> None:
        """Follow the list for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            is_due = self._retry_at_s is not None and asyncio.get_running_loop().time() >= self._retry_at_s
            if is_due or self._list.has_changed():
                await self._look()

    async def stop(self) -> None:
        """End all. The first has ended: nobody is served any more."""
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        await asyncio.gather(*(self._end(one, 0.0) for one in self._hosted.values()))

    def roles(self) -> list[Role]:
        """Return the roles of the campaigns besides the first."""
        return [one.role for one in self._hosted.values()]

    # -- requests

    def find(self, request: Request) -> Found | None:
        """Return what serves a participant's request; None if it is for no campaign of the list."""
        if (named := self._named(request)) is None:
            return NO_CAMPAIGN if request.path.startswith(PAGES) else None
        hosted, path = named
        if hosted is None:
            return MOMENT if path.startswith(PAGES) else _BEING_TAKEN_UP  # a person looks at the page
        site = hosted.role.site
        assert site is not None
        assert self._first.site is not None
        return site.serve_for(self._first.site, request, path)

    def find_control(self, request: Request) -> Found | None:
        """Return what serves the request of an operator or another role about a campaign of the list."""
        if (named := self._named(request)) is None:
            return None
        hosted, path = named
        if hosted is None:
            return _BEING_TAKEN_UP
        # Whose token it is, and whether it is good still, is looked up each time.
        return hosted.control.serve_for(hosted.control, request, path, once=True)

    def _named(self, request: Request) -> tuple[_Hosted | None, bytes] | None:
        """Return the campaign that a path names, None while it is taken up, and the path in it."""
        named = self._list.paths.named(request.path)
        return None if named is None else (self._hosted.get(named[0]), named[1])

    def readings(self) -> Iterator[Value]:
        """Yield how many campaigns there are besides the first, and of each its claims, records and reconciliation."""
        yield figures.CAMPAIGNS(len(self._hosted), "awake")
        for campaign, hosted in self._hosted.items():
            for one in hosted.role.readings():
                if one.figure.name in OF_CAMPAIGN:
                    yield one.of_campaign(campaign)

    # -- the list

    async def _look(self) -> None:
        """Take up what is new on the list, and end what has ended."""
        self._retry_at_s = None
        if (listings := self._list.read()) is None:
            return
        for gone in [one for name, one in self._hosted.items() if name not in listings]:
            del self._hosted[gone.listing.id]
            self._around.log.info("a campaign was ended", campaign=gone.listing.id)
            self._end_later(gone)
        self._forget_heads()
        new, room = [one for name, one in listings.items() if name not in self._hosted], HOSTED_MAX - len(self._hosted)
        for left_out in new[room:]:
            self._around.log.error(
                f"a campaign is not served: a stack serves {HOSTED_MAX} besides the first; end some with `redrush "
                "campaign end`",
                campaign=left_out.id,
            )
        await asyncio.gather(*(self._take_up(one) for one in new[:room]))

    def _forget_heads(self) -> None:
        """Let nobody's next request go where their last one went: what a path leads to may have changed."""
        if self._first.site is not None:
            self._first.site.forget_heads()

    async def _take_up(self, listing: Listing) -> None:
        log = self._around.log
        role: Role | None = None
        try:
            own = directory_of(self._data_dir, listing.id).root
            deployment = deployment_beside(self._around.deployment, listing.id, own, listing.sets)
            around = await asyncio.to_thread(surroundings, deployment, self._around.control, self._around.clock)
            made = self._make(around, listing)
            if made is None:
                return
            role = AmendedRole(around, made, lambda now: self._make(now, listing))
            used = DataDir(around.deployment.control.notes).operators_used
            hosted = _Hosted(listing, role, control_site(around.data_dir, used, around.clock.now_us))
            await role.start(hosted.control)
        except Exception as fault:  # noqa: BLE001 - one campaign that cannot be opened must not take the others along
            log.error("a campaign cannot be taken up, the others go on", campaign=listing.id, fault=str(fault))
            self._retry_at_s = asyncio.get_running_loop().time() + RETRY_S
            if role is not None:
                await role.stop()
            return
        hosted.watch = asyncio.create_task(self._watch(hosted), name=f"campaign {listing.id}")
        self._hosted[listing.id] = hosted
        self._forget_heads()
        log.info("a campaign was taken up", campaign=listing.id)

    async def _watch(self, hosted: _Hosted) -> None:
        """A campaign that can go on no more is ended here, and taken up anew after a while."""
        try:
            await hosted.role.failed()
        except Exception as fault:  # noqa: BLE001 - see above
            name = hosted.listing.id
            self._around.log.error("a campaign broke off, the others go on", campaign=name, fault=str(fault))
            if self._hosted.get(name) is hosted:
                del self._hosted[name]
                self._retry_at_s = asyncio.get_running_loop().time() + RETRY_S
                hosted.watch = None
                self._forget_heads()
                await hosted.role.stop()

    def _end_later(self, hosted: _Hosted) -> None:
        linger_s = LINGER_S if self._first.site is None else 0.0
        task = asyncio.create_task(self._end(hosted, linger_s), name=f"ending {hosted.listing.id}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, hosted: _Hosted, linger_s: float) -> None:
        try:
            await asyncio.sleep(linger_s)
        finally:
            if hosted.watch is not None:
                hosted.watch.cancel()
            await hosted.role.stop()
