"""An event on this machine for rehearsing: its directory, its server process, and the commands an operator would use.

The demo and every drill play on one of these. Everything real runs as it would for others: `redrush serve` as a child
process, tickets, export and reconciliation by the same commands. It ends its server whatever happens.
"""

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import msgspec

from redrush.core.money.currency import exponent_of
from redrush.drill.audit import Audit, Verdict, audit, read_sealed, verdict
from redrush.drill.cores import confined_to
from redrush.drill.event_figures import read_campaign
from redrush.drill.observations import Acknowledged
from redrush.errors import ConfigError, RedrushError
from redrush.processes.loopback import free_port
from redrush.processes.server import ServerProcess

HOST = "127.0.0.1"
REDRUSH = (sys.executable, "-m", "redrush")
READY_DEADLINE_S = 30.0
STOP_DEADLINE_S = 30.0
COMMAND_DEADLINE_S = 120.0
BALANCED = "balanced, and equal to the journal"
FREE_DISK_BYTES_MIN = 256_000_000
"""A rehearsal writes some 40 MB; the rest is room for the write-ahead logs."""


ISSUING_CAMPAIGN = """\
[campaign]
id = "issuing"
name = "tickets of a rehearsal"
currency = "CNY"

[[round]]
id = "r1"
opens = "now"
lasts = "1h"
kind = "equal"
total = "1.00"
packets = 1
"""


class RehearsalFailed(RedrushError):
    """A step of a rehearsal did not work."""


class Rehearsal:
    """A context. Raises RehearsalFailed, ServerFailed or AuditFailed when a step does not work."""

    def __init__(
        self, directory: Path, redrush: Sequence[str], port: int | None = None, control_port: int | None = None
    ) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.control_port = control_port or free_port()
        self._redrush_command = redrush
        self._server: ServerProcess | None = None

    def __enter__(self) -> "Rehearsal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_server()

    @property
    def server(self) -> ServerProcess:
        """The server, which must have been started."""
        assert self._server is not None
        return self._server

    def tickets(self, users: Sequence[str]) -> list[tuple[str, str]]:
        """Return (user, ticket) of each user, good for the event that is served from the directory, or will be."""
        issuing = self.directory if (self.directory / "campaign.json").exists() else self._issuing()
        users_path = self.directory / "users.txt"
        users_path.write_text("".join(f"{user}\n" for user in users), encoding="ascii")
        lines = run_redrush(
            self._redrush_command, issuing, "ticket", "--users", str(users_path), "--ttl", "2h"
        ).splitlines()
        tickets = [(user, ticket) for user, _, ticket in (line.partition("\t") for line in lines)]
        if len(tickets) != len(users):
            raise RehearsalFailed(f"{len(tickets):,} tickets came for {len(users):,} users")
        return tickets

    def _issuing(self) -> Path:
        """Return a directory that only issues tickets, with the keys that the event will have.

        Sealing settles an event's instants, so tickets that are to be there before it opens may have to be signed
        before it is sealed, as a login service does.
        """
        issuing = self.directory / "issuing"
        if not issuing.exists():
            issuing.mkdir(mode=0o700)
            (issuing / "campaign.toml").write_text(ISSUING_CAMPAIGN, encoding="utf-8")
            run_redrush(self._redrush_command, issuing, "seal", str(issuing / "campaign.toml"))
            shutil.copy(issuing / "keys.json", self.directory / "keys.json")
        return issuing

    def campaign_path(self, toml: str) -> Path:
        """Write the campaign file and return its path."""
        path = self.directory / "campaign.toml"
        path.write_text(toml, encoding="utf-8")
        return path

    def serve(
        self,
        *arguments: str,
        program: Sequence[str] | None = None,
        core: int | None = None,
        deadline_s: float = READY_DEADLINE_S,
    ) -> None:
        """Start the server, which `arguments` are the command of, on this directory and these ports; return when it is
        ready, within `deadline_s`. `program` takes the place of redrush; the server has only the `core`, if one is
        named."""
        command = (*(program or self._redrush_command), *arguments, "--data", str(self.directory))
        command = (*command, "--port", str(self.port), "--control-port", str(self.control_port))
        self._server = ServerProcess(command, self.directory / "server.log")
        with confined_to(core):
            self._server.start(deadline_s)

    def stop_server(self) -> None:
        """End the server in order, if it still runs."""
        if self._server is not None:
            self._server.stop(STOP_DEADLINE_S)
            self._server = None

    def end_server(self) -> None:
        """End the server at once, if it still runs."""
        if self._server is not None:
            self._server.kill()
            self._server = None

    def reconcile(self) -> Verdict:
        """Return whether the ledger balances and equals the journal."""
        return reconcile_event(self.directory, self._redrush_command)[0]

    def audit(
        self, acknowledged: Sequence[Acknowledged], breaches: Mapping[str, int]
    ) -> tuple[Audit, list[dict[str, Any]]]:
        """Return what the auditor finds, and the grants that were exported."""
        return audit_event(self.directory, self._redrush_command, acknowledged, breaches)

    def grants(self) -> list[dict[str, Any]]:
        """Return the grants as they are exported."""
        return exported_grants(self.directory, self._redrush_command)

    def redrush(self, *arguments: str) -> str:
        """Run a redrush command on the data directory and return what it printed."""
        return run_redrush(self._redrush_command, self.directory, *arguments)


def reconcile_event(data_dir: Path, redrush: Sequence[str] = REDRUSH) -> tuple[Verdict, dict[str, Any]]:
    """Return whether the ledger of the data directory balances and equals the journal, and all that was found."""
    text = run_redrush(redrush, data_dir, "reconcile", "--json", may_fail=True)
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        raise RehearsalFailed(f"reconcile did not answer in JSON: {text[:200]!r}") from None
    if found.get("ok") is True:
        return verdict("ledger", True, BALANCED), found
    return Verdict("ledger", False, text.strip()[:500]), found


def audit_event(
    data_dir: Path, redrush: Sequence[str], acknowledged: Sequence[Acknowledged], breaches: Mapping[str, int]
) -> tuple[Audit, list[dict[str, Any]]]:
    """Return what the auditor finds in the data directory, and the grants that were exported."""
    exported = exported_grants(data_dir, redrush)
    sealed = read_sealed(data_dir, exponent_of(read_campaign(data_dir).currency))
    return audit(acknowledged, exported, sealed, breaches), exported


def exported_grants(data_dir: Path, redrush: Sequence[str]) -> list[dict[str, Any]]:
    """Return the grants of the data directory as they are exported."""
    lines = run_redrush(redrush, data_dir, "export", "grants", "--format", "jsonl").splitlines()
    return [msgspec.json.decode(line) for line in lines]


def run_redrush(redrush: Sequence[str], data_dir: Path, *arguments: str, may_fail: bool = False) -> str:
    """Run a redrush command on the data directory and return what it printed. Raises RehearsalFailed with its words."""
    command = (*redrush, *arguments, "--data", str(data_dir))
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            command, capture_output=True, text=True, timeout=COMMAND_DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise RehearsalFailed(f"redrush {arguments[0]} took longer than {COMMAND_DEADLINE_S:g} s") from None
    if done.returncode != 0 and not (may_fail and done.stdout):
        said = done.stderr.strip().removeprefix("redrush: ") or done.stdout.strip()
        raise RehearsalFailed(f"redrush {' '.join(arguments)} failed: {said}")
    return done.stdout


def rehearsal_directory(chosen: Path | None, name: str) -> Path:
    """Return an existing, empty-enough directory with room on its disk: the chosen one, or a new one in the system's
    temporary directory, which is kept. Raises ConfigError."""
    try:
        if chosen is None:
            directory = Path(tempfile.mkdtemp(prefix=f"redrush-{name}-"))
        else:
            directory = chosen
            directory.mkdir(parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(directory).free
    except OSError as fault:
        raise ConfigError(f"{chosen or tempfile.gettempdir()}: cannot be used: {fault.strerror}") from fault
    if (directory / "campaign.json").exists():
        raise ConfigError(f"{directory}: holds an event already; choose another directory for --data")
    if free_bytes < FREE_DISK_BYTES_MIN:
        raise ConfigError(
            f"{directory}: only {free_bytes / 1e6:,.0f} MB free, {FREE_DISK_BYTES_MIN / 1e6:,.0f} MB are needed; "
            "choose another disk with --data"
        )
    return directory


@contextmanager
def ending_by_sigterm() -> Iterator[None]:
    """Within this, SIGTERM ends a rehearsal as Ctrl-C does: in order, with its children."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before: Callable[[int, FrameType | None], Any] | int | None = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
