"""The book of group packets in `packets.db`.

Unlike the records beside it it is no projection, so a commit is durable (`synchronous=FULL`); a commit is for a batch
of packets. What sleeps costs no memory: whoever asks for a packet finds it by its id, and what is due by an index on
the deadline, which is all the timing wheel that a million of them need.
"""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Self

import apsw
import msgspec

from redrush.ports.journal import digest
from redrush.ports.packets import Booked, BookFailed, Packet, Stage
from redrush.records.sqlite.book_mark import MarkedBook
from redrush.records.sqlite.file import PACKAGE, Book, book_failures, open_as_it_is, open_durable, read_durable
from redrush.sqlfiles import load_statements

_SQL: Final = load_statements(PACKAGE, "packets.sql")
BOOK: Final = Book(
    "a book of packets",
    "packets were sent",
    0x5252504B,
    {1: _SQL["create"], 2: _SQL["with_digest"], 3: _SQL["index_given"], 4: _SQL["index_stages"]},
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Packet).decode
_decode_each = msgspec.json.Decoder(list[tuple[Stage, Packet]]).decode


class SqlitePacketBook:
    """Fulfils `redrush.ports.packets.PacketBook`. Calls may come from any thread; reads wait for no write."""

    def __init__(self, path: Path, writer: MarkedBook, reader: apsw.Connection) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._sql = _SQL
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()

    @classmethod
    def open_path(cls, path: Path) -> Self:
        """Open the book at `path`, an empty one where there is none. ConfigError as of `open_durable`."""
        writer = open_durable(path, BOOK)
        return cls(path, writer, read_durable(path))

    @classmethod
    def open_as_it_is(cls, path: Path) -> Self:
        """Open the book for a command. ConfigError as of `redrush.records.sqlite.file.open_as_it_is`."""
        writer = open_as_it_is(path, BOOK)
        return cls(path, writer, read_durable(path))

    def add(self, packets: Sequence[Booked]) -> list[Booked]:
        """See the port."""
        self._write("add", map(_row, packets))
        return [self._of_request(booked) if booked.packet.request else booked for booked in packets]

    def _of_request(self, booked: Booked) -> Booked:
        (known,) = self._read("of_request", sender=booked.packet.sender, request=booked.packet.request)
        return known

    def keep(self, packets: Sequence[Booked]) -> None:
        """See the port."""
        self._write("keep", map(_row, packets))

    def turn(self, ids: Iterable[str], stage: Stage) -> None:
        """See the port."""
        self._write("turn", ((int(stage), packet) for packet in ids))

    def find(self, packet: str) -> Booked | None:
        """See the port."""
        return next(iter(self._read("find", id=packet)), None)

    def find_each(self, packets: Sequence[str]) -> list[Booked | None]:
        """See the port."""
        ((text,),) = self._rows("find_each", ids=_encode(packets).decode())
        with book_failures(self._path, BookFailed):
            found = {packet.id: Booked(packet, stage) for stage, packet in _decode_each(text)}
        return [found.get(packet) for packet in packets]

    def of_sender(self, user: str, limit: int) -> list[Booked]:
        """See the port."""
        return self._read("of_sender", sender=user, limit=limit)

    def given_minor(self, users: Iterable[str], since_us: int) -> dict[str, int]:
        """See the port."""
        return {user: self._rows("given", sender=user, since_us=since_us)[0][0] for user in users}

    def paying(self, after: str, limit: int) -> list[Booked]:
        """See the port."""
        return self._read("paying", after=after, limit=limit)

    def any_under_way(self) -> bool:
        """See the port."""
        ((found,),) = self._rows("under_way")
        return bool(found)

    def due(self, now_us: int, limit: int) -> list[Booked]:
        """See the port."""
        return self._read("due", now_us=now_us, limit=limit)

    def close(self) -> None:
        """See the port."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()

    def _write(self, name: str, rows: Iterable[tuple[Any, ...]]) -> None:
        with self._write_lock, book_failures(self._path, BookFailed), self._writer.committing():
            self._writer.connection.executemany(self._sql[name], rows)

    def _rows(self, name: str, **values: Any) -> list[tuple[Any, ...]]:
        with self._read_lock, book_failures(self._path, BookFailed):
            found: list[tuple[Any, ...]] = self._reader.execute(self._sql[name], values).fetchall()
        return found

    def _read(self, name: str, **values: Any) -> list[Booked]:
        rows = self._rows(name, **values)
        with book_failures(self._path, BookFailed):
            return [Booked(_decode(content), Stage(stage)) for content, stage in rows]


def _row(booked: Booked) -> tuple[Any, ...]:
    packet = booked.packet
    content = _encode(packet)
    return (
        packet.id,
        packet.sender,
        int(booked.stage),
        packet.created_us,
        packet.paid_us,
        packet.closes_us,
        packet.total_minor,
        packet.request or None,
        content,
        digest(content),
    )
