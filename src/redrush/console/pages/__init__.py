"""The pages, by what they are for. Each is a plain page whose forms work without any script."""

from typing import Final

from litestar import Router
from litestar.static_files import create_static_files_router

from redrush.api.access import OPEN
from redrush.console.pages.billing import BILLING
from redrush.console.pages.drafting import DRAFTING
from redrush.console.pages.notice import NOTICE
from redrush.console.pages.own import OWN
from redrush.console.pages.paying import PAYING
from redrush.console.pages.people import PEOPLE
from redrush.console.pages.provider_login import PROVIDER_LOGIN
from redrush.console.pages.proving import PROVING
from redrush.console.pages.refunding import REFUNDING
from redrush.console.pages.rendering import FAULTS, STATIC_DIR, fault_page
from redrush.console.pages.steering import STEERING
from redrush.console.pages.watching import WATCHING

__all__ = ["PAGES", "fault_page"]

PAGES: Final = (
    Router(
        "/",
        route_handlers=[
            *OWN,
            *PROVIDER_LOGIN,
            *WATCHING,
            *STEERING,
            *NOTICE,
            *DRAFTING,
            *PAYING,
            *BILLING,
            *REFUNDING,
            *PROVING,
            *PEOPLE,
        ],
        exception_handlers=FAULTS,
        include_in_schema=False,
    ),
    create_static_files_router("/static", [STATIC_DIR], opt=OPEN, include_in_schema=False),
)
"""Everything that is no operation of the admin API."""
