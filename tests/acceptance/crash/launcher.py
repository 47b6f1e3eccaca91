"""Runs `redrush` with faults wired around it: `python -m tests.acceptance.crash.launcher serve FILE --data DIR …`.

The process is the real one, from the command line down. What the plan asks for is put below it (a VFS under every
SQLite connection) and around its parts (calls of the store, of the connection, of the operating system), so that
production code has no hooks. A name that is not there any more fails the launch rather than being left out.
"""
# ruff: noqa: N802 - the names of the methods are SQLite's

import asyncio
import contextlib
import errno
import functools
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import msgspec

from redrush.cli.main import main
from redrush.http import connection as gate_connection
from redrush.stores.sqlite import SqliteStore
from tests.acceptance.crash.deaths import PLAN_VARIABLE, SERVING, Plan, Point
from tests.acceptance.crash.killing_vfs import VFS_NAME as KILLING
from tests.acceptance.crash.killing_vfs import KillingVFS
from tests.integration.faulty_vfs import VFS_NAME as FAULTY
from tests.integration.faulty_vfs import Faults, FaultyVFS


def die() -> None:
    """End this process as `kill -9` does. The interpreter lock is held, so no other thread does another step."""
    os.kill(os.getpid(), signal.SIGKILL)


class Passes:
    """Counts passes of the planned point."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._left = plan.on_pass
        self.serving = False

    def __call__(self, point: Point) -> bool:
        if point is not self._plan.point or (point in SERVING and not self.serving):
            return False
        self._left -= 1
        return self._left == 0


class SomeFilesFaulty(FaultyVFS):
    """The faulty disk under some files only; the others are on a healthy one."""

    def __init__(self, faults: Faults, files: tuple[str, ...]) -> None:
        super().__init__(faults)
        self._names = {f"{file}{suffix}" for file in files for suffix in ("", "-wal", "-journal")}

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = name if isinstance(name, str | None) else name.filename()
        if path is None or Path(path).name not in self._names:
            return apsw.VFSFile("", name, flags)
        return super().xOpen(name, flags)


def put_below_sqlite(vfs_name: str) -> None:
    """Let every connection from now on use this VFS. (It cannot be the default one: it stands on the default one.)"""

    class Connection(apsw.Connection):
        def __init__(self, filename: str, **options: Any) -> None:
            super().__init__(filename, **(options | {"vfs": vfs_name}))

        def close(self, force: bool = False) -> None:
            # SQLite does not report a checkpoint that fails while closing; APSW does if the VFS is in Python.
            with contextlib.suppress(apsw.Error):
                super().close(force)

    patch(apsw, "Connection", Connection)


def wrap_store(plan: Plan, passes: Passes, serving: Callable[[], None]) -> None:
    """Put the points of the store's calls around them, and make checkpoints come early."""
    claim, take, give, open_path = SqliteStore.claim, SqliteStore.take, SqliteStore.give, SqliteStore.open_path

    def dying(call: Callable[..., Awaitable[Any]], before: Point | None, after: Point) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(call)
        async def wrapped(*args: Any) -> Any:
            if before is not None and passes(before):
                die()
            result = await call(*args)
            if passes(after):
                die()
            return result

        return wrapped

    claim_or_die = dying(claim, None, Point.BEFORE_ANSWERS)

    async def first_claim_starts_counting(*args: Any) -> Any:
        serving()
        return await claim_or_die(*args)

    patch(SqliteStore, "claim", first_claim_starts_counting)
    patch(SqliteStore, "take", dying(take, Point.BEFORE_TAKE, Point.TAKEN))
    patch(SqliteStore, "give", dying(give, None, Point.GIVEN))
    patch(SqliteStore, "open_path", functools.partial(open_path, wal_pages_max=plan.wal_pages_max))


def wrap_answers(passes: Passes) -> None:
    """Die with some answers of a batch on the wire, one half written, and the rest not at all.

    uvloop hands over the answers of a turn together when the turn ends, so from the planned pass on this hands them to
    the kernel itself.
    """
    send = gate_connection.Connection.send
    begun = False

    def send_or_die(connection: gate_connection.Connection, answer: bytes) -> None:
        nonlocal begun
        is_grant = b'"outcome":"granted"' in answer
        if begun and is_grant:
            os.write(descriptor(connection), answer[: len(answer) // 2])
            die()
        if not begun and is_grant and passes(Point.AMID_ANSWERS):
            begun = True
            asyncio.get_running_loop().call_soon(die)  # if this was the last grant of its batch
            os.write(descriptor(connection), answer)
            return
        send(connection, answer)

    def descriptor(connection: gate_connection.Connection) -> int:
        number: int = connection._transport.get_extra_info("socket").fileno()
        return number

    patch(gate_connection.Connection, "send", send_or_die)


def wrap_first_start(plan: Plan, passes: Passes) -> None:
    """Die before one of the steps that make the files of a data directory durable, or let it fail."""

    def dying(call: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*args: Any, **options: Any) -> None:
            if passes(Point.SEALING):
                if plan.full_instead_of_dead:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                die()
            call(*args, **options)

        return wrapped

    for name in ("fsync", "replace", "link"):
        patch(os, name, dying(getattr(os, name)))


def watch_records(passes: Passes) -> None:
    """Die as the recorder moves its cursor, in the transaction that has written the ledger."""

    def watch(connection: apsw.Connection) -> None:
        def row_changed(kind: int, _database: str, table: str, _row: int) -> None:
            if table == "cursor" and kind == apsw.SQLITE_UPDATE and passes(Point.RECORDER_CURSOR):
                die()

        if Path(connection.filename).name == "records.db":
            connection.set_update_hook(row_changed)

    apsw.connection_hooks.append(watch)


def patch(owner: Any, name: str, replacement: Any) -> None:
    """Replace an attribute that exists."""
    getattr(owner, name)
    setattr(owner, name, replacement)


def launch(plan: Plan) -> None:
    """Wire the plan's faults in and run the command line in `sys.argv`."""
    passes = Passes(plan)
    vfs: apsw.VFS
    if plan.disk is None:
        vfs = KillingVFS(passes, die)
        faults = None
    else:
        chosen = {name: getattr(plan.disk, name) for name in plan.disk.__struct_fields__}
        files, armed = chosen.pop("files"), not chosen.pop("from_first_claim")
        faults = Faults(**chosen, armed=armed)
        vfs = SomeFilesFaulty(faults, files)

    def serving() -> None:
        passes.serving = True
        if faults is not None:
            faults.armed = True

    put_below_sqlite(KILLING if faults is None else FAULTY)
    wrap_store(plan, passes, serving)
    wrap_answers(passes)
    wrap_first_start(plan, passes)
    watch_records(passes)
    try:
        main()
    finally:
        del vfs  # it had to live until here


if __name__ == "__main__":
    launch(msgspec.json.decode(os.environ.get(PLAN_VARIABLE, "{}"), type=Plan))
