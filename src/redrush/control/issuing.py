"""Issuing tickets for the users of an event."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from redrush.control.data_dir import DataDir
from redrush.control.keys import load_or_create_keys
from redrush.core.durations import parse_duration_us
from redrush.core.tickets import sign_ticket
from redrush.errors import ConfigError

STDIN = Path("-")


def issue_tickets(
    data_dir: DataDir,
    users: Sequence[str],
    users_file: Path | None,
    ttl: str,
    now_s: int,
    *,
    proven: bool = False,
) -> Iterator[str]:
    """Yield "user<TAB>ticket" for each of `users` and each line of `users_file`, valid for `ttl` from `now_s`.

    `proven` tickets are good at once where the campaign asks for proof of work; others must be exchanged there.
    Makes the keys if the directory has none yet, so that tickets can be issued before the server's first start.
    ConfigError for a bad user id (with its line), a bad duration, or a file that cannot be read.
    """
    if not users and users_file is None:
        raise ConfigError("nobody to issue tickets for: give --user U or --users FILE")
    try:
        expires_s = now_s + parse_duration_us(ttl) // 1_000_000
    except ValueError as fault:
        raise ConfigError(f"--ttl: {fault}") from None
    data_dir.create()
    ring = load_or_create_keys(data_dir).tickets
    for where, user in _named(users, users_file):
        try:
            yield f"{user}\t{sign_ticket(ring, user, expires_s, proven=proven)}"
        except ValueError as fault:
            raise ConfigError(f"{where}: {fault}") from None


def _named(users: Sequence[str], users_file: Path | None) -> Iterator[tuple[str, str]]:
    """Yield each user with where they were named. Blank lines of the file do not count."""
    for user in users:
        yield "--user", user
    if users_file is None:
        return
    try:
        with sys.stdin if users_file == STDIN else users_file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if user := line.strip():
                    yield f"{users_file}:{number}", user
    except OSError as fault:
        raise ConfigError(f"{users_file}: cannot be read: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{users_file}: is not UTF-8 text (byte {fault.start})") from fault
