"""Which campaign of a list a path names: by its id, or by the id of a round that no other campaign has."""

from collections.abc import Collection, Iterable
from typing import Final

from redrush.control.campaigns import Listing

CAMPAIGNS: Final = b"/v1/campaigns/"
ROUNDS: Final = b"/v1/rounds/"
PAGES: Final = b"/c/"
STATES: Final = b"/state/"
_STATE_END: Final = b".json"


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
