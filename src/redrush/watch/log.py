"""The server's log: one JSON object a line on stderr, for people and for collectors.

Only events that an operator would want to read later, never one per claim: a log must not cost the rush anything. It is
written here, and not by a library, because the one that did took a tenth of a second of every start.
"""

import json
import sys
from datetime import UTC, datetime
from typing import Any


class ServerLog:
    """Writes an event, and whatever belongs to it by name, as one line with its level and the time in UTC."""

    def info(self, event: str, **fields: object) -> None:
        """Tell what is as it should be."""
        _write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Tell what somebody should look at."""
        _write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Tell what went wrong, and does not stop the server."""
        _write("error", event, fields)

    def critical(self, event: str, **fields: object) -> None:
        """Tell what stops the server, or a part of it."""
        _write("critical", event, fields)


def server_log() -> Any:
    """Return the log of this process, a ServerLog; whatever has its methods may stand in its place."""
    return ServerLog()


def _write(level: str, event: str, fields: dict[str, object]) -> None:
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    line = json.dumps({**fields, "event": event, "level": level, "timestamp": at}, default=repr, ensure_ascii=False)
    # In one call: lines of several threads must not run into each other.
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
