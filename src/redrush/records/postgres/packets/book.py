"""The book of group packets in PostgreSQL: a call is one transaction, and a statement or two however many packets."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from redrush.core.nobody import ignore
from redrush.ports.packets import Booked, BookFailed, Packet, Stage
from redrush.records.postgres.book import PostgresBook, failing_as, json_rows
from redrush.records.postgres.link import Cursor
from redrush.records.postgres.migrations import Tell

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Packet).decode


class PostgresPacketBook(PostgresBook):
    """Fulfils `redrush.ports.packets.PacketBook` for one campaign. Calls may come from any thread; reads wait for no
    write."""

    def __init__(self, dsn: str, campaign: str, *, tell: Tell = ignore, as_it_is: bool = False) -> None:
        """Connects to nothing yet."""
        super().__init__(__package__, dsn, {"campaign": campaign}, tell, as_it_is=as_it_is)

    def add(self, packets: Sequence[Booked]) -> list[Booked]:
        """See the port."""
        named = [(one.packet.sender, one.packet.request) for one in packets if one.packet.request]
        with self._changing() as at:
            self._run(at, "add", packets=_rows(packets))
            known = self._of_requests(at, named) if named else {}
        return [known.get((one.packet.sender, one.packet.request), one) for one in packets]

    def _of_requests(self, at: Cursor, named: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Booked]:
        asked = json_rows([{"sender": sender, "request": request} for sender, request in named])
        rows = self._run(at, "of_requests", asked=asked)
        return {(sender, request): _booked(content, stage) for sender, request, content, stage in rows}

    def keep(self, packets: Sequence[Booked]) -> None:
        """See the port."""
        with self._changing() as at:
            self._run(at, "keep", packets=_rows(packets))

    def turn(self, ids: Iterable[str], stage: Stage) -> None:
        """See the port."""
        with self._changing() as at:
            self._run(at, "turn", ids=list(ids), stage=int(stage))

    def find(self, packet: str) -> Booked | None:
        """See the port."""
        (found,) = self.find_each([packet])
        return found

    def find_each(self, packets: Sequence[str]) -> list[Booked | None]:
        """See the port."""
        with self._looking() as at:
            found = {id_: _booked(content, stage) for id_, content, stage in self._run(at, "find_each", ids=packets)}
        return [found.get(packet) for packet in packets]

    def of_sender(self, user: str, limit: int) -> list[Booked]:
        """See the port."""
        return self._read("of_sender", sender=user, limit=limit)

    def given_minor(self, users: Iterable[str], since_us: int) -> dict[str, int]:
        """See the port."""
        senders = list(users)
        with self._looking() as at:
            rows = self._run(at, "given", senders=senders, since_us=since_us).fetchall()
        return dict.fromkeys(senders, 0) | {str(sender): int(minor) for sender, minor in rows}

    def paying(self, after: str, limit: int) -> list[Booked]:
        """See the port."""
        return self._read("paying", after=after, limit=limit)

    def any_under_way(self) -> bool:
        """See the port."""
        with self._looking() as at:
            row = self._run(at, "under_way").fetchone()
        return row is not None and bool(row[0])

    def due(self, now_us: int, limit: int) -> list[Booked]:
        """See the port."""
        return self._read("due", now_us=now_us, limit=limit)

    def opened(self, after: str, limit: int) -> list[Booked]:
        """Return up to so many open packets whose ids are above `after`, in order of their ids."""
        return self._read("opened", after=after, limit=limit)

    def heard(self, log: str) -> int:
        """Return up to which record of a log this book knows the packets that were opened without it."""
        with self._looking() as at:
            row = self._run(at, "heard", log=log).fetchone()
        return 0 if row is None else int(row[0])

    def hear(self, log: str, seq: int, packets: Sequence[Booked]) -> None:
        """Write down packets that the log has up to this record, and that it was heard."""
        with self._changing() as at:
            self._run(at, "add", packets=_rows(packets))
            self._run(at, "hear", log=log, seq=seq)

    def _read(self, name: str, **values: Any) -> list[Booked]:
        with self._looking() as at:
            return [_booked(content, stage) for content, stage in self._run(at, name, **values)]

    @contextmanager
    def _changing(self) -> Iterator[Cursor]:
        with failing_as(BookFailed), self._writer.transaction() as at:
            yield at

    @contextmanager
    def _looking(self) -> Iterator[Cursor]:
        with failing_as(BookFailed), self._reader.transaction() as at:
            yield at


def _rows(packets: Sequence[Booked]) -> str:
    return json_rows([_row(booked.packet, booked.stage) for booked in packets])


def _row(packet: Packet, stage: Stage) -> dict[str, Any]:
    return {
        "id": packet.id,
        "sender": packet.sender,
        "stage": int(stage),
        "created_us": packet.created_us,
        "paid_us": packet.paid_us,
        "closes_us": packet.closes_us,
        "total_minor": packet.total_minor,
        "request": packet.request or None,
        "content": _encode(packet).decode(),
    }


def _booked(content: str, stage: int) -> Booked:
    return Booked(_decode(content), Stage(stage))
