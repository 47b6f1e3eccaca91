"""Passwords: argon2id, one at a time, in a thread of its own.

Each hash takes 64 MiB and a tenth of a second, so whoever sends many logins at once would take the machine's memory:
there is one worker, and a short queue before it. An unknown name costs what a known one does, so that names cannot be
told by the clock.
"""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

_Result = TypeVar("_Result")

QUEUE_MAX: Final = 8
"""Logins that wait for the one before them."""
LENGTH_MIN: Final = 12
LENGTH_MAX: Final = 200
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""None that is taken for another one when it is read from a screen."""


class TooManyLogins(Exception):
    """More logins wait than there are places."""


def new_password() -> str:
    """Return one for a person, drawn from the system's randomness: 98 bits, in groups that can be read out."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(4))


def hash_password(password: str) -> str:
    """Return the argon2id hash. It takes a tenth of a second, and blocks."""
    return PasswordHasher().hash(password)


class Passwords:
    """Checks and hashes passwords beside the loop."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        """`hasher`: with other costs than argon2's own."""
        self._hasher = hasher or PasswordHasher()
        self._executor = ThreadPoolExecutor(1, "passwords")
        self._waiting = 0
        self._nobodys: str | None = None

    async def check(self, password_hash: str | None, password: str) -> bool:
        """Return whether the password is right; `password_hash` None: that of nobody. Raises TooManyLogins."""
        return await self._in_turn(lambda: self._check(password_hash, password))

    async def hash(self, password: str) -> str:
        """Return the hash of a new password. Raises TooManyLogins."""
        return await self._in_turn(lambda: self._hasher.hash(password))

    def close(self) -> None:
        """End the thread, once what it does is done."""
        self._executor.shutdown(cancel_futures=True)

    async def _in_turn(self, work: Callable[[], _Result]) -> _Result:
        if self._waiting >= QUEUE_MAX:
            raise TooManyLogins("too many people log in at once; try again in a moment")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._waiting -= 1

    def _check(self, password_hash: str | None, password: str) -> bool:
        if password_hash is None:
            if self._nobodys is None:
                self._nobodys = self._hasher.hash(secrets.token_urlsafe())
            password_hash = self._nobodys
        try:
            return self._hasher.verify(password_hash, password[:LENGTH_MAX])
        except (Argon2Error, InvalidHashError):
            return False
