"""The secret keys of sales: drawn at the opening, by the server, from the system's randomness.

Nobody can know one before: it is nowhere before the opening, and follows from nothing that is. It is written down
before anybody is told, so a restart, or another process of the event, has the same.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from redrush.control.durable_file import write_durably
from redrush.errors import ConfigError

KEY_BYTES: Final = 16
"""128 bits, 22 signs of a URL."""


class SaleKeys:
    """The file of one event. One process draws; any number read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def known(self) -> Mapping[str, str]:
        """Return the keys that were drawn, by round. ConfigError if the file cannot be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as fault:
            raise ConfigError(f"{self._path}: cannot be read, so nobody gets in: {fault}") from fault

    def drawn(self, round_id: str) -> str:
        """Return the key of this round, drawn now if there is none yet. Not before its opening. ConfigError if the disk
        refuses: then nobody was told."""
        known = dict(self.known())
        if round_id not in known:
            known[round_id] = secrets.token_urlsafe(KEY_BYTES)
            try:
                write_durably(self._path, msgspec.json.format(msgspec.json.encode(known)))
            except OSError as fault:
                raise ConfigError(f"{self._path}: cannot be written, so nobody gets in: {fault.strerror}") from fault
        return known[round_id]
