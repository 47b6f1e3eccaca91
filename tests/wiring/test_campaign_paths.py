"""Which campaign of a list a path names."""

import pytest

from redrush.control.campaigns import Listing
from redrush.wiring.campaign_paths import CampaignPaths


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (b"/c/other", ("other", b"/c/other")),
        (b"/state/other.json", ("other", b"/state/other.json")),
        (b"/sounds/other/0123.mp3", ("other", b"/sounds/other/0123.mp3")),
        (b"/sounds/nobody/0123.mp3", None),
        (b"/v1/campaigns/other/policy", ("other", b"/v1/policy")),
        (b"/c/nobody", None),
        (b"/c/other/", None),
        (b"/state/other", None),
        (b"/state/nobody.json", None),
        (b"/", None),
    ],
)
def test_pages_states_and_sounds_of_hosted_campaigns_are_found_by_their_ids(
    path: bytes, named: tuple[str, bytes] | None
) -> None:
    listing = Listing(id="other", name="n", rounds=(), added_at="")
    assert CampaignPaths([listing]).named(path) == named
