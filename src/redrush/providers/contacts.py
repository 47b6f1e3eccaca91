"""Where winners are told: from a file of contacts, or by a pattern that makes an address of a user's id.

    contacts.csv       user,to,language        UTF-8; the language may be left out; the header line, too

The file is read when a server starts, and again when it was replaced: whoever was not in it then is found when their
message is tried once more. It stays where it is; no address of it is written anywhere.
"""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final

from redrush.core.identity.user_ids import checked_user
from redrush.errors import ConfigError
from redrush.named_file import read_named
from redrush.ports.notifier import Contact

CONTACTS_MAX: Final = 2_000_000
"""They are held in memory, some 250 bytes each."""
FILE_BYTES_MAX: Final = 256 << 20

FindContact = Callable[[str], Contact | None]
"""Where a user is told; None: nobody knows. May read a file."""

_COLUMNS: Final = ("user", "to", "language")


def by_pattern(pattern: str) -> FindContact:
    """Return what puts the user's id into the pattern, such as `{user}@corp.example`."""
    return lambda user: Contact(pattern.replace("{user}", user))


def nowhere(_user: str) -> Contact:
    """The notifier knows whom to tell by the user's id alone."""
    return Contact()


class ContactFile:
    """A file of contacts. Call it with a user's id, from any thread."""

    def __init__(self, path: Path) -> None:
        """ConfigError if it cannot be read, or has a line that is none."""
        self._path = path
        self._stamp = self._stamp_now()
        self._contacts = _read(path)
        self._broken: str | None = None
        self._reading = Lock()

    def __call__(self, user: str) -> Contact | None:
        """Return where the user is told; a file that was replaced is read first. ConfigError while the one that
        replaced it is broken, for whoever was not in the one before: it may be meant to say where to tell them."""
        if (found := self._contacts.get(user)) is not None:
            return found
        with self._reading:
            self._read_again_if_replaced()
            if (found := self._contacts.get(user)) is None and self._broken is not None:
                raise ConfigError(self._broken)
        return found

    def _read_again_if_replaced(self) -> None:
        if (stamp := self._stamp_now()) == self._stamp:
            return
        self._stamp = stamp  # also of a broken one: it is large, and each user who is missing would have it read
        try:
            self._contacts, self._broken = _read(self._path), None
        except ConfigError as fault:
            self._broken = str(fault)

    def _stamp_now(self) -> tuple[int, int, int]:
        try:
            stat = self._path.stat()
        except OSError as fault:
            raise ConfigError(f"{self._path}: the contacts cannot be read: {fault.strerror}") from fault
        return stat.st_mtime_ns, stat.st_size, stat.st_ctime_ns  # the last: who may read it was mended


def _read(path: Path) -> dict[str, Contact]:
    try:
        data = read_named(path, FILE_BYTES_MAX)
        if len(data) > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: is larger than {FILE_BYTES_MAX >> 20} MB; this is no file of contacts")
        text = data.decode("utf-8-sig")
    except OSError as fault:
        raise ConfigError(f"{path}: the contacts cannot be read: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {fault.start}); save it as UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    contacts: dict[str, Contact] = {}
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells) or (not contacts and tuple(cells) in (_COLUMNS, _COLUMNS[:2])):
                continue
            if not 2 <= len(cells) <= len(_COLUMNS) or not cells[1] or not cells[1].isprintable():
                raise ValueError("write user,to or user,to,language")
            contacts[checked_user(cells[0])] = Contact(*cells[1:])
            if len(contacts) > CONTACTS_MAX:
                raise ConfigError(f"{path}: has more than {CONTACTS_MAX:,} contacts")
    except (ValueError, csv.Error) as fault:
        raise ConfigError(f"{path}: line {reader.line_num} is no contact: {fault}") from None
    return contacts
