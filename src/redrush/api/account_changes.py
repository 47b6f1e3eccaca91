"""Changes of accounts, each written down before it is made: by the console, and by `redrush user` beside it."""

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
        self._note(by, "add person", f"{name} as {role}")
        self.accounts.add(name, role, password_hash, now_s)

    def change_role(self, by: By, name: str, role: Role) -> None:
        """Give somebody another role."""
        self._note(by, "change role", f"{name} to {role}")
        self.accounts.change(name, role=role)

    def reset(self, by: By, name: str, password_hash: str, *, keep_keys: bool) -> tuple[ApiKey, ...]:
        """Give somebody another password and no second factor; return the API keys that they had, which are taken back
        unless they are kept."""
        count = sum(one.owner == name for one in self.accounts.keys)
        self._note(by, "reset password", f"{name}, {count} API keys {'kept' if keep_keys else 'taken back'}")
        return self.accounts.reset(name, password_hash, keep_keys=keep_keys)

    def remove(self, by: By, name: str) -> None:
        """Remove somebody with their keys."""
        self._note(by, "remove person", name)
        self.accounts.remove(name)

    def _note(self, by: By, what: str, about: str) -> None:
        self._diary.note(by.who, what, about, address=by.address, said=by.said)
