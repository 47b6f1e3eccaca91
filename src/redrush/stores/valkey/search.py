"""Who of a set's servers is its primary.

Every address is asked at once; of those that say "master" the one with the highest epoch is the primary. On a cluster
the addresses are seeds: MOVED leads to the node that holds the set's keys.

What makes an acknowledgement durable is the servers' configuration, so it is read from each and refused where weaker.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from redrush.core.sets.absence import Absence
from redrush.core.sets.address import Address
from redrush.errors import ConfigError
from redrush.ports.set_servers import Held
from redrush.ports.store import StoreUnavailable
from redrush.stores.valkey.absences import refused
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Access, Link, Reply, ReplyFault, pack
from redrush.stores.valkey.proof import held_of, question
from redrush.stores.valkey.terms import Terms, is_named

VERSION_MIN: Final = (7, 2)
"""Functions came with 7.0; 7.2 is what is tested, and the last that both Redis and Valkey are."""

REQUIRED: Final = {
    b"appendonly": b"yes",
    b"appendfsync": b"always",
    b"no-appendfsync-on-rewrite": b"no",
    b"maxmemory-policy": b"noeviction",
}

ASK_SETTINGS: Final = pack(("CONFIG", "GET", *REQUIRED))

MOVED_MAX: Final = 5
"""Redirects followed in one search; a cluster in order needs one."""

OTHERS_S: Final = 0.1
"""How much longer to wait for other addresses once a primary under good terms was found: it may have been replaced."""


class ServerMisconfigured(ConfigError):
    """A server of a set would lose what it acknowledged, or is too old."""


class Server(msgspec.Struct, frozen=True):
    """A server that answered. Its link stands; `is_primary` says that it follows nobody, and is named as such."""

    link: Link
    is_primary: bool
    held: Held

    @property
    def terms(self) -> Terms | None:
        """The terms that it holds, None for one that holds no such set."""
        return self.held.terms


class Search:
    """What asking every address brought: the servers that answered, and why others did not."""

    def __init__(self, keys: SetKeys, access: Access) -> None:
        self.servers: list[Server] = []
        self.silent: dict[Address, str] = {}
        self._silent_because: set[Absence] = set()
        self._keys = keys
        self._access = access
        self._asked: dict[Address, asyncio.Task[Address | None]] = {}

    async def run(self, addresses: Sequence[Address], epoch_min: int) -> None:
        """Ask all; return when each has answered or failed, or OTHERS_S after a primary of `epoch_min` or later did.

        Takes at most a few CONNECT_S. Raises ServerMisconfigured if one of them is.
        """
        try:
            await self._ask_all(addresses, epoch_min)
        except BaseException:
            self.close()
            raise

    async def _ask_all(self, addresses: Sequence[Address], epoch_min: int) -> None:
        try:
            for address in addresses:
                self._begin(address)
            redirects = 0
            while waiting := [task for task in self._asked.values() if not task.done()]:
                patience_s = OTHERS_S if self.primaries(epoch_min) else None
                done, _ = await asyncio.wait(waiting, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                for moved_to in filter(None, [task.result() for task in done]):
                    redirects += 1
                    if redirects <= MOVED_MAX:
                        self._begin(moved_to)
        finally:
            for task in self._asked.values():
                task.cancel()
            await asyncio.gather(*self._asked.values(), return_exceptions=True)

    def primaries(self, epoch_min: int) -> list[tuple[Terms, Link]]:
        """Return the primaries that hold the set under this epoch or a later one, the latest last.

        One whose log was not compared since it was started is none: it may have gone back in time.
        """
        held = [
            (server.terms, server.link)
            for server in self.servers
            if server.is_primary
            and server.terms is not None
            and server.terms.epoch >= epoch_min
            and server.held.is_proven
        ]
        return sorted(held, key=lambda primary: primary[0].epoch)

    def unproven(self, epoch_min: int) -> Server | None:
        """Return the primary of the latest epoch whose log is still to be compared, if there is one."""
        found = [
            server
            for server in self.servers
            if server.is_primary and server.terms is not None and server.terms.epoch >= epoch_min
        ]
        latest = max(found, key=lambda server: server.terms.epoch if server.terms else 0, default=None)
        return None if latest is None or latest.held.is_proven else latest

    def held_at(self, link: Link) -> Held:
        """Return what the server at the end of this link holds."""
        return next(server.held for server in self.servers if server.link is link)

    def close(self, but: Link | None = None) -> None:
        """Cut every link but this one."""
        for server in self.servers:
            if server.link is not but:
                server.link.cut("not needed")

    def why_not(self) -> str:
        """Return one sentence of why this search found no primary."""
        said = [f"{address}: {reason}" for address, reason in self.silent.items()]
        said += [f"{server.link.address}: {_role(server)}" for server in self.servers]
        return f"set {self._keys.name}: no primary; {'; '.join(said) or 'no address was given'}"

    def reason(self) -> Absence:
        """Return why this search found no primary, as one of the reasons."""
        if not self.servers:
            others = self._silent_because - {Absence.AWAY}
            return others.pop() if len(others) == 1 else Absence.AWAY
        if any(server.is_primary and server.terms is None for server in self.servers) and not self.silent:
            return Absence.NOT_FOUNDED
        if self.unproven(0) is not None:
            return Absence.UNPROVEN
        return Absence.NO_PRIMARY

    def _is_silent(self, address: Address, why: StoreUnavailable) -> None:
        self.silent[address] = str(why).removeprefix(f"{address}: ")
        self._silent_because.add(why.reason)

    def _begin(self, address: Address) -> None:
        if address not in self._asked:
            self._asked[address] = asyncio.create_task(self._ask(address))

    async def _ask(self, address: Address) -> Address | None:
        """Keep the server, or why there is none; return where a cluster says the set is."""
        try:
            link, greeting = await Link.connect(address, self._access)
        except StoreUnavailable as error:
            self._is_silent(address, error)
            return None
        try:
            return await self._examine(link, greeting)
        except StoreUnavailable as error:
            link.cut("not usable")
            self._is_silent(address, error)
            return None
        except BaseException:
            link.cut("not needed")
            raise

    async def _examine(self, link: Link, greeting: dict[bytes, Reply]) -> Address | None:
        role, config, primary, *answers = await link.call(
            pack(("ROLE",))
            + ASK_SETTINGS
            + pack(("HGET", self._keys.meta, "primary"))
            + b"".join(map(pack, asked := question(self._keys))),
            3 + len(asked),
        )
        if isinstance(primary, ReplyFault) and primary.code == "MOVED":
            link.cut("the set is elsewhere")
            return _moved_to(primary, link.address)
        for reply in (role, primary, *answers):
            if isinstance(reply, ReplyFault):
                raise refused(link.address, reply)
        _check_config(link.address, greeting, config)
        is_primary = role[0] == b"master" and is_named(primary, link.address)
        self.servers.append(Server(link, is_primary, held_of(answers)))
        return None


def _role(server: Server) -> str:
    if not server.is_primary:
        return "is a replica, or was one"
    if server.terms is None:
        return "holds no such set"
    if not server.held.is_proven:
        return (
            "was started anew, and its log is not yet compared with what is known of it: `redrush set list` says more"
        )
    return f"is of epoch {server.terms.epoch}, a newer one is known"


def _moved_to(fault: ReplyFault, asked: Address) -> Address:
    """Return the address in `MOVED slot host:port`; an empty host means the one that was asked."""
    host, _, port = fault.detail.rpartition(" ")[2].rpartition(":")
    return Address(host or asked.host, int(port))


def _check_config(address: Address, greeting: dict[bytes, Reply], config: Reply) -> None:
    """Raise ServerMisconfigured if the server is too old, or would lose what it acknowledged."""
    version = greeting[b"version"].decode()
    if tuple(int(part) for part in version.split(".")[:2]) < VERSION_MIN:
        wanted = ".".join(map(str, VERSION_MIN))
        raise ServerMisconfigured(f"{address}: {greeting[b'server'].decode()} {version} is too old, {wanted} is needed")
    if (wrong := wrong_setting(config)) is not None:
        raise ServerMisconfigured(f"{address}: {wrong}")


def wrong_setting(config: Reply) -> str | None:
    """Return what is wrong with the reply to ASK_SETTINGS, None if all is as it must be."""
    if isinstance(config, ReplyFault):
        return f"its configuration cannot be verified, CONFIG GET says: {config}"
    for name, wanted_value in REQUIRED.items():
        if config.get(name) != wanted_value:
            has, wanted = config.get(name, b"nothing").decode(), wanted_value.decode()
            return f"{name.decode()} is {has}, it must be {wanted}: CONFIG SET {name.decode()} {wanted}"
    return None
