"""Receipts of winners as a file: one a line."""

from pathlib import Path
from typing import Final

from redrush.errors import ConfigError, RedrushError
from redrush.named_file import read_named

FILE_BYTES_MAX: Final = 1 << 30
"""Some millions of receipts."""


class NoneIsOurs(RedrushError):
    """Every receipt that was shown is of somebody else, such as another campaign: its winners were not heard."""

    def __init__(self, receipts: Path, data: Path) -> None:
        super().__init__(
            f"{receipts}: none of its receipts is of the campaign in {data}, so nothing is noted: see that --data or "
            "--deploy names the campaign that they were given in, or say --none --why … if nobody has one of this"
        )


def read_receipts(path: Path) -> list[str]:
    """Return the lines of the file; it may be a pipe, and `-` is stdin. ConfigError if it cannot be read."""
    try:
        data = read_named(path, FILE_BYTES_MAX, or_pipe=True)
        if len(data) > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: larger than {FILE_BYTES_MAX >> 20} MB; this is no file of receipts")
        return data.decode("utf-8").splitlines()
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {fault.start})") from fault
