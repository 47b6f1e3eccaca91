"""The audit log of switches: one JSON object a line, appended and fsynced before it takes effect.

It is text so that it can be read, searched and kept with the tools of any investigation, and it is all there is: the
state is what replaying it gives. A crash can only cut the last line, which then never took effect and is dropped at
the next start; anything else that cannot be read is a fault that a person must look at. A log that was lost, cut or
wound back is told by its mark (`redrush.control.switch_mark`), and goes on only when a person accepts it (`accept`).

One process writes it, which the kernel's lock on the file sees to: the lock is gone when its holder is.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import msgspec

from redrush.control.durable_file import sync_directory, write_durably
from redrush.control.sole_holder import hold_alone
from redrush.control.switch_mark import SwitchMark, digest_of, keep_mark, lacks, mark_of, read_mark
from redrush.core.steering.switch_layers import Action, Change, Kept, Layers, NotInForce
from redrush.errors import ConfigError, RedrushError


class SwitchLogInUse(ConfigError):
    """Another process writes the log: it must be asked, on its control port."""


class SwitchLogFailed(RedrushError):
    """The disk refused a line; the change has not taken effect."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line: who did what when, why, and what that changed."""

    version: int
    at: str
    who: str
    """Whose token it was done with, or the rule."""
    why: str
    what: Action
    changes: tuple[Change, ...]
    kept: tuple[Kept, ...] = ()
    said: str = ""
    """The name that was said besides; nobody has checked it."""


class SwitchLog:
    """Holds the log of one data directory for writing. Made by `open`; `append` blocks for some fsyncs."""

    def __init__(self, path: Path, descriptor: int, layers: Layers, content: bytes) -> None:
        self._path = path
        self._descriptor = descriptor
        self._content = content
        self.layers = layers
        """What is set, after the last line."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Lock the log, made if it is missing, and replay it.

        Raises SwitchLogInUse if a process has it, ConfigError if it cannot be read.
        """
        descriptor = _locked(path)
        try:
            content = path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            layers = _compared(path, whole, read_mark(path))
            os.ftruncate(descriptor, len(whole))
            sync_directory(path.parent)
            if whole:
                keep_mark(path, _mark(whole, layers))
        except OSError as fault:
            os.close(descriptor)
            raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from fault
        except ConfigError:
            os.close(descriptor)
            raise
        return cls(path, descriptor, layers, whole)

    def append(self, entry: Entry, layers: Layers) -> None:
        """Make the entry durable; `layers` are those after it. Raises SwitchLogFailed, and then nothing has changed."""
        line = msgspec.json.encode(entry) + b"\n"
        try:
            if os.write(self._descriptor, line) != len(line):
                raise OSError(0, "the disk is full")
            os.fsync(self._descriptor)
            keep_mark(self._path, _mark(self._content + line, layers))
        except OSError as fault:
            self._cut_back()
            raise SwitchLogFailed(f"{self._path}: cannot be written, nothing was switched: {fault.strerror}") from fault
        self._content += line
        self.layers = layers

    def _cut_back(self) -> None:
        """Take back a line that is there in part, or whole and not known to be durable: it has not taken effect."""
        try:
            os.ftruncate(self._descriptor, len(self._content))
            # The mark may know of it already, or not be whole: rather none than one that refuses the next start.
            mark_of(self._path).unlink(missing_ok=True)
        except OSError as fault:
            raise SwitchLogFailed(
                f"{self._path}: cannot be written, nor what was written be taken back ({fault.strerror}); "
                "restart the server on a sound disk"
            ) from fault
        with contextlib.suppress(OSError):
            if self._content:
                keep_mark(self._path, _mark(self._content, self.layers))

    def close(self) -> None:
        """Let others have the log. Does nothing the second time."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


_decoder = msgspec.json.Decoder(Entry)


def entries_of(path: Path, last: int | None = None) -> list[Entry]:
    """Return the entries of a log, oldest first, at most the `last` ones; none if there is no log.

    May be called while a server writes: a line that is under way is left out. Raises ConfigError for an unreadable one.
    """
    lines = _whole_lines(path)
    skipped = 0 if last is None else max(0, len(lines) - last)
    return list(_decoded(path, lines[skipped:], skipped + 1))


def chained_entries(path: Path, last: int) -> list[dict[str, Any]]:
    """Return the same as JSON has it, each with "chain": a fingerprint of its line and all lines before it. Whoever
    changes a line, or takes one out, changes the fingerprint of every line after it."""
    lines, chain, chains = _whole_lines(path), "", []
    for line in lines:
        chain = hashlib.sha256(chain.encode("ascii") + line).hexdigest()
        chains.append(chain)
    skipped = max(0, len(lines) - last)
    entries = _decoded(path, lines[skipped:], skipped + 1)
    return [
        {**msgspec.to_builtins(entry), "chain": chain} for entry, chain in zip(entries, chains[skipped:], strict=True)
    ]


def _whole_lines(path: Path) -> list[bytes]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from fault
    return content[: content.rfind(b"\n") + 1].splitlines()


def _decoded(path: Path, lines: Iterable[bytes], first: int) -> Iterator[Entry]:
    for number, line in enumerate(lines, start=first):
        try:
            yield _decoder.decode(line)
        except msgspec.DecodeError as fault:
            raise ConfigError(f"{path}:{number}: is no entry of a switch log: {fault}") from fault


class Accepted(msgspec.Struct, frozen=True):
    """How many changes a log goes on with, and where all of it is that was there; None: nothing was cut off."""

    changes: int
    old: str | None


def accept(path: Path) -> Accepted:
    """Go on with what is sound of the log.

    Raises SwitchLogInUse if a process has it, ConfigError if the disk refuses.
    """
    descriptor = _locked(path)
    try:
        content = path.read_bytes()
        sound, layers, _ = _replayed(path, content[: content.rfind(b"\n") + 1])
        old = None
        if sound != content:
            old = path.with_name(f"{path.name}.aside-{digest_of(content)[:8]}")
            write_durably(old, content)
        os.ftruncate(descriptor, len(sound))
        os.fsync(descriptor)
        keep_mark(path, _mark(sound, layers))
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be gone on with: {fault.strerror}") from fault
    finally:
        os.close(descriptor)
    return Accepted(layers.version, None if old is None else str(old))


def _locked(path: Path) -> int:
    """Return a descriptor of the log, made if it is missing, that holds its lock."""
    in_use = SwitchLogInUse(f"{path} is written by a running server; ask its control port")
    return hold_alone(path, in_use, os.O_APPEND)


def _compared(path: Path, content: bytes, mark: SwitchMark | None) -> Layers:
    """Return what is set after this content. Raises ConfigError, with what helps, if it is not what was switched."""
    helps = f"`redrush switch accept --data {path.parent} --why …` goes on with what is left of it"
    _, layers, fault = _replayed(path, content)
    if fault is not None:
        raise ConfigError(f"{fault}; {helps}") from fault
    if mark is not None and (lack := lacks(mark, content, layers.version)) is not None:
        raise ConfigError(f"{path}: {lack}, so switches may stand otherwise than somebody has set them; {helps}")
    return layers


def _mark(content: bytes, layers: Layers) -> SwitchMark:
    return SwitchMark(layers.version, len(content), digest_of(content))


def _replayed(path: Path, content: bytes) -> tuple[bytes, Layers, ConfigError | None]:
    """Return what is sound of the content, what is set after it, and why no more of it is sound."""
    layers = Layers()
    sound_bytes = 0
    lines = content.splitlines(keepends=True)
    try:
        for number, entry in enumerate(_decoded(path, lines, 1), start=1):
            try:
                after = layers.after(entry.what, entry.who)
            except NotInForce as fault:
                raise ConfigError(f"{path}:{number}: contradicts the lines before it: {fault}") from fault
            if entry.version != after.version:
                raise ConfigError(f"{path}:{number}: has version {entry.version}, a line is missing or was added")
            layers = after
            sound_bytes += len(lines[number - 1])
    except ConfigError as fault:
        return content[:sound_bytes], layers, fault
    return content, layers, None
