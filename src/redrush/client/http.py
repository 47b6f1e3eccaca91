"""aiohttp for this package; whoever lacks it is told what installs it."""

from redrush.extras import missing_extra

try:
    import aiohttp
except ModuleNotFoundError as fault:
    raise missing_extra(fault, "redrush.client") or fault from None

__all__ = ["aiohttp"]
