"""The admin API, version 1: each path with what it takes, what it answers, and the role that it needs.

The pages of the console call the same desk, so they can do nothing that a program cannot, and nothing less.
"""

from typing import Final

from redrush.api.handlers.billing import BILLING
from redrush.api.handlers.drafting import DRAFTING
from redrush.api.handlers.mending import MENDING
from redrush.api.handlers.oneself import ONESELF
from redrush.api.handlers.paying import PAYING
from redrush.api.handlers.people import PEOPLE
from redrush.api.handlers.proving import PROVING
from redrush.api.handlers.refunding import REFUNDING
from redrush.api.handlers.steering import STEERING
from redrush.api.handlers.watching import WATCHING

HANDLERS: Final = (
    *ONESELF,
    *WATCHING,
    *STEERING,
    *MENDING,
    *DRAFTING,
    *PAYING,
    *BILLING,
    *REFUNDING,
    *PROVING,
    *PEOPLE,
)
"""Every operation of the admin API."""
