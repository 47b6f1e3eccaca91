"""The last fuse of a campaign's budget: the table of amounts itself is held against it, whatever has made it so.

A file over its budget is refused when it is read, so this never blows, unless what is on the disk is not what was
checked. Then nothing of the campaign is served.
"""

from pathlib import Path

from redrush.core.money.budget import OverBudget, hold_to_budget
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.holding import SlotTable
from redrush.errors import ConfigError


def hold_table_to_budget(campaign: Campaign, amounts: SlotTable, where: Path) -> None:
    """Raise ConfigError if the slots of a campaign as it is served hold more than its budget. What is sold is paid for,
    and rounds that were cancelled are never open: both are left out."""
    if campaign.budget_minor is None:
        return
    aside = [one.slots for one in campaign.rounds if one.sale is not None or one.closes_us <= one.opens_us]
    aside_minor = sum(sum(amounts[slots.first : slots.end]) for slots in aside)
    slots_minor = sum(amounts) - aside_minor
    shared_minor = sum(one.slots.count * one.share.total_minor for one in campaign.rounds if one.share is not None)
    try:
        hold_to_budget(campaign.budget_minor, slots_minor, shared_minor, campaign.currency)
    except OverBudget as over:
        raise ConfigError(f"{where}: {over}; nothing of it is served") from None
