"""Changes of accounts, each written down before it is made: by the console, and by `redrush user` beside it.

What is refused is not written down: the log says what was done.
"""

from collections.abc import Callable
from typing import NamedTuple

from redrush.api.accounts import Accounts, ApiKey, Role
from redrush.api.diary import Diary


class By(NamedTuple):
    """Who changes something: as the log names them, as they say themselves, and from where."""

    who: str
    said: str = ""
    address: str = ""


class AccountChanges:
    """See the module. Every call raises ConfigError where there is nobody such, and where the log cannot be written."""

    def __init__(self, accounts: Accounts, diary: Diary) -> None:
        self.accounts = accounts
        self._diary = diary

    def add(self, by: By, name: str, role: Role, password_hash: str, now_s: int) -> None:
        """Add somebody."""
        self.accounts.add(name, role, password_hash, now_s, self._noting(by, "add person", f"{name} as {role}"))

    def change_role(self, by: By, name: str, role: Role) -> None:
        """Give somebody another role."""
        self.accounts.change(name, self._noting(by, "change role", f"{name} to {role}"), role=role)

    def reset(self, by: By, name: str, password_hash: str, *, keep_keys: bool) -> tuple[ApiKey, ...]:
        """Give somebody another password and no second factor; return the API keys that they had, which are taken back
        unless they are kept."""
        count = sum(one.owner == name for one in self.accounts.keys)
        about = f"{name}, {count} API keys {'kept' if keep_keys else 'taken back'}"
        noted = self._noting(by, "reset password", about)
        return self.accounts.reset(name, password_hash, keep_keys=keep_keys, noted=noted)

    def remove(self, by: By, name: str) -> None:
        """Remove somebody with their keys."""
        self.accounts.remove(name, self._noting(by, "remove person", name))

    def _noting(self, by: By, what: str, about: str) -> Callable[[], object]:
        return self._diary.noting(by.who, what, about, by.address, said=by.said)
