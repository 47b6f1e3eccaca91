"""The server's log: one JSON object a line on stderr, for people and for collectors.

Only events that an operator would want to read later, never one per claim: a log must not cost the rush anything.
"""

import sys
from typing import Any

import structlog


def server_log() -> Any:
    """Return a structlog logger that writes JSON lines to stderr, with level and UTC time."""
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )
