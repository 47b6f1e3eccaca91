"""The book of group packets in `packets.db`.

Unlike the records beside it it is no projection, so a commit is durable (`synchronous=FULL`); a commit is for a batch
of packets. What sleeps costs no memory: whoever asks for a packet finds it by its id, and what is due by an index on
the deadline, which is all the timing wheel that a million of them need.
"""

import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Self

import apsw
import msgspec

from redrush.errors import ConfigError
from redrush.ports.packets import Booked, BookFailed, Packet, Stage
from redrush.records.sqlite.file import BUSY_WAIT_MS, PACKAGE, transaction
from redrush.sqlfiles import load_statements

APPLICATION_ID: Final = 0x5252504B
"""In the file's header, so that no other SQLite file is taken for a book ("RRPK")."""

VERSION: Final = 1

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Packet).decode


class SqlitePacketBook:
    """Fulfils `redrush.ports.packets.PacketBook`. Calls may come from any thread; reads wait for no write."""

    def __init__(self, path: Path, writer: apsw.Connection, reader: apsw.Connection) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._sql = load_statements(PACKAGE, "packets.sql")
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()

    @classmethod
    def open_path(cls, path: Path) -> Self:
        """Open the book at `path`, an empty one where there is none. ConfigError for a file of something else."""
        sql = load_statements(PACKAGE, "packets.sql")
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            writer = _connect(path)
            with transaction(writer):
                _create(writer, path, sql)
            reader = _connect(path)
            reader.pragma("query_only", True)
        except (apsw.Error, OSError) as error:
            raise ConfigError(f"{path}: cannot be opened as a book of packets: {error}") from error
        return cls(path, writer, reader)

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

    def of_sender(self, user: str, limit: int) -> list[Booked]:
        """See the port."""
        return self._read("of_sender", sender=user, limit=limit)

    def given_minor(self, user: str, since_us: int) -> int:
        """See the port."""
        ((given,),) = self._rows("given", sender=user, since_us=since_us)
        return int(given)

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
        try:
            with self._write_lock, transaction(self._writer):
                self._writer.executemany(self._sql[name], rows)
        except apsw.Error as error:
            raise BookFailed(f"{self._path}: {error}") from error

    def _rows(self, name: str, **values: Any) -> list[tuple[Any, ...]]:
        try:
            with self._read_lock:
                found: list[tuple[Any, ...]] = self._reader.execute(self._sql[name], values).fetchall()
        except apsw.Error as error:
            raise BookFailed(f"{self._path}: {error}") from error
        return found

    def _read(self, name: str, **values: Any) -> list[Booked]:
        return [Booked(_decode(content), Stage(stage)) for content, stage in self._rows(name, **values)]


def _row(booked: Booked) -> tuple[Any, ...]:
    packet = booked.packet
    return (
        packet.id,
        packet.sender,
        int(booked.stage),
        packet.created_us,
        packet.paid_us,
        packet.closes_us,
        packet.total_minor,
        packet.request or None,
        _encode(packet),
    )


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(os.fspath(path))
    connection.set_busy_timeout(BUSY_WAIT_MS)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    return connection


def _create(writer: apsw.Connection, path: Path, sql: dict[str, str]) -> None:
    application_id, version = writer.pragma("application_id"), writer.pragma("user_version")
    if (application_id, version) == (APPLICATION_ID, VERSION):
        return
    if (application_id, version, writer.execute(sql["tables"]).get) != (0, 0, 0):
        raise ConfigError(f"{path}: is not a book of packets of version {VERSION}")
    writer.execute(sql["create"])
    writer.pragma("application_id", APPLICATION_ID)
    writer.pragma("user_version", VERSION)
