"""The list of the campaigns that a process has besides its first, and which of them a path names: by its id, or by the
id of a round that no other campaign has; and where what a campaign has is served.

The list is a file that commands change (`redrush.operate.campaigns`); it is looked at every `LOOK_S`.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from redrush.control.campaigns import Listing, load_served
from redrush.control.data_dir import DataDir
from redrush.control.durable_file import Stamp, stamp_of
from redrush.core.rush.campaign import Campaign
from redrush.errors import RedrushError
from redrush.gate.group.asked import Asked
from redrush.http.route import RouteFor
from redrush.http.site import Site
from redrush.http.ticket_check import TicketCheck

LOOK_S: Final = 0.25
"""How often the list is looked at, which is one `stat`."""

CAMPAIGNS: Final = b"/v1/campaigns/"
ROUNDS: Final = b"/v1/rounds/"
PAGES: Final = b"/c/"
SOUNDS: Final = b"/sounds/"
STATES: Final = b"/state/"
_STATE_END: Final = b".json"


def prefixes_of(campaign_id: str) -> tuple[bytes, bytes]:
    """Return what the paths of a campaign on a site of its own begin with: the short form, and that with its id."""
    return b"/v1", CAMPAIGNS + campaign_id.encode("ascii")


def serve_at(
    site: Site,
    campaign_id: str,
    tickets: TicketCheck,
    exact: Iterable[tuple[bytes, bytes, Asked]],
    below: Iterable[tuple[bytes, bytes, RouteFor]],
) -> None:
    """Serve a campaign's routes to whoever has a ticket that is good by `tickets`: each is a method, a path or pattern
    behind the prefixes, and a route, or what makes one."""
    exact, below = list(exact), list(below)
    for prefix in prefixes_of(campaign_id):
        for method, suffix, route in exact:
            site.add(method, prefix + suffix, route, needs_ticket=True, reads=route.reads, tickets=tickets)
        for method, suffix, route_for in below:
            site.add_below(method, prefix + suffix, route_for, tickets=tickets)


class CampaignPaths:
    """See the module. Made anew when the list changes."""

    def __init__(self, listings: Iterable[Listing] = (), own: Collection[str] = ()) -> None:
        """`own` are the rounds of the first campaign, which keep their short paths."""
        self._ids: set[str] = set()
        self._of_round: dict[str, list[str]] = {}
        for listing in listings:
            self._ids.add(listing.id)
            for one in listing.rounds:
                if one.id not in own:
                    self._of_round.setdefault(one.id, []).append(listing.id)

    def named(self, path: bytes) -> tuple[str, bytes] | None:
        """Return the id of the campaign that a path names, and the path in it; None if it names none of the list."""
        if path.startswith(CAMPAIGNS):
            name, _, rest = path.removeprefix(CAMPAIGNS).partition(b"/")
            campaign_id = name.decode("ascii", "replace")
            return (campaign_id, b"/v1/" + rest) if campaign_id in self._ids else None
        if path.startswith(PAGES) or (path.startswith(STATES) and path.endswith(_STATE_END)):
            name = path.removeprefix(PAGES).removeprefix(STATES).removesuffix(_STATE_END)
            campaign_id = name.decode("ascii", "replace")
            return (campaign_id, path) if campaign_id in self._ids else None
        if path.startswith(SOUNDS):
            campaign_id = path.removeprefix(SOUNDS).partition(b"/")[0].decode("ascii", "replace")
            return (campaign_id, path) if campaign_id in self._ids else None
        if path.startswith(ROUNDS):
            name = path.removeprefix(ROUNDS).partition(b"/")[0]
            owners = self._of_round.get(name.decode("ascii", "replace"), [])
            return (owners[0], path) if len(owners) == 1 else None
        return None


class CampaignList:
    """The list of a directory, as a process follows it."""

    def __init__(self, data_dir: DataDir, first: Callable[[], Campaign], log: Any) -> None:
        """`first` returns the campaign that the process began with: its rounds keep their short paths."""
        self.paths = CampaignPaths()
        """What the paths of who was on it are."""
        self._data_dir = data_dir
        self._first = first
        self._log = log
        self._seen: Stamp | None = None

    def has_changed(self) -> bool:
        """Whether it was written since it was read."""
        return stamp_of(self._data_dir.campaign_list) != self._seen

    def load(self) -> dict[str, Listing]:
        """Return who is on it now, by id. Raises RedrushError if it cannot be read."""
        self._seen = stamp_of(self._data_dir.campaign_list)
        listings = load_served(self._data_dir)
        self.paths = CampaignPaths(listings.values(), {round_.id for round_ in self._first().rounds})
        return listings

    def read(self) -> dict[str, Listing] | None:
        """Return the same; None if it cannot be read, which is logged: those that are known go on."""
        try:
            return self.load()
        except RedrushError as fault:
            self._log.error("the list of campaigns cannot be read, those that are known go on", fault=str(fault))
            return None
