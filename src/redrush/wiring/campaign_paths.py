"""Which campaign of a list a path names: by its id, or by the id of a round that no other campaign has; and where what
a campaign has is served."""

from collections.abc import Collection, Iterable
from typing import Final

from redrush.control.campaigns import Listing
from redrush.gate.group.asked import Asked
from redrush.http.route import RouteFor
from redrush.http.site import Site
from redrush.http.ticket_check import TicketCheck

CAMPAIGNS: Final = b"/v1/campaigns/"
ROUNDS: Final = b"/v1/rounds/"
PAGES: Final = b"/c/"
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
        if path.startswith(ROUNDS):
            name = path.removeprefix(ROUNDS).partition(b"/")[0]
            owners = self._of_round.get(name.decode("ascii", "replace"), [])
            return (owners[0], path) if len(owners) == 1 else None
        return None
