"""The port to the servers of a set, one by one: for whoever decides which of them is the primary.

A store speaks to whichever server is the primary; a warden speaks to each of them: it asks what the server holds, and
gives orders. What to order is decided in `redrush.core.sets.failover`. A store that is one file has no such servers.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from redrush.core.sets.address import Address
from redrush.core.sets.failover import Seen, Terms
from redrush.ports.store import History, Known, Transfers


class Held(msgspec.Struct, frozen=True):
    """What a server holds of a set; `terms` is None where it is none. `run_id` names the process, for its lifetime."""

    run_id: str
    is_proven: bool
    terms: Terms | None
    history: History
    seq: int
    chain: str
    grants: int

    @property
    def known(self) -> Known:
        """What the server knows of the log."""
        return Known(self.history.generation, self.seq, self.chain, self.grants)


class ForkedOff(msgspec.Struct, frozen=True):
    """A new history begins, which has the records up to `shared_seq` in common with the last one. Somebody knew records
    up to `lost_seq`, which are lost, and with them `lost_grants` grants: nobody was known to know more, where 0.
    Unless `is_all_known` somebody may have been told more all the same."""

    shared_seq: int
    lost_seq: int = 0
    lost_grants: int = 0
    is_all_known: bool = False


class SetServer(Protocol):
    """A connection to one server of a set. Every call raises StoreUnavailable if the server does not answer it, and
    then, of an order, it is unknown whether it was followed."""

    @property
    def address(self) -> Address:
        """Where the server is."""

    @property
    def is_lost(self) -> bool:
        """Whether the connection has ended."""

    def cut(self, why: str) -> None:
        """End the connection at once; calls that wait fail with these words."""

    async def examine(self) -> tuple[Seen, Held]:
        """Return what the server says of itself, and how its log is."""

    async def held(self) -> Held:
        """Return what the server holds of the set."""

    async def lack(self, held: Held, known: Known, who: str) -> str | None:
        """Return what the server's log lacks of what `who` knows of it, as the end of a sentence about the log; None:
        nothing. `held` is what it held when it was asked."""

    async def prove(self, held: Held) -> None:
        """Let the set be used in this server process, as it was when it was compared."""

    async def follow(self, primary: Address) -> None:
        """Make the server a replica of `primary`: it drops what it has and takes over what that has."""

    async def detach(self) -> tuple[Terms | None, int]:
        """Make the server follow nobody; return its terms, and the last seq that it had before others could write."""

    async def put_under(self, terms: Terms, fork: ForkedOff | None = None) -> None:
        """Put the set under new terms and tell the gates; with `fork`, in a new history.

        Raises StoreConflict if its epoch is not lower."""

    async def heard_out(self, *, write_off: bool) -> None:
        """Note, durably, that whoever may have been granted what the set lacks was heard; `write_off`: and that nobody
        is waited for any more."""

    async def settle_moves(self, epoch: int, others: Mapping[str, Transfers]) -> int:
        """Enter the halves of moves that other sets' transfers show this one must have done; return how many.

        The set must be under this epoch. Raises StoreConflict if some do not fit."""


class SetServers(Protocol):
    """Which servers a set has, and how to reach them."""

    @property
    def id(self) -> str:
        """The set."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All of them; any may be the primary."""

    async def connect(self, address: Address) -> SetServer:
        """Return a new connection to the server there. Raises StoreUnavailable."""
