"""How a child process fails: one kind of fault, in the process's own last words."""

from pathlib import Path
from typing import Final

from redrush.errors import RedrushError

LAST_WORDS_BYTES: Final = 2_000
"""Of a process's log shown when it fails: the last lines say why."""

SAID_NOTHING: Final = "it said nothing"


class ProcessFailed(RedrushError):
    """A process did not come up, ended, or did not stop; or it did not do what it was started for."""


class ServerFailed(ProcessFailed):
    """A server did not come up, died, or did not stop; or there is no program for it."""


def last_words(log: Path, after: int = 0) -> str:
    """Return the end of what the log says from byte `after` on, at most LAST_WORDS_BYTES; "" if that is nothing."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(after, end - LAST_WORDS_BYTES))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


def last_line(log: Path) -> str:
    """Return the last line of the log, or SAID_NOTHING."""
    lines = last_words(log).splitlines()
    return lines[-1] if lines else SAID_NOTHING
