"""The secret keys of sales: drawn at the opening, by the server, from the system's randomness.

Nobody can know one before: it is nowhere before the opening, and follows from nothing that is. It is written down
before anybody is told, so a restart, or another process of the event, has the same. A digest beside the keys tells
that a bit of one was changed: nobody could come in by the link that was told. A file that is gone, or an older copy, is
harmless: a key is drawn anew and told anew, and nobody's hold depends on it.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.control.durable_file import write_durably
from redrush.errors import ConfigError
from redrush.ports.journal import digest

KEY_BYTES: Final = 16
"""128 bits, 22 signs of a URL."""

_DIGEST: Final = "digest"


class SaleKeys:
    """The file of one event. One process draws; any number read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def known(self) -> Mapping[str, str]:
        """Return the keys that were drawn, by round. ConfigError if the file cannot be read."""
        try:
            raw = self._path.read_bytes()
            found = msgspec.json.decode(raw, type=dict[str, Any])
            keys = msgspec.convert(found["keys"] if _DIGEST in found else found, dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError) as fault:
            raise ConfigError(f"{self._path}: cannot be read, so nobody gets in: {fault}; {self._helps}") from fault
        if found.get(_DIGEST, _digest(keys)) != _digest(keys):  # releases before had none
            raise ConfigError(f"{self._path}: is not what was written, so nobody gets in; {self._helps}")
        return keys

    @property
    def _helps(self) -> str:
        return (
            f"`redrush restore BACKUP --data {self._path.parent} --only {self._path.name}` puts it back from a backup; "
            "or delete it and start the server again: links that were told lead nowhere then, the page tells new ones"
        )

    def drawn(self, round_id: str) -> str:
        """Return the key of this round, drawn now if there is none yet. Not before its opening. ConfigError if the disk
        refuses: then nobody was told."""
        known = dict(self.known())
        if round_id not in known:
            known[round_id] = secrets.token_urlsafe(KEY_BYTES)
            try:
                write_durably(
                    self._path, msgspec.json.format(msgspec.json.encode({"keys": known, _DIGEST: _digest(known)}))
                )
            except OSError as fault:
                raise ConfigError(f"{self._path}: cannot be written, so nobody gets in: {fault.strerror}") from fault
        return known[round_id]


def _digest(keys: Mapping[str, str]) -> str:
    return digest(msgspec.json.encode(keys, order="sorted"))
