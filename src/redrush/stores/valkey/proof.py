"""Whether a set's log has everything that others know of it: asked of each server process before it is used.

A server that comes back may hold an older log than it acknowledged: its disk was put back, its file was cut, somebody
turned its fsyncs off. It cannot know so itself. But others know how far the log was, and its fingerprint there: the
records with their cursor, the warden in its notes, the other servers, gates in their memory. Whatever a log lacks of
that, or has otherwise, shows. A process whose log was compared is marked with its own run id (`prove` of the library),
which no other process has and no copy of its files can claim. Without the mark every call is refused.
"""

from collections.abc import Sequence
from typing import Final

from redrush.ports.set_servers import Held
from redrush.ports.store import Known, StoreUnavailable
from redrush.stores.valkey.entries import before_of, chain_of
from redrush.stores.valkey.keys import Library, SetKeys
from redrush.stores.valkey.link import Command, Link, Reply, ReplyFault, pack
from redrush.stores.valkey.terms import history_of, load, terms_of

FIELDS: Final = ("epoch", "replicas", "forks", "seq", "chain", "proven")


def question(keys: SetKeys) -> tuple[Command, ...]:
    """Return what to ask a server for `held_of`."""
    return (("INFO", "server"), ("HMGET", keys.meta, *FIELDS))


def held_of(answers: Sequence[Reply]) -> Held:
    """Return what the answers to `question` say."""
    info, fields = answers
    text = info.decode() if isinstance(info, bytes) else str(info)
    run_id = text.partition("run_id:")[2].partition("\r")[0]
    *terms, forks, seq, log_end, proven = fields
    chain, granted = chain_of(log_end)
    return Held(
        run_id,
        proven is not None and proven.decode() == run_id,
        terms_of(terms),
        history_of(forks),
        int(seq or 0),
        chain,
        granted,
    )


async def read_held(link: Link, keys: SetKeys) -> Held:
    """Return what the server holds. Raises StoreUnavailable, also while it still reads its file."""
    asked = question(keys)
    answers = await link.call(b"".join(map(pack, asked)), len(asked))
    for reply in answers:
        if isinstance(reply, ReplyFault):
            raise StoreUnavailable(f"{link.address}: {reply}")
    return held_of(answers)


async def lack(link: Link, keys: SetKeys, held: Held, known: Known, who: str) -> str | None:
    """Return what the server's log lacks of what `who` knows of it, as the end of a sentence about it; None: nothing.

    Where an operator has since begun a new generation without what is known, nothing is lacking. Records that were
    trimmed are not compared: who trims has compared them.
    """
    if known.generation > held.history.generation:
        return f"is of generation {held.history.generation}, and by {who} generation {known.generation} has begun"
    shared = held.history.shared_since(known.generation)
    if shared is not None and known.seq > shared:
        return None
    if known.seq > held.seq:
        return f"ends at log record {held.seq}, and by {who} it goes on to record {known.seq}"
    chain = held.chain if known.seq == held.seq else await chain_at(link, keys, known.seq)
    if chain is None or known.chain is None or chain == known.chain:
        return None
    return f"has other log records up to {known.seq} than by {who}"


async def chain_at(link: Link, keys: SetKeys, seq: int) -> str | None:
    """Return the fingerprint of the log up to this record, which is not the last; None if the next one is trimmed."""
    following = f"{seq + 1}-0"
    (entries,) = await link.call(pack(("XRANGE", keys.log, following, following)))
    if isinstance(entries, ReplyFault):
        raise StoreUnavailable(f"{link.address}: {entries}")
    return before_of(entries[0]) if entries else None


async def prove(link: Link, keys: SetKeys, held: Held) -> None:
    """Let the set be used in this server process, as it was when it was compared. Raises StoreUnavailable."""
    if held.terms is None:
        raise StoreUnavailable(f"{link.address}: holds no set {keys.name}")
    library = Library.read()
    await load(link, keys, library)
    order: Command = ("FCALL", library.prove, 1, keys.meta, held.terms.epoch, held.seq, held.chain)
    (reply,) = await link.call(pack(order))
    if isinstance(reply, ReplyFault):
        raise StoreUnavailable(f"{link.address}: {reply}")
