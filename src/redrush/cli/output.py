"""Standard output as it may be met: on a full disk, closed by its reader, or in an encoding without Chinese.

Whoever prints need not know: a fault of the stream becomes an exception of its own, which nobody takes for a fault of
something else, and a character that the encoding lacks is written as `\\u4e2d`, which is right in JSON too.
"""

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Final

from redrush.errors import RedrushError

ESCAPING: Final = "redrush-escape"
"""Name of the error handler: like `backslashreplace`, but as JSON has it, beyond U+FFFF two escapes."""


class OutputFailed(RedrushError):
    """What a command prints cannot be written."""


class ReaderGone(RedrushError):
    """Whoever read our output has ended (`redrush export … | head`); nothing is wrong."""

    exit_code = 0


class _Output(io.TextIOWrapper):
    """Standard output whose faults have names."""

    def write(self, text: str) -> int:
        with _named():
            return super().write(text)

    def flush(self) -> None:
        with _named():
            super().flush()


@contextlib.contextmanager
def named_output() -> Iterator[None]:
    """Have everything that is printed go through a stream that raises OutputFailed or ReaderGone."""
    codecs.register_error(ESCAPING, _escaped)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Closed by who started us (`>&-`): there is nobody to tell anything.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for good
    before = sys.stdout
    if not isinstance(before, io.TextIOWrapper) or not _is_of_the_system(before):
        yield
        return
    ours = _Output(before.buffer, before.encoding, ESCAPING, line_buffering=before.line_buffering)
    sys.stdout = ours
    try:
        yield
    finally:
        sys.stdout = before
        with contextlib.suppress(RedrushError):
            ours.detach()


def print_data_as_utf8() -> None:
    """Let what follows be UTF-8 wherever it is read by programs: files of redrush are, whatever the locale says."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")


def silence_output() -> None:
    """Let what is still to be written go nowhere: else Python tries again at its end, and complains."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.__stdout__.fileno() if sys.__stdout__ is not None else 1)
        os.close(nowhere)


@contextlib.contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise ReaderGone("nobody reads the output any more") from None
    except OSError as fault:
        raise OutputFailed(f"standard output cannot be written: {fault.strerror or fault}") from fault


def _is_of_the_system(stream: io.TextIOWrapper) -> bool:
    try:
        stream.fileno()
    except (OSError, ValueError):
        return False
    return True


def _escaped(fault: UnicodeError) -> tuple[str, int]:
    if not isinstance(fault, UnicodeEncodeError):
        raise fault
    units = fault.object[fault.start : fault.end].encode("utf-16-be", "surrogatepass")
    codes = (units[at : at + 2].hex() for at in range(0, len(units), 2))
    return "".join(f"\\u{code}" for code in codes), fault.end
