"""The budget of a campaign: a fuse, which no setting, amendment or mistake of ours can pass.

A campaign can grant what its slots hold, and what winners share with friends besides. The budget is fixed when the
campaign is sealed, and held against both wherever slots come into being: when a file is checked, when it is sealed or
amended, and when a server starts, from the table of amounts itself.
"""

from redrush.core.money.currency import format_amount


class OverBudget(Exception):
    """More could be granted than the budget has. The text says how much."""


def hold_to_budget(budget_minor: int | None, slots_minor: int, shared_minor: int, currency: str) -> None:
    """Raise OverBudget if what slots hold and what is shared besides is more than the budget; None: there is none."""
    excess_minor = 0 if budget_minor is None else slots_minor + shared_minor - budget_minor
    if budget_minor is None or excess_minor <= 0:
        return
    shared = f", {format_amount(shared_minor, currency)} of it shared by winners" if shared_minor else ""
    raise OverBudget(
        f"up to {format_amount(slots_minor + shared_minor, currency)} {currency} could be granted{shared}, and the "
        f"budget is {format_amount(budget_minor, currency)}: {format_amount(excess_minor, currency)} too much"
    )
