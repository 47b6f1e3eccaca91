"""Going on with a book of money that lacks something: what an operator decides, and what is written down of it."""

from pathlib import Path
from typing import Final

import apsw
import msgspec

from redrush.control.data_dir import DataDir
from redrush.control.generations import note_generation
from redrush.errors import ConfigError, NewerVersion
from redrush.operate.backup import BOOKS
from redrush.records.sqlite import bills, messages, packets, sales
from redrush.records.sqlite.book_examining import PROBLEMS_MAX, accept_problems, problems_of
from redrush.records.sqlite.book_mark import lacks, life_in, mark_path, read_mark
from redrush.records.sqlite.file import set_aside, version_at
from redrush.stores.sqlite.lock import JournalLock

KINDS: Final = {"payments.db": bills, "messages.db": messages, "packets.db": packets, "sales.db": sales}
"""Which book a file is."""


class Accepted(msgspec.Struct, frozen=True):
    """A book that is gone on with: what is wrong with it, and where one was put that cannot be read."""

    book: str
    wrong: tuple[str, ...]
    aside: str | None = None


def check_books(data_dir: DataDir) -> dict[str, list[str]]:
    """Return what is wrong with each book of the directory, by name, all of it looked through; a server may be
    running. ConfigError if there is no campaign, NewerVersion for a book of a newer redrush."""
    data_dir.require()
    there = [name for name in BOOKS if (data_dir.root / name).exists() or mark_path(data_dir.root / name).exists()]
    return {name: _wrong(data_dir.root / name) for name in there}


def accept_books(data_dir: DataDir, why: str, who: str) -> list[Accepted]:
    """Go on with the books of the directory as they are, where one lacks what its mark knows of, or is damaged; one
    that cannot be read is put aside, and begun anew. Who did so stands in `generations.jsonl`, before it is done.

    ConfigError while a server runs, or if the disk refuses.
    """
    data_dir.require()
    lock = JournalLock(data_dir.journal)
    try:
        wrong = {name: found for name, found in check_books(data_dir).items() if found}
        if wrong:
            note_generation(data_dir, {"what": "accept books", "why": why, "who": who, "books": wrong})
        return [_accept(data_dir, name, found) for name, found in wrong.items()]
    except OSError as fault:
        raise ConfigError(f"{fault.filename or data_dir.root}: cannot be written: {fault.strerror}") from fault
    finally:
        lock.release()


def _wrong(path: Path) -> list[str]:
    if not path.exists():
        return ["is gone"]
    try:
        version_at(path, KINDS[path.name].BOOK)
        why = lacks(read_mark(path), life_in(path))
        return ([] if why is None else [why]) + problems_of(path, most=PROBLEMS_MAX)
    except apsw.Error as error:
        return [f"cannot be read: {error}"]
    except NewerVersion:
        raise
    except ConfigError as error:
        return [str(error)]


def _accept(data_dir: DataDir, name: str, wrong: list[str]) -> Accepted:
    path, aside = data_dir.root / name, None
    if path.exists():
        try:
            accept_problems(path)
        except apsw.Error:
            aside = str(set_aside(path))
    mark_path(path).unlink(missing_ok=True)
    return Accepted(name, tuple(wrong), aside)
