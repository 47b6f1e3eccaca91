"""The servers of a set one by one, for whoever decides which of them is the primary: what each says, and its orders."""

from redrush.config.deployment_file import Address
from redrush.core.failover import Seen, Terms
from redrush.ports.news import NewTerms
from redrush.ports.store import StoreUnavailable
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Link, Reply, ReplyFault, pack
from redrush.stores.valkey.news import encode
from redrush.stores.valkey.terms import fence, terms_of


async def examine(link: Link, keys: SetKeys) -> Seen:
    """Return what the server says of itself. Raises StoreUnavailable, also while it still reads its file."""
    info, held = await link.call(pack(("INFO", "replication")) + pack(("HMGET", keys.meta, "epoch", "replicas")), 2)
    for reply in (info, held):
        if isinstance(reply, ReplyFault):
            raise StoreUnavailable(f"{link.address}: {reply}")
    return _seen(_fields(info), terms_of(held))


async def follow(link: Link, primary: Address) -> None:
    """Make the server a replica of `primary`: it drops what it has and takes over what that has."""
    (reply,) = await link.call(pack(("REPLICAOF", primary.host, primary.port)))
    _check(link, reply)


async def detach(link: Link, keys: SetKeys) -> Seen:
    """Make the server follow nobody; return what it has, as of that very instant."""
    orders = (("MULTI",), ("REPLICAOF", "NO", "ONE"), ("INFO", "replication"))
    last = ("HMGET", keys.meta, "epoch", "replicas")
    packed = b"".join(pack(order) for order in (*orders, last, ("EXEC",)))
    *_, done = await link.call(packed, 5)
    if isinstance(done, ReplyFault):
        raise StoreUnavailable(f"{link.address}: {done}")
    for reply in done:
        if isinstance(reply, ReplyFault):
            raise StoreUnavailable(f"{link.address}: {reply}")
    _, info, held = done
    return _seen(_fields(info), terms_of(held))


async def put_under(link: Link, keys: SetKeys, terms: Terms) -> None:
    """Put the set under new terms and tell the gates.

    Raises StoreConflict if its epoch is not lower; StoreUnavailable if it is unknown whether it is done.
    """
    await fence(link, keys, terms)
    (reply,) = await link.call(pack(("PUBLISH", keys.news, encode(NewTerms(terms.epoch)))))
    if isinstance(reply, ReplyFault):
        raise StoreUnavailable(f"{link.address}: {reply}")


def _seen(fields: dict[str, str], terms: Terms | None) -> Seen:
    if fields["role"] == "master":
        return Seen(is_primary=True, terms=terms, offset=int(fields["master_repl_offset"]))
    return Seen(
        is_primary=False,
        terms=terms,
        offset=int(fields["slave_repl_offset"]),
        follows=str(Address(fields["master_host"], int(fields["master_port"]))),
        is_linked=fields["master_link_status"] == "up" and fields["master_sync_in_progress"] == "0",
    )


def _fields(info: Reply) -> dict[str, str]:
    """Return the `name:value` lines of INFO."""
    text = info.decode() if isinstance(info, bytes) else str(info)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def _check(link: Link, reply: Reply) -> None:
    if isinstance(reply, ReplyFault):
        raise StoreUnavailable(f"{link.address}: {reply}")
