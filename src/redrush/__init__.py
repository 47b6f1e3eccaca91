"""redrush: the engine for events where, at an exact second, millions rush for a fixed amount.

What a program of one's own may import is named here; everything else may change with any release.

    from redrush import Participant                    # takes part, as the campaign's policy says: extra "client"
    from redrush import Issuer                         # tickets from your own login
    from redrush import receipt_keys, verify_receipt   # what a receipt states, if it is one of yours

Nothing is imported before it is asked for but what tells that this Python is too old, in words that Python 3.8 reads.
"""

import sys
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs a checkout with an older one is told so, not that syntax is wrong
    raise SystemExit("redrush: needs Python 3.11 or newer (found %d.%d)" % sys.version_info[:2])  # noqa: UP031 - as above

if TYPE_CHECKING:
    from redrush.client.issue import Issuer
    from redrush.client.participant import Participant, Result, Shown
    from redrush.control.keys import receipt_keys
    from redrush.core.identity.receipts import Receipt, verify_receipt
    from redrush.errors import ConfigError, RedrushError

__all__ = [
    "ConfigError",
    "Issuer",
    "Participant",
    "Receipt",
    "RedrushError",
    "Result",
    "Shown",
    "__version__",
    "receipt_keys",
    "verify_receipt",
]

_HOMES = {
    "ConfigError": "errors",
    "Issuer": "client.issue",
    "Participant": "client.participant",
    "Receipt": "core.identity.receipts",
    "RedrushError": "errors",
    "Result": "client.participant",
    "Shown": "client.participant",
    "receipt_keys": "control.keys",
    "verify_receipt": "core.identity.receipts",
}


if not TYPE_CHECKING:  # a checker is to refuse what is not offered

    def __getattr__(name: str) -> object:
        """Import what is asked for, when it is: `redrush serve` must not wait for the client's libraries."""
        if name not in _HOMES:
            raise AttributeError(f"redrush has no public name {name!r}; it has {', '.join(__all__)}")
        import importlib  # noqa: PLC0415 - as late as everything else

        return getattr(importlib.import_module(f"redrush.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
