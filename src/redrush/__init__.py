"""redrush: the engine for events where, at an exact second, millions rush for a fixed amount.

Nothing is imported here but what tells that this Python is too old, in words that Python 3.8 can read.
"""

import sys

__version__ = "0.1.0"

if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs a checkout with an older one is told so, not that syntax is wrong
    raise SystemExit("redrush: needs Python 3.11 or newer (found %d.%d)" % sys.version_info[:2])  # noqa: UP031 - as above
