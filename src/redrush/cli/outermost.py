"""What a person sees when something goes wrong that nobody has foreseen: one sentence, and the path of the details.

The details (the traceback, the versions) are for whoever mends redrush. They go to a file of their own, readable by its
owner only, and there are never more than FAULT_FILES_MAX of these: a server that meets the same fault all night must
not fill a disk with it. So it is for every way in which Python would print a traceback: out of the command, out of a
worker process, out of a task that nobody awaits, out of a thread, out of a finalizer.
"""

import contextlib
import datetime
import itertools
import logging
import os
import platform
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

from redrush import __version__
from redrush.cli.output import OutputFailed, ReaderGone, named_output, silence_output
from redrush.core.identity.user_ids import visible
from redrush.disk_room import with_room
from redrush.errors import RedrushError
from redrush.extras import missing_extra

FAULT_FILES_MAX: Final = 20
"""The newest are kept."""
FAULT_FILES_OF_A_PROCESS_MAX: Final = 5
"""After that many a process only says its sentences: the first faults tell most."""

_numbers = itertools.count(1)


def run(command: Callable[[], object]) -> None:
    """Run a whole command line. Ends with SystemExit, or returns if the command does."""
    with named_output():
        code = _run(command)
    if code is not None:
        raise SystemExit(code)


def _run(command: Callable[[], object]) -> int | None:
    """Return the exit code of a fault, None if there was none. SystemExit of the command goes through."""
    try:
        with _no_tracebacks_elsewhere():
            try:
                command()
            finally:
                sys.stdout.flush()
    except ReaderGone:
        silence_output()
        return ReaderGone.exit_code
    except Exception as fault:  # noqa: BLE001 - the outermost: whatever it is, a person is told in one sentence
        first = _first(fault)
        if isinstance(first, OutputFailed):
            silence_output()
        _say(_sentence(first, fault))
        return first.exit_code if isinstance(first, RedrushError) else 1
    return None


def _first(fault: BaseException) -> BaseException:
    """Return what a group of faults began with, in our own words where we have some."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    if isinstance(fault, ModuleNotFoundError):
        return missing_extra(fault, " ".join(["redrush", *sys.argv[1:2]])) or fault
    return fault


def _sentence(first: BaseException, whole: BaseException) -> str:
    if isinstance(first, RedrushError):
        return with_room(str(first), first)
    if isinstance(first, OSError) and first.strerror:
        where = f"{first.filename}: " if first.filename else ""
        return f"{with_room(f'{where}{first.strerror}', first)}; {_details_of(whole)}"
    said = " ".join(str(first).split())
    return f"a fault of redrush itself: {type(first).__name__}{': ' if said else ''}{said}; {_details_of(whole)}"


def _say(sentence: str) -> None:
    """Print the sentence. What it quotes from outside must not steer the terminal; its lines stay lines."""
    shown = "\n".join(map(visible, sentence.split("\n")))
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"redrush: {shown}\n")
        sys.stderr.flush()


# -- The details


def _details_of(fault: BaseException) -> str:
    """Write the details down and return the words that say where."""
    number = next(_numbers)
    if number > FAULT_FILES_OF_A_PROCESS_MAX:
        return "the details are like those before"
    text = "".join(traceback.format_exception(fault))
    for directory in _directories():
        try:
            return f"the details are in {_write(directory, number, text)}"
        except OSError:
            continue
    return "and the details can be written nowhere"


def _directories() -> Iterator[Path]:
    """Yield where details may go, the best place first."""
    with contextlib.suppress(RuntimeError):
        yield Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "redrush"
    yield Path(tempfile.gettempdir()) / f"redrush-{os.getuid()}"


def _write(directory: Path, number: int, text: str) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        raise PermissionError(f"{directory}: belongs to somebody else")
    now = datetime.datetime.now(datetime.UTC)
    path = directory / f"fault-{now:%Y%m%dT%H%M%S.%f}-{os.getpid()}-{number}.txt"
    # What is typed may be no UTF-8, and stands in both.
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(opened, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(
            f"redrush {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
            f"command: {' '.join(sys.argv)}\n\n{text}"
        )
    for old in sorted(directory.glob("fault-*.txt"))[:-FAULT_FILES_MAX]:
        old.unlink(missing_ok=True)
    return path


# -- Everywhere else


class _ToldInASentence(logging.Handler):
    """Libraries' complaints (asyncio's among them) as one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        fault = record.exc_info[1] if record.exc_info else None
        said = " ".join(record.getMessage().splitlines()[:1])
        _say(said if fault is None else f"{said}: {_sentence(_first(fault), fault)}")


@contextlib.contextmanager
def _no_tracebacks_elsewhere() -> Iterator[None]:
    """Have tasks, threads and finalizers tell their faults in a sentence each."""

    def of_thread(told: threading.ExceptHookArgs) -> None:
        if told.exc_value is not None and not isinstance(told.exc_value, SystemExit):
            _say(_sentence(_first(told.exc_value), told.exc_value))

    def unraisable(told: "sys.UnraisableHookArgs") -> None:
        if told.exc_value is not None and not isinstance(told.exc_value, ReaderGone):
            _say(_sentence(_first(told.exc_value), told.exc_value))

    def of_process(_kind: type[BaseException], fault: BaseException, _trace: TracebackType | None) -> None:
        _say(_sentence(_first(fault), fault))

    handler = _ToldInASentence(logging.WARNING)
    before = threading.excepthook, sys.unraisablehook, sys.excepthook
    threading.excepthook, sys.unraisablehook, sys.excepthook = of_thread, unraisable, of_process
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        threading.excepthook, sys.unraisablehook, sys.excepthook = before
