"""What somebody on the machine of a stack may try on its servers, with no password or with one meant for less."""

import socket
import stat
from contextlib import closing
from pathlib import Path
from typing import Final

REPLY_S: Final = 5.0

USERS: Final = ("gate", "settlement", "warden", "replica")

NOBODY_BUT_ADMIN: Final[tuple[tuple[str, ...], ...]] = (
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "SET", "appendonly", "no"),
    ("CONFIG", "SET", "appendfsync", "everysec"),
    ("CONFIG", "REWRITE"),
    ("CONFIG", "RESETSTAT"),
    ("DEBUG", "SLEEP", "0"),
    ("SHUTDOWN", "NOSAVE"),
    ("FUNCTION", "FLUSH"),
    ("FUNCTION", "DELETE", "redrush"),
    ("FUNCTION", "RESTORE", "x"),
    ("SCRIPT", "FLUSH"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "default", "on", "nopass"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("CLIENT", "PAUSE", "1"),
    ("MODULE", "LIST"),
    ("MONITOR",),
    ("SAVE",),
    ("BGREWRITEAOF",),
    ("SYNC",),
    ("MIGRATE", "127.0.0.1", "1", "k", "0", "1"),
    ("RENAME", "{c/s}:log", "{c/s}:x"),
    ("KEYS", "*"),
    ("HSET", "elsewhere", "a", "1"),
    ("SET", "{c/s}:meta", "1"),
    ("EXPIRE", "{c/s}:meta", "1"),
)
"""What would lose grants, stop the server, or let others do so."""

NOT_THE_GATE: Final[tuple[tuple[str, ...], ...]] = (
    ("FUNCTION", "LOAD", "#!lua name=x\n"),
    ("FUNCTION", "LOAD", "REPLACE", "#!lua name=x\n"),
    ("REPLICAOF", "NO", "ONE"),
    ("REPLICAOF", "127.0.0.1", "1"),
    ("EVAL", "return 1", "0"),
    ("DEL", "{c/s}:meta"),
    ("HDEL", "{c/s}:meta", "epoch"),
    ("PSYNC", "?", "-1"),
)
"""What the gate and settlement have no business with: whose replica a server is, code, and taking away."""


def refusal(port: int, command: tuple[str, ...], user: str | None = None, password: str = "") -> str:
    """Return the first word of the error that the command is answered with, "" if it is carried out."""
    with closing(socket.create_connection(("127.0.0.1", port), REPLY_S)) as link, link.makefile("rb") as replies:
        for words in (("AUTH", user, password), command) if user else (command,):
            link.sendall(b"*%d\r\n%s" % (len(words), b"".join(map(_bulk, words))))
            reply = replies.readline()
            if reply.startswith(b"-"):
                return reply[1:].split()[0].decode()
    return ""


def _bulk(word: str | None) -> bytes:
    text = (word or "").encode()
    return b"$%d\r\n%s\r\n" % (len(text), text)


def password_of(data: Path, name: str) -> str:
    """Return what the stack has generated for a user of its servers."""
    return (data / "valkey" / f"{name}.password").read_text(encoding="ascii")


def readable_by_others(data: Path) -> list[str]:
    """Return what in the directory somebody else than its owner may read, write or enter."""
    found = [data, *data.rglob("*")]
    return [str(path) for path in found if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077]
