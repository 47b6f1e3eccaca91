"""The servers of a set one by one, for whoever decides which of them is the primary: what each says, and its orders."""

import importlib.resources

import msgspec

from redrush.core.sets.address import Address
from redrush.core.sets.failover import Seen, Terms
from redrush.ports.news import NewTerms
from redrush.ports.set_servers import ForkedOff, Held
from redrush.ports.store import StoreUnavailable
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Command, Link, Reply, ReplyFault, pack
from redrush.stores.valkey.news import encode
from redrush.stores.valkey.proof import held_of, question
from redrush.stores.valkey.terms import fence, is_named, terms_of


async def examine(link: Link, keys: SetKeys) -> tuple[Seen, Held]:
    """Return what the server says of itself, and how its log is. Raises StoreUnavailable, also while it still reads its
    file."""
    asked = (("INFO", "replication"), ("HMGET", keys.meta, "epoch", "primary", "detached"), *question(keys))
    replies = await link.call(b"".join(map(pack, asked)), len(asked))
    for reply in replies:
        _check(link, reply)
    info, (epoch, primary, detached), *answers = replies
    held = held_of(answers)
    fields = _fields(info)
    follows_nobody = fields["role"] == "master"
    seen = Seen(
        is_primary=follows_nobody and is_named(primary, link.address),
        is_named=primary is not None,
        terms=held.terms,
        is_proven=held.is_proven,
        offset=int(fields["master_repl_offset" if follows_nobody else "slave_repl_offset"]),
        is_detached=follows_nobody and detached is not None and detached.partition(b" ")[0] == epoch,
    )
    if follows_nobody:
        return seen, held
    following = msgspec.structs.replace(
        seen,
        follows=str(Address(fields["master_host"], int(fields["master_port"]))),
        is_linked=fields["master_link_status"] == "up" and fields["master_sync_in_progress"] == "0",
    )
    return following, held


async def follow(link: Link, primary: Address) -> None:
    """Make the server a replica of `primary`: it drops what it has and takes over what that has."""
    (reply,) = await link.call(pack(("REPLICAOF", primary.host, primary.port)))
    _check(link, reply)


async def detach(link: Link, keys: SetKeys) -> tuple[Terms | None, int]:
    """Make the server follow nobody; return its terms, and the last seq that it had before others could write to it."""
    script = importlib.resources.files(__package__).joinpath("detach.lua").read_text(encoding="utf-8")
    orders: tuple[Command, ...] = (
        ("MULTI",),
        ("REPLICAOF", "NO", "ONE"),
        ("EVAL", script, 1, keys.meta),
        ("EXEC",),
    )
    *_, done = await link.call(b"".join(map(pack, orders)), len(orders))
    _check(link, done)
    for reply in done:
        _check(link, reply)
    *terms, seq = done[-1]
    return terms_of(terms), int(seq)


async def put_under(link: Link, keys: SetKeys, terms: Terms, fork: ForkedOff | None = None) -> None:
    """Put the set under new terms and tell the gates; with `fork`, in a new history, as `fence` says.

    Raises StoreConflict if its epoch is not lower; StoreUnavailable if it is unknown whether it is done.
    """
    await fence(link, keys, terms, named=True, fork=fork)
    (reply,) = await link.call(pack(("PUBLISH", keys.news, encode(NewTerms(terms.epoch)))))
    _check(link, reply)


def _fields(info: Reply) -> dict[str, str]:
    """Return the `name:value` lines of INFO."""
    text = info.decode() if isinstance(info, bytes) else str(info)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def _check(link: Link, reply: Reply) -> None:
    if isinstance(reply, ReplyFault):
        raise StoreUnavailable(f"{link.address}: {reply}")
