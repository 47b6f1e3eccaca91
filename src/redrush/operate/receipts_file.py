"""Receipts of winners as a file: one a line."""

import sys
from pathlib import Path

from redrush.control.issuing import STDIN
from redrush.errors import ConfigError, RedrushError


class NoneIsOurs(RedrushError):
    """Every receipt that was shown is of somebody else, such as another campaign: its winners were not heard."""

    def __init__(self, receipts: Path, data: Path) -> None:
        super().__init__(
            f"{receipts}: none of its receipts is of the campaign in {data}, so nothing is noted: see that --data or "
            "--deploy names the campaign that they were given in, or say --none --why … if nobody has one of this"
        )


def read_receipts(path: Path) -> list[str]:
    """Return the lines of the file; `-` is stdin. ConfigError if it cannot be read."""
    try:
        with sys.stdin if path == STDIN else path.open(encoding="utf-8") as lines:
            return lines.read().splitlines()
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {fault.start})") from fault
