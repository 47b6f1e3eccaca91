"""The terms of a set, which it holds itself: under which epoch it is, and how many replicas an acknowledgement needs.

`epoch` grows with every promotion and with every change of `replicas_needed`. A call carries the epoch its caller
believes in and a server under another one refuses it, so a gate can neither write to a primary that was replaced while
the gate knows better, nor go on with a weaker durability after it was raised. A gate that does not know better is
stopped by WAIT: the replica of the old primary has left it. Known terms only ever grow.

A set that was made anew, or promoted by force, goes on with another history. Its generation is the epoch under which
it began, so whoever has the terms has the history, and no call reaches another one than its caller knows.
"""

from typing import Final

from redrush.core.sets.absence import Absence
from redrush.core.sets.address import Address
from redrush.core.sets.failover import Terms
from redrush.ports.set_servers import ForkedOff
from redrush.ports.store import FIRST_HISTORY, Fork, History, StoreConflict, StoreUnavailable
from redrush.stores.valkey.keys import Library, SetKeys
from redrush.stores.valkey.link import Command, Link, Reply, ReplyFault, pack

__all__ = [
    "FLUSH",
    "UNSURE",
    "WAIT_MS",
    "WRITTEN_OFF",
    "Terms",
    "check_flushed",
    "fence",
    "history_of",
    "is_named",
    "load",
    "lost_grants",
    "note_heard",
    "read_terms",
    "terms_of",
]

WAIT_MS: Final = 1_000
"""How long replicas may take to hold what was acknowledged; then nothing is. Less than REPLY_S, which ends the link."""


FLUSH: Final = pack(("WAITAOF", 1, 0, WAIT_MS))
"""Answered when the server's own append-only file holds, fsynced, all that was written before on the same connection.
It is asked behind every call, whatever the settings are: who turns `appendfsync` or `appendonly` off by hand
makes it wait, or fail, from the same turn of the server's loop on. So an acknowledgement never rests on a setting."""


def check_flushed(where: object, flushed: Reply) -> None:
    """Raise StoreUnavailable unless the reply to FLUSH says that all is on the server's disk."""
    if isinstance(flushed, ReplyFault):
        raise StoreUnavailable(f"{where}: writes no append-only file ({flushed})", Absence.SETTINGS)
    if not flushed[0]:
        raise StoreUnavailable(f"{where}: its append-only file was not fsynced within {WAIT_MS} ms", Absence.DISK)


def terms_of(held: Reply) -> Terms | None:
    """Return the terms in a set's `meta`, read as epoch and replicas; None if there is no set."""
    epoch, replicas = held
    return None if epoch is None else Terms(int(epoch), int(replicas))


def history_of(forks: bytes | None) -> History:
    """Return the history that the field `forks` in a set's `meta` tells, None being none."""
    numbers = [int(number) for number in (forks or b"").split()]
    known = tuple(Fork(generation, seq) for generation, seq in zip(numbers[::2], numbers[1::2], strict=True))
    return History(known[-1].generation, known) if known else FIRST_HISTORY


def is_named(primary: bytes | None, address: Address) -> bool:
    """Return whether a server at this address may be the primary, by the name in the set's `meta`, if there is one."""
    return primary is None or primary.decode() == str(address)


async def read_terms(link: Link, keys: SetKeys) -> tuple[Terms, History] | ReplyFault | None:
    """Return the terms that the server holds and the history under them, None if it has no such set, or its error
    reply, such as MOVED."""
    (reply,) = await link.call(pack(("HMGET", keys.meta, "epoch", "replicas", "forks")))
    if isinstance(reply, ReplyFault):
        return reply
    *held, forks = reply
    terms = terms_of(held)
    return None if terms is None else (terms, history_of(forks))


async def load(link: Link, keys: SetKeys, library: Library) -> None:
    """See to it that the server knows the library. Raises StoreUnavailable if it does not, and takes it from us not."""
    (known,) = await link.call(pack(("FCALL", library.touch, 1, keys.meta, "", 0)))
    if not isinstance(known, ReplyFault) or "not found" not in known.detail:
        return
    (reply,) = await link.call(pack(("FUNCTION", "LOAD", library.source)))
    if not isinstance(reply, ReplyFault) or "already exists" in reply.detail:
        return
    if reply.code == "NOPERM":
        raise StoreUnavailable(
            f"{link.address}: does not know the functions of this release, and this user may not load them: "
            "`redrush found --deploy FILE` does, also of sets that are founded",
            Absence.FUNCTIONS,
        )
    raise StoreUnavailable(f"{link.address}: does not take the functions: {reply}")


UNSURE: Final = "unsure"
"""Field of a set's `meta`: the epoch under which it went on last while nobody could tell all that it had acknowledged
before; it stands until an operator says that whoever was told something was heard."""


WRITTEN_OFF: Final = "written_off"
"""Field of a set's `meta`: how many lost grants nobody is waited for any more who would have a receipt."""


async def note_heard(link: Link, keys: SetKeys, *, write_off: bool = False) -> None:
    """Note that whoever may have been told something was heard; `write_off`: and that nobody is waited for any more.
    Raises StoreUnavailable if it is not durable."""
    (held,) = await link.call(pack(("HMGET", keys.meta, "losses", "honoured")))
    if isinstance(held, ReplyFault):
        raise StoreUnavailable(f"{link.address}: {held}")
    left = max(0, lost_grants(held[0]) - int(held[1] or 0))
    orders: tuple[Command, ...] = (("HDEL", keys.meta, UNSURE),)
    orders += (("HSET", keys.meta, WRITTEN_OFF, left),) if write_off else ()
    *done, flushed = await link.call(b"".join(map(pack, orders)) + FLUSH, len(orders) + 1)
    for reply in done:
        if isinstance(reply, ReplyFault):
            raise StoreUnavailable(f"{link.address}: {reply}")
    check_flushed(link.address, flushed)


def lost_grants(losses: bytes | None) -> int:
    """Return how many grants a set went on without, by the field `losses` of its `meta`."""
    return sum(int(grants) for grants in (losses or b"").split()[3::4])


async def fence(link: Link, keys: SetKeys, terms: Terms, *, named: bool = False, fork: ForkedOff | None = None) -> None:
    """Put the set on this server under new terms, durable under these when it returns.

    `named` says that the terms are those of this server alone: one that has a copy of them is no primary. `fork`, only
    for one that is named, begins a new history.

    Raises StoreConflict if its epoch is not lower, StoreUnavailable if the server refused or replicas are missing: the
    terms may or may not be new then, read them again.
    """
    library = Library.read()
    await load(link, keys, library)
    primary = (str(link.address),) if named else ()
    forked = () if fork is None else (fork.shared_seq, fork.lost_seq, fork.lost_grants)
    assert named or not forked, "the library reads the arguments by their places"
    is_unsure = fork is not None and not fork.is_all_known
    # Before the terms: one that is there without them makes an operator say a word too many, and no loss is kept quiet.
    unsure: tuple[Command, ...] = (("HSET", keys.meta, UNSURE, terms.epoch),) if is_unsure else ()
    *marked, done, replicas, flushed = await link.call(
        b"".join(map(pack, unsure))
        + pack(("FCALL", library.fence, 1, keys.meta, terms.epoch, terms.replicas_needed, *primary, *forked))
        + pack(("WAIT", terms.replicas_needed, WAIT_MS))
        + FLUSH,
        len(unsure) + 3,
    )
    for reply in marked:
        if isinstance(reply, ReplyFault):
            raise StoreUnavailable(f"{link.address}: {reply}")
    if isinstance(done, ReplyFault):
        if done.code == "FENCED":
            raise StoreConflict(f"set {keys.name} is under epoch {done.detail}, it cannot go to {terms.epoch}")
        raise StoreUnavailable(f"{link.address}: {done}")
    if isinstance(replicas, ReplyFault) or replicas < terms.replicas_needed:
        needed = terms.replicas_needed
        raise StoreUnavailable(f"{link.address}: epoch {terms.epoch} needs {needed} replicas, {replicas} have it")
    check_flushed(link.address, flushed)
