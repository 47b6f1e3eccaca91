"""The scaled form under test: sets on real Valkey servers, and gates over them, each a process pinned to a core.

The gate has the server's core for itself and the Valkey servers share the other one with wrk, just as the peer's nginx
and Redis do. They run as a stack starts them: fsync on every turn of their event loop. Nothing else of the scaled form
runs, no recorder, no control role and no PostgreSQL: gates need none of them to grant, and so do without here.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from redrush.core.sets.address import Address
from redrush.drill.bench.subject import CAMPAIGN, ENDLESS_LIMITS, Event
from redrush.processes.failure import ProcessFailed
from redrush.processes.loopback import HOST, free_port
from redrush.processes.pinned import Child, Cores, Target
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.valkey import Access, establish_set
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Command, Link, Reply, ReplyFault, pack

IN_SYNC_MAX_S = 30.0
"""Longest wait until an empty replica follows an empty primary, and until a restarted server has read its file."""
POLL_S = 0.02
NO_RECORDS = "postgresql://127.0.0.1:1/nobody"
"""The DSN of a deployment whose gates never connect there."""


class Server:
    """A Valkey server on its core, in a directory and at a port that it keeps."""

    def __init__(self, directory: Path, core: int, port: int, replica_of: Address | None = None) -> None:
        directory.mkdir(parents=True)
        self.address = Address(HOST, port)
        self._core = core
        self._valkey = ValkeyServer(directory, port=self.address.port, replica_of=replica_of)
        self.child = self._start()

    def _start(self) -> Child:
        return Child(self._valkey.server_command(), self._core, log=self._valkey.log_path, name="valkey-server")

    def wait(self) -> None:
        """Return when it answers. ProcessFailed if it does not."""
        self.child.wait_for_socket((self.address.host, self.address.port))

    def kill(self) -> None:
        """End it at once."""
        self.child.kill()
        self.child.stop()

    def crash(self) -> None:
        """Kill it, and start it again on what it has on the disk; return when it has read that."""
        self.kill()
        self.child = self._start()
        self.wait()
        asyncio.run(until(self.address, ("PING",), lambda reply: not isinstance(reply, ReplyFault)))

    def info(self, section: str, field: str) -> int:
        """Return a number of the server's INFO, such as ("memory", "used_memory")."""
        said = bytes(ask(self.address, "INFO", section)).decode()
        return next(int(line.partition(":")[2]) for line in said.splitlines() if line.startswith(f"{field}:"))


class Sets:
    """Sets of one campaign, founded and empty. Use as a context manager: their servers have ended after the block."""

    def __init__(self, directory: Path, cores: Cores, count: int, *, replicas: int = 0) -> None:
        self.ids = [f"s{number}" for number in range(1, count + 1)]
        self._directory = directory
        self._stack = ExitStack()
        self._servers: dict[str, list[Server]] = {}
        ports: set[int] = set()  # fifty drawn one by one would meet in one start of twenty
        try:
            for set_id in self.ids:
                servers: list[Server] = []
                self._servers[set_id] = servers
                for number in range(1 + replicas):
                    primary = servers[0].address if servers else None
                    servers.append(Server(directory / f"{set_id}-{number}", cores.load, free_port(ports), primary))
                    self._stack.callback(servers[-1].kill)
            for server in self.servers:
                server.wait()
            asyncio.run(self._found(replicas))
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> "Sets":
        return self

    def __exit__(self, *_exit: object) -> None:
        self._stack.close()

    @property
    def servers(self) -> list[Server]:
        """Every server of every set, the primary of a set first."""
        return [server for servers in self._servers.values() for server in servers]

    def children(self) -> tuple[Child, ...]:
        """Return the processes of the servers."""
        return tuple(server.child for server in self.servers)

    def cpu_ns(self) -> int:
        """Return the CPU time that all the servers have used so far, in nanoseconds."""
        return sum(child.cpu_ns() for child in self.children())

    def crash(self) -> None:
        """Kill every primary, and start it again on what it has on the disk."""
        for servers in self._servers.values():
            servers[0].crash()

    def granted(self, round_id: str = "rush") -> int:
        """Return how many users hold a grant, over all sets. ProcessFailed if a replica does not come to as many.

        It counts in pots that are no small ones, as those of benchmarks are: grants of these are keys of their own.
        """
        return sum(self._granted(set_id, round_id) for set_id in self.ids)

    def batches(self) -> int:
        """Return how many records the logs hold: one for each batch of claims, and one for each pot."""
        return sum(
            int(ask(servers[0].address, "XLEN", SetKeys(CAMPAIGN, set_id).log))
            for set_id, servers in self._servers.items()
        )

    def deploy(self, event: Event, *, records: str | Path = NO_RECORDS, audience: Path | None = None) -> Path:
        """Write a deployment of the event on these sets and return the file. A path holds the DSN of the records."""
        replicas = len(self._servers[self.ids[0]]) - 1
        told = f'"{records}"' if isinstance(records, str) else f'{{ file = "{records}" }}'
        lines = ["[event]", f'data = "{event.data.root}"', f"records = {told}"]
        if audience is not None:
            lines.append(f'audience = "{audience}"')
        for set_id, servers in self._servers.items():
            addresses = ", ".join(f'"{server.address}"' for server in servers)
            lines += ["[[set]]", f'id = "{set_id}"', f"addresses = [{addresses}]", f"replicas_needed = {replicas}"]
        lines += ["[gate]", f'host = "{HOST}"', *ENDLESS_LIMITS]
        file = self._directory / "deployment.toml"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return file

    async def _found(self, replicas: int) -> None:
        for set_id, servers in self._servers.items():
            for server in servers[1:]:
                await until(server.address, ("ROLE",), lambda role: role[3:4] == [b"connected"])
            await establish_set([server.address for server in servers], CAMPAIGN, set_id, replicas)

    def _granted(self, set_id: str, round_id: str) -> int:
        primary, *replicas = self._servers[set_id]
        command = ("HLEN", SetKeys(CAMPAIGN, set_id).grants(round_id))
        count = int(ask(primary.address, *command))
        for replica in replicas:
            asyncio.run(until(replica.address, command, lambda reply: bool(reply == count)))
        return count


@contextmanager
def serve_sets(deployment: Path, cores: Cores, port: int) -> Iterator[Target]:
    """Run a gate of the deployment at the port, which it may share; the block begins when it is ready."""
    argv = [sys.executable, "-m", "redrush", "gate", "--deploy", str(deployment)]
    argv += ["--port", str(port), "--control-port", "0"]
    log = deployment.with_name(f"gate-{free_port()}.log")
    with Child(argv, cores.server, log=log, name="redrush gate") as child:
        child.wait_for_line("ready")
        yield Target(child, port)


def ask(address: Address, *command: str | bytes | int) -> Reply:
    """Return the reply to a command, over a connection of its own. ProcessFailed if it is an error."""
    reply = asyncio.run(_ask(address, command))
    if isinstance(reply, ReplyFault):
        raise ProcessFailed(f"the Valkey server at {address} answers {command[0]!r} with {reply}")
    return reply


async def until(address: Address, command: Command, is_so: Callable[[Reply], bool]) -> None:
    """Ask again and again until the reply, which may be an error, is as wanted. ProcessFailed after IN_SYNC_MAX_S."""
    try:
        async with asyncio.timeout(IN_SYNC_MAX_S):
            while not is_so(await _ask(address, command)):
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise ProcessFailed(f"the Valkey server at {address} is not ready after {IN_SYNC_MAX_S:g} s") from None


async def _ask(address: Address, command: Command) -> Reply:
    link, _ = await Link.connect(address, Access())
    try:
        (reply,) = await link.call(pack(command))
        return reply
    finally:
        await link.close()
