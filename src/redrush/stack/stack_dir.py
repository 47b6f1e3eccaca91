"""The data directory of a stack: that of the embedded form, without its journal and records, and beside it

| file | what |
|---|---|
| `deployment.toml` | the deployment that all roles are started with; written anew at every start |
| `offline.toml` | the same, for servers that are started only to be asked what happened |
| `records.dsn` | where the records are, with the password |
| `founded.json` | the sets that were ever founded: they are never founded again, whatever their servers hold |
| `control/` | what the wardens of the sets have noted |
| `sets/s1/a`, `b`, … | the servers of a set, each with its append-only file |
| `valkey/` | the passwords of the servers' users, a file each |
| `postgres/` | the database of the records |
| `logs/` | a log per process |
| `processes.json` | who runs now; `stack.lock` is held by the one who supervises |
"""

import os
from pathlib import Path
from typing import Self

import msgspec

from redrush.control.data_dir import DataDir
from redrush.control.durable_file import write_durably
from redrush.control.sole_holder import hold_alone
from redrush.errors import ConfigError, RedrushError
from redrush.processes.detached import how_it_ended
from redrush.processes.names import ProcessName


class StackDir(msgspec.Struct, frozen=True):
    """Paths in a stack's directory."""

    root: Path

    @property
    def event(self) -> DataDir:
        """The directory as that of an event: the files that every event has."""
        return DataDir(self.root)

    @property
    def deployment(self) -> Path:
        """The deployment file."""
        return self.event.deployment

    @property
    def offline(self) -> Path:
        """The deployment of servers that run only to be asked: see `evidence`."""
        return self.root / "offline.toml"

    @property
    def records_dsn(self) -> Path:
        """The file with the DSN of the records."""
        return self.root / "records.dsn"

    @property
    def control(self) -> Path:
        """The directory of the control role's notes."""
        return self.root / "control"

    @property
    def founded(self) -> Path:
        """The list of sets that were founded."""
        return self.root / "founded.json"

    @property
    def postgres(self) -> Path:
        """The directory of the database server."""
        return self.root / "postgres"

    @property
    def valkey(self) -> Path:
        """The directory of the passwords of the sets' servers."""
        return self.root / "valkey"

    def password(self, name: str) -> Path:
        """Return the file with the password of a user of the sets' servers."""
        return self.valkey / f"{name}.password"

    @property
    def logs(self) -> Path:
        """The directory of the logs."""
        return self.root / "logs"

    @property
    def log(self) -> Path:
        """The log of the stack itself, where it runs in the background."""
        return self.logs / "stack.log"

    @property
    def processes(self) -> Path:
        """The list of processes that run."""
        return self.root / "processes.json"

    @property
    def lock(self) -> Path:
        """The file whose lock the supervisor holds."""
        return self.root / "stack.lock"

    def server(self, set_id: str, name: str) -> Path:
        """Return the directory of a server of a set."""
        return self.root / "sets" / set_id / name

    def read_founded(self) -> frozenset[str]:
        """Return the sets that were ever founded. ConfigError if the list cannot be read."""
        try:
            return msgspec.json.decode(self.founded.read_bytes(), type=frozenset[str])
        except FileNotFoundError:
            return frozenset()
        except (OSError, msgspec.DecodeError) as fault:
            raise ConfigError(f"{self.founded}: cannot be read: {fault}") from fault

    def add_founded(self, set_id: str) -> None:
        """Note, durably, that the set was founded. Not for two processes at once."""
        write_durably(self.founded, msgspec.json.encode(sorted(self.read_founded() | {set_id})))


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A process as `stack status` shows it."""

    role: str
    set: str | None
    pid: int | None
    address: str
    state: str
    why: str | None = None
    """What it lacks, while it is not ready."""
    name: str
    process: ProcessName | None


class StackState(msgspec.Struct, frozen=True):
    """The content of `processes.json`."""

    supervisor: ProcessName
    processes: tuple[Running, ...]


class NotRunning(RedrushError):
    """No stack runs on the directory."""


def read_state(stack: StackDir) -> StackState | None:
    """Return who runs, or ran when the supervisor ended; None if no stack was ever up here, or it ended in order."""
    try:
        return msgspec.json.decode(stack.processes.read_bytes(), type=StackState)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as fault:
        raise ConfigError(f"{stack.processes}: cannot be read: {fault}") from fault


def running_state(stack: StackDir) -> StackState:
    """Return who runs. NotRunning if nothing does."""
    state = read_state(stack)
    if state is None or not state.supervisor.alive:
        starts = f"`redrush stack up FILE --data {stack.root}` starts one"
        raise NotRunning(f"{stack.root}: no stack runs here; {starts}{how_it_ended(stack.log)}")
    return state


def write_state(stack: StackDir, state: StackState) -> None:
    """Replace the list of who runs. A reader sees the old one or the new one."""
    beside = stack.processes.with_suffix(".new")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
    beside.replace(stack.processes)


class Lock:
    """Held by the one supervisor of a directory; falls with its process, however that ends."""

    def __init__(self, stack: StackDir) -> None:
        self._stack = stack

    def __enter__(self) -> Self:
        root = self._stack.root
        runs = ConfigError(f"{root}: a stack runs here already; `redrush stack down --data {root}` ends it")
        self._descriptor = hold_alone(self._stack.lock, runs)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
