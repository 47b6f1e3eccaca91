"""Commands of redrush, for tests that run many of them: each in a process of its own.

To load redrush takes a command longer than most of what it does. So one process loads it, and each command is forked
from that: with a directory, an environment and outputs of its own, to the end that it has on a command line. What is
to be killed, and what is about how a process starts, is started as users start it.
"""

import asyncio
import atexit
import gc
import os
import pkgutil
import random
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final, NoReturn

import msgspec

REPOSITORY: Final = Path(__file__).resolve().parents[1]
COMMAND_MAX_S: Final = 120.0
ASKED_MAX: Final = 1 << 17
"""Bytes of what is asked: arguments and an environment."""
LOADED: Final = ("redrush.cli", "redrush.operate", "redrush.stack", "redrush.records")
"""Packages that are loaded before anything is asked: what commands load themselves."""
ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1"}
"""For numpy, which would start one for each core: who forks may have no other."""


class Ran(msgspec.Struct, frozen=True):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


class _Asked(msgspec.Struct, frozen=True):
    arguments: list[str]
    environment: dict[str, str]


def redrush(*arguments: object) -> Ran:
    """Run a command to its end. Raises TimeoutError if it hangs."""
    asked = _Asked([str(one) for one in arguments], dict(os.environ))
    with TemporaryFile() as out, TemporaryFile() as err, closing(socket.socket(*_KIND)) as connection:
        connection.settimeout(COMMAND_MAX_S)
        with _STARTING:
            forker = _forker()
        connection.connect(forker)
        socket.send_fds(connection, [msgspec.json.encode(asked)], [out.fileno(), err.fileno()])
        pid = int(connection.recv(32))
        try:
            code = int(connection.recv(32))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise TimeoutError(f"redrush {' '.join(asked.arguments)}: hangs") from None
        said = [(file.seek(0), file.read().decode())[1] for file in (out, err)]
    return Ran(code, *said)


async def run_command(*arguments: object) -> tuple[int, str, str]:
    """Do the same beside other things; return exit code, stdout and stderr."""
    ran = await asyncio.to_thread(redrush, *arguments)
    return ran.code, ran.out, ran.err


_KIND: Final = (socket.AF_UNIX, socket.SOCK_SEQPACKET)
_STARTING: Final = threading.Lock()
"""Two commands at once, each of a thread, are forked from one process all the same."""


@cache
def _forker() -> bytes:
    """Start what commands are forked from; return its address. It ends with this process."""
    name = f"\0redrush-commands-{os.getpid()}".encode()
    with closing(socket.socket(*_KIND)) as listener:
        listener.bind(name)
        listener.listen(128)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.commands", str(listener.fileno())],
            cwd=REPOSITORY, env={**os.environ, **ONE_THREAD},
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[listener.fileno()],
        )  # fmt: skip
    assert process.stdin is not None
    atexit.register(process.wait)
    atexit.register(process.stdin.close)  # which is called first
    return name


def _fork_commands(listener: socket.socket) -> None:
    """Fork a process for each command that is asked for, until stdin ends."""
    for package in LOADED:
        for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
            import_module(module.name)
    assert len(os.listdir("/proc/self/task")) == 1
    gc.freeze()  # so that no collector writes to what all share
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that look after one
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _look_after(connection)
        connection.close()


def _look_after(connection: socket.socket) -> NoReturn:
    """Have the command run in a process of its own, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    told, outputs, _, _ = socket.recv_fds(connection, ASKED_MAX, 2)
    if (pid := os.fork()) == 0:
        connection.close()
        _run(msgspec.json.decode(told, type=_Asked), outputs)
    connection.send(str(pid).encode())
    _, status = os.waitpid(pid, 0)
    connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _run(asked: _Asked, outputs: list[int]) -> NoReturn:
    from redrush.cli.main import main  # noqa: PLC0415 - loaded by now

    os.environ.clear()
    os.environ.update(asked.environment)
    for number, descriptor in enumerate([os.open(os.devnull, os.O_RDONLY), *outputs]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    random.seed()  # else each would draw the same
    sys.argv = ["redrush", *asked.arguments]
    try:
        main()
    except SystemExit as ended:
        _end(int(ended.code or 0))
    _end(0)


def _end(code: int) -> NoReturn:
    """End this process, without putting away all that was loaded, module by module: that takes as long as the rest."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _fork_commands(socket.socket(*_KIND, fileno=int(sys.argv[1])))
