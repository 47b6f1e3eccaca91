"""What a set has lost. All copies: it is made anew from its journal. Moves that a copy lacks: entered by what others
know. Single grants: entered by their receipts.

The records hold every log record of a set word for word. Entered in order into an empty server they give the same set:
the same grants, pots, transfers and seq, and the log goes on where the records stop. What was acknowledged after the
last record that was kept is not in it. Of that, two things can still be known:

- *Moves.* Another set may have been given slots that this one must have taken, or have taken some that this one was to
  get. Both are entered after the journal, so no slot is in two sets. Therefore all other sets must answer.
- *Grants*, by the receipts in the hands of those who have them (`redrush.settle.honouring`).

Gates see no set here until it is finished: without an epoch every call is refused. It is then given terms of its own,
later than all before, which name it, so whatever may come back of the lost copies is out of date.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, Self

from redrush.core.sets.address import Address
from redrush.core.sets.failover import Terms
from redrush.ports.log_rows import row_of
from redrush.ports.store import (
    Confirmed,
    Given,
    Granted,
    Known,
    LogRecord,
    Opened,
    Released,
    Scattered,
    StoreConflict,
    StoreUnavailable,
    Taken,
    Transfers,
)
from redrush.stores.valkey.entries import chain_of, transfers_of
from redrush.stores.valkey.keys import Library, SetKeys
from redrush.stores.valkey.link import Access, Command, Link, Reply, ReplyFault, pack
from redrush.stores.valkey.proof import prove, read_held
from redrush.stores.valkey.terms import FLUSH, UNSURE, WAIT_MS, check_flushed, load

PAGE_RECORDS: Final = 256
"""Records in one write: tens of thousands of grants, and a bound on what waits in memory."""

SCANNED: Final = 1_000
"""Keys looked at in one call; a set has a handful for each pot."""

RESTORING: Final = "restoring"


class SetRebuild:
    """One rebuild: `begin`, `enter` the journal, `settle_moves`, `finish`. May be begun again after a crash."""

    def __init__(self, link: Link, keys: SetKeys, set_id: str) -> None:
        self._link = link
        self._keys = keys
        self._set_id = set_id
        self._library = Library.read()

    @classmethod
    async def begin(
        cls, address: Address, campaign_id: str, set_id: str, access: Access | None = None, *, drop: bool = False
    ) -> Self:
        """Begin on a server that holds no such set, or one whose rebuild was cut off. It follows nobody from then on.

        Raises StoreConflict if it holds the set, StoreUnavailable. With `drop` a set that may not be used, because it
        lacks what is known, is dropped.
        """
        keys = SetKeys(campaign_id, set_id)
        link, _ = await Link.connect(address, access or Access())
        try:
            rebuild = cls(link, keys, set_id)
            await rebuild._begin(drop)
        except BaseException:
            link.cut("not to be rebuilt")
            raise
        return rebuild

    async def _begin(self, drop: bool) -> None:
        address = self._link.address
        held = await read_held(self._link, self._keys)
        if drop and held.terms is not None and not held.is_proven:
            await self._drop()
            held = await read_held(self._link, self._keys)
        if held.terms is not None:
            name, epoch = self._keys.name, held.terms.epoch
            raise StoreConflict(f"{address} holds set {name} under epoch {epoch}: nothing is to be rebuilt")
        meta = self._keys.meta
        begun = (("REPLICAOF", "NO", "ONE"), ("HSET", meta, RESTORING, "1"), ("HSETNX", meta, "seq", "0"))
        for reply in await self._ask(*begun):
            if isinstance(reply, ReplyFault):
                raise StoreUnavailable(f"{address}: {reply}")
        await load(self._link, self._keys, self._library)

    async def enter(self, journal: Iterable[LogRecord]) -> int:
        """Enter the records in order, from the first on; return the seq of the last.

        Records that were entered before a crash are passed over. The journal is read in a thread.
        Raises StoreConflict for a record that cannot follow those before it: then it is another set's, or not whole.
        """
        pages = iter(journal)
        while page := await asyncio.to_thread(lambda: list(islice(pages, PAGE_RECORDS))):
            replies = await self._ask(*(self._entry(record, str(record.seq)) for record in page))
            for record, reply in zip(page, replies, strict=True):
                if isinstance(reply, ReplyFault):
                    raise StoreConflict(f"set {self._keys.name}: record {record.seq} cannot be entered: {reply}")
        (seq,) = await self._ask(("HGET", self._keys.meta, "seq"))
        return int(seq)

    async def settle_moves(self, others: Mapping[str, Transfers]) -> int:
        """Enter what moves have done to the set, as far as other sets know; see `settle_moves` of the module."""
        return await settle_moves(self._link, self._keys, self._set_id, RESTORING, others)

    async def _drop(self) -> None:
        """Delete every key of the set."""
        cursor = b"0"
        pattern = _escaped(self._keys.meta.removesuffix(b"meta")) + b"*"
        await self._ask(("REPLICAOF", "NO", "ONE"))
        while True:
            (found,) = await self._ask(("SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED))
            if isinstance(found, ReplyFault):
                raise StoreUnavailable(f"{self._link.address}: {found}")
            cursor, names = found
            if names:
                await self._ask(("UNLINK", *names))
            if cursor == b"0":
                return

    async def finish(self, terms: Terms, known: Known | None = None, *, is_all_known: bool = False) -> None:
        """Give the set its terms, under which gates may use it. Its epoch must be above all that there were; with it
        begins a new history. `known` is the most that was known of the set: what it has not got is lost. Unless
        `is_all_known` somebody may have been told more.

        Raises StoreUnavailable if they are not durable, or on too few replicas: do it again then.
        """
        await load(self._link, self._keys, self._library)
        ((seq, log_end),) = await self._ask(("HMGET", self._keys.meta, "seq", "chain"))
        last, (_, granted) = int(seq or 0), chain_of(log_end)
        lost = 0 if known is None else max(0, known.grants - granted)
        losses: tuple[Command, ...] = ()
        if known is not None and lost:
            losses = (("HSET", self._keys.meta, "losses", f"{terms.epoch} {last} {known.seq} {lost}"),)
        if not is_all_known:
            losses = (*losses, ("HSET", self._keys.meta, UNSURE, terms.epoch))
        orders: tuple[Command, ...] = (
            ("MULTI",),
            ("HDEL", self._keys.meta, RESTORING),
            ("HSET", self._keys.meta, "epoch", terms.epoch, "replicas", terms.replicas_needed),
            ("HSET", self._keys.meta, "primary", str(self._link.address), "forks", f"{terms.epoch} {last}"),
            *losses,
            ("EXEC",),
            ("WAIT", terms.replicas_needed, WAIT_MS),
            ("WAITAOF", 1, 0, WAIT_MS),
        )
        *_, done, replicas, flushed = await self._ask(*orders)
        if isinstance(done, ReplyFault) or isinstance(replicas, ReplyFault) or replicas < terms.replicas_needed:
            raise StoreUnavailable(f"{self._link.address}: the terms of set {self._keys.name} are not durable")
        check_flushed(self._link.address, flushed)
        await prove(self._link, self._keys, await read_held(self._link, self._keys))

    async def close(self) -> None:
        """End the link."""
        await self._link.close()

    def _entry(self, record: LogRecord, seq: str) -> Command:
        return _entry(self._library, self._keys, record, RESTORING, seq)

    async def _ask(self, *commands: Command) -> list[Reply]:
        return await self._link.call(b"".join(map(pack, commands)), len(commands))


async def settle_moves(link: Link, keys: SetKeys, set_id: str, epoch: str, others: Mapping[str, Transfers]) -> int:
    """Enter the halves of moves that other sets' transfers show this one must have done; return how many.

    The set must be under this epoch, or RESTORING, and nobody else may write to it meanwhile. Moves may hang together,
    so they are tried until no more fit. Slots that somebody was given and nobody has taken may have come from another
    set that has lost as much: where nothing of them is here, nothing is to be taken here. Not so where their pot is not
    open here: it may be opened later, with them. Raises StoreConflict if some do not fit at all, StoreUnavailable.
    """
    library = Library.read()
    await load(link, keys, library)
    missing = _missing_halves(set_id, await transfers_at(link, keys), others)
    entered = 0
    while missing:
        failed: list[tuple[Taken | Given, ReplyFault]] = []
        for record in missing:
            (reply,) = await link.call(pack(_entry(library, keys, record, epoch, "next")))
            if isinstance(reply, ReplyFault):
                failed.append((record, reply))
        entered += len(missing) - len(failed)
        if len(failed) == len(missing):
            wrong = [
                f"{record.transfer}: {reply}"
                for record, reply in failed
                if not (isinstance(record, Taken) and reply.code == "ABSENT" and reply.detail != record.pot)
            ]
            if wrong:
                raise StoreConflict(f"set {keys.name}: moves that do not fit: {'; '.join(wrong)}")
            break
        missing = [record for record, _ in failed]
    return entered


async def transfers_at(link: Link, keys: SetKeys) -> Transfers:
    """Return all moves that this server has of the set, whether it may be used or not. Raises StoreUnavailable."""
    taken, given = await link.call(pack(("HGETALL", keys.taken)) + pack(("HGETALL", keys.given)), 2)
    for reply in (taken, given):
        if isinstance(reply, ReplyFault):
            raise StoreUnavailable(f"{link.address}: {reply}")
    return transfers_of(taken, given)


async def enter_grant(link: Link, keys: SetKeys, terms: Terms, grant: Granted) -> ReplyFault | None:
    """Enter a grant into a set that is in use, under its terms and the next seq; `grant.seq` says nothing.

    Returns None when it is entered and durable, else why it is not: ABSENT, its slot is not there to be granted; HELD,
    the user has a grant of this pot already; TERMS. Raises StoreUnavailable if it is unknown.
    """
    return await _enter(link, keys, terms, grant)


async def enter_move(link: Link, keys: SetKeys, terms: Terms, half: Taken | Given) -> ReplyFault | None:
    """Enter one half of a move into a set that is in use, like `enter_grant`: of slots wherever they stand in the pot.

    Returns None, or why it is not entered: ABSENT, nothing of them is or was granted here; GRANTED, one was; ALREADY,
    one is here; HELD, the half is there already; TERMS. Raises StoreUnavailable if it is unknown.
    """
    return await _enter(link, keys, terms, half)


async def _enter(link: Link, keys: SetKeys, terms: Terms, record: LogRecord) -> ReplyFault | None:
    library = Library.read()
    await load(link, keys, library)
    entry = _entry(library, keys, record, str(terms.epoch), "next")
    wait = pack(("WAIT", terms.replicas_needed, WAIT_MS))
    reply, replicas, flushed = await link.call(pack(entry) + wait + FLUSH, 3)
    if isinstance(reply, ReplyFault):
        return reply
    if isinstance(replicas, ReplyFault) or replicas < terms.replicas_needed:
        raise StoreUnavailable(f"{link.address}: {replicas} of {terms.replicas_needed} replicas have what was entered")
    check_flushed(link.address, flushed)
    return None


def _escaped(name: bytes) -> bytes:
    """Return a pattern of SCAN that only this name fits."""
    return b"".join(b"\\" + bytes((byte,)) if byte in b"*?[]^\\" else bytes((byte,)) for byte in name)


def _entry(library: Library, keys: SetKeys, record: LogRecord, epoch: str, seq: str) -> Command:
    _, kind, pot, first_slot, count, at_us, users, slots, transfer = row_of(record)
    columns = ("" if value is None else value for value in (first_slot, count, at_us, users, slots, transfer))
    terms = (record.limit_per_user, record.hold_us or "") if isinstance(record, Opened) else ("", "")
    named = (keys.meta, keys.log, keys.taken, keys.given, *map(keys.pot, _pots_of(record)))
    return ("FCALL", library.enter, len(named), *named, epoch, seq, kind, pot, *columns, *terms)


def _pots_of(record: LogRecord) -> Iterable[str]:
    if isinstance(record, Scattered):
        return dict.fromkeys(grant.pot for grant in record.grants)
    if isinstance(record, Confirmed | Released):
        return dict.fromkeys(hold.pot for hold in record.holds)
    return (record.pot,)


def _missing_halves(set_id: str, held: Transfers, others: Mapping[str, Transfers]) -> Sequence[Taken | Given]:
    """Return what this set must have given to itself and taken from itself, by what the others did."""
    return [*_lost_gives(set_id, held, others), *_lost_takes(held, others)]


def _lost_gives(set_id: str, held: Transfers, others: Mapping[str, Transfers]) -> Iterator[Given]:
    for other in others.values():
        for transfer, half in other.taken.items():
            is_ours = transfer.startswith("rebalance:") and transfer.rpartition(":")[2] == set_id
            if is_ours and half.slots and transfer not in held.given:
                yield Given(0, half.pot, half.slots, transfer)


def _lost_takes(held: Transfers, others: Mapping[str, Transfers]) -> Iterator[Taken]:
    known = held.taken.keys() | {transfer for other in others.values() for transfer in other.taken}
    for other in others.values():
        for transfer, half in other.given.items():
            if half.slots and transfer not in known:
                yield Taken(0, half.pot, half.slots, transfer)
