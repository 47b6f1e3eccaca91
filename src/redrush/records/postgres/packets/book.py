"""The book of group packets in PostgreSQL: a call is one transaction, and a statement or two however many packets."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import psycopg

from redrush.core.nobody import ignore
from redrush.errors import ConfigError, RedrushError
from redrush.ports.packets import Booked, BookFailed, Packet, Stage
from redrush.records.postgres.greeting import QUERY_MAX_S, reading, writing
from redrush.records.postgres.link import ANSWER_MAX_S, Cursor
from redrush.records.postgres.migrations import Tell
from redrush.sqlfiles import load_statements

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Packet).decode


class PostgresPacketBook:
    """Fulfils `redrush.ports.packets.PacketBook` for one campaign. Calls may come from any thread; reads wait for no
    write."""

    def __init__(
        self,
        dsn: str,
        campaign: str,
        *,
        answer_max_s: float = ANSWER_MAX_S,
        query_max_s: float = QUERY_MAX_S,
        tell: Tell = ignore,
    ) -> None:
        """Connects to nothing yet. Waits for no answer longer than `answer_max_s`, of a read `query_max_s`."""
        self._sql = {name: text.encode() for name, text in load_statements(__package__, "queries.sql").items()}
        self._campaign = campaign
        self._writer = writing(dsn, answer_max_s, tell, self._greet)
        self._reader = reading(dsn, query_max_s, tell, self._greet)

    def add(self, packets: Sequence[Booked]) -> list[Booked]:
        """See the port."""
        named = [(one.packet.sender, one.packet.request) for one in packets if one.packet.request]
        with self._changing() as at:
            self._run(at, "add", packets=_rows(packets))
            known = self._of_requests(at, named) if named else {}
        return [known.get((one.packet.sender, one.packet.request), one) for one in packets]

    def _of_requests(self, at: Cursor, named: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Booked]:
        asked = _encode([{"sender": sender, "request": request} for sender, request in named]).decode()
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

    def close(self) -> None:
        """See the port."""
        self._writer.close()
        self._reader.close()

    def _read(self, name: str, **values: Any) -> list[Booked]:
        with self._looking() as at:
            return [_booked(content, stage) for content, stage in self._run(at, name, **values)]

    def _run(self, at: Cursor, name: str, **values: Any) -> Cursor:
        return at.execute(self._sql[name], {"campaign": self._campaign, **values})

    @contextmanager
    def _changing(self) -> Iterator[Cursor]:
        with _book_failed(), self._writer.transaction() as at:
            yield at

    @contextmanager
    def _looking(self) -> Iterator[Cursor]:
        with _book_failed(), self._reader.transaction() as at:
            yield at

    def _greet(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(self._sql["by_index"])


@contextmanager
def _book_failed() -> Iterator[None]:
    try:
        yield
    except (ConfigError, BookFailed):
        raise
    except RedrushError as fault:
        raise BookFailed(str(fault)) from fault


def _rows(packets: Sequence[Booked]) -> str:
    return _encode([_row(booked.packet, booked.stage) for booked in packets]).decode()


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
