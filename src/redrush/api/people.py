"""Who logs in and how: accounts, passwords, second factors, sessions and API keys; each change is written down."""

from collections.abc import Callable

from redrush.api.access import Actor
from redrush.api.account_changes import AccountChanges, By
from redrush.api.accounts import Accounts, ApiKey, Person, Role
from redrush.api.diary import Diary
from redrush.api.passwords import LENGTH_MIN, Passwords, new_password
from redrush.api.seals import Refused
from redrush.api.sessions import Session, Sessions, Tries


class People:
    """See the module."""

    def __init__(self, accounts: Accounts, sessions: Sessions, diary: Diary, now_s: Callable[[], int]) -> None:
        self.accounts = accounts
        self.sessions = sessions
        self.diary = diary
        self.changes = AccountChanges(accounts, diary)
        self.now_s = now_s
        self.tries = Tries(now_s)
        self.passwords = Passwords()

    async def log_in(self, name: str, password: str, code: str, address: str, agent: str) -> str:
        """Return what the cookie of a new session says. Refused, with the same answer whatever was wrong."""
        rest_s = self.tries.rest_s(f"name {name}", f"address {address}")
        if rest_s:
            raise Refused(429, f"too many tries to log in; wait {rest_s} s")
        person = self.accounts.person(name)
        good = await self.passwords.check(None if person is None else person.password, password)
        if not good or person is None or not self._second_factor(person, code):
            self.diary.note(name if person is not None else "somebody", "login refused", address=address)
            raise Refused(401, "name, password or code is wrong")
        self.tries.forgive(f"name {name}", f"address {address}")
        self.diary.note(person.name, "login", address=address)
        return self.sessions.begin(person.name, address, agent, person.since)

    def log_in_as(self, name: str, address: str, agent: str) -> str:
        """Return what the cookie of a new session says, for whoever a provider has named. Refused for no account."""
        person = self.accounts.person(name)
        if person is None:
            self.diary.note("somebody", "login refused", f"{name[:64]}, by the provider", address=address)
            raise Refused(401, "the provider knows you, and you have no account here: ask an admin for one")
        self.diary.note(person.name, "login", "by the provider", address=address)
        return self.sessions.begin(person.name, address, agent, person.since)

    def _second_factor(self, person: Person, code: str) -> bool:
        """Whether this is the code of now, if they have a second factor, and was not used yet, by anybody who asked
        meanwhile either."""
        from redrush.api.totp import step_of  # noqa: PLC0415 - few have one

        now = self.accounts.person(person.name)
        if now is None or now.since != person.since:
            return False
        if now.totp is None:
            return True
        step = step_of(now.totp, code, self.now_s())
        if step is None or step <= now.totp_step:
            return False
        self.accounts.change(person.name, totp_step=step)
        return True

    def logged_in(self) -> list[Session]:
        """Return the sessions that are good, the newest first."""
        since = {one.name: one.since for one in self.accounts.people}
        return [one for one in self.sessions.all() if since.get(one.name) == one.since]

    def log_out(self, actor: Actor) -> None:
        """End the session that asks."""
        if actor.session is not None:
            self.sessions.end(actor.session)
            self.diary.note(actor.name, "logout", address=actor.address)

    async def add_person(self, actor: Actor, name: str, role: Role) -> str:
        """Add somebody, and return their password, which is told once."""
        password = new_password()
        hashed = await self.passwords.hash(password)
        self.changes.add(_by(actor), name, role, hashed, self.now_s())
        return password

    def change_role(self, actor: Actor, name: str, role: Role) -> None:
        """Give somebody another role; their sessions end."""
        self.changes.change_role(_by(actor), name, role)
        self.sessions.end_of(name)

    async def reset_person(self, actor: Actor, name: str, *, keep_keys: bool) -> tuple[str, tuple[ApiKey, ...]]:
        """Give somebody else a new password, told once, and no second factor; their sessions end, and their API keys
        are taken back unless they are kept. Return both. Refused for oneself: it would ask for no password."""
        if name == actor.name:
            raise Refused(409, "your own password is changed at My account, which asks for the one until now")
        password = new_password()
        hashed = await self.passwords.hash(password)
        keys = self.changes.reset(_by(actor), name, hashed, keep_keys=keep_keys)
        self.sessions.end_of(name)
        return password, keys

    def remove_person(self, actor: Actor, name: str) -> None:
        """Remove somebody with their keys; their sessions end."""
        self.changes.remove(_by(actor), name)
        self.sessions.end_of(name)

    async def change_password(self, actor: Actor, old: str, new: str, *, drop_keys: bool = False) -> None:
        """Give oneself another password; other sessions end, and with `drop_keys` one's API keys are good no more.
        Refused for a wrong or short one."""
        person = self._oneself(actor, "a program has no password")
        if len(new) < LENGTH_MIN:
            raise Refused(400, f"a password has {LENGTH_MIN} characters or more")
        await self._prove(actor, person, old)
        hashed = await self.passwords.hash(new)
        count = sum(one.owner == actor.name for one in self.accounts.keys)
        self._check_same(person)
        about = f"{count} API keys {'taken back' if drop_keys else 'kept'}"
        self._change_own(actor, "change password", about, password=hashed)
        if drop_keys:
            self.accounts.remove_keys_of(actor.name)

    async def begin_second_factor(self, actor: Actor, secret: str, code: str, password: str, present: str) -> None:
        """Ask for a code at one's next login, once a first one was right; other sessions end. Refused for a wrong code
        or password, and, where a second factor is there already, without its `present` code."""
        from redrush.api.totp import SECRET_BYTES, bytes_of, step_of  # noqa: PLC0415 - few have one

        person = self._oneself(actor, "a program has no second factor")
        step = step_of(secret, code, self.now_s()) if len(bytes_of(secret)) >= SECRET_BYTES else None
        if step is None:
            raise Refused(400, "this code is not the one of now; look at the clock of the phone, and begin again")
        await self._prove(actor, person, password)
        if not self._second_factor(person, present):
            self.diary.note(actor.name, "code refused", address=actor.address)
            raise Refused(403, "the code of the second factor until now is wrong, or was used already")
        what = "begin second factor" if person.totp is None else "replace second factor"
        self._change_own(actor, what, totp=secret, totp_step=step)

    async def prove(self, actor: Actor, password: str, code: str) -> None:
        """Note that somebody has proved again who they are. Refused for a wrong password or code, and for a program."""
        person = self._oneself(actor, "a program has no password")
        await self._prove(actor, person, password)
        if not self._second_factor(person, code):
            self.diary.note(actor.name, "code refused", address=actor.address)
            raise Refused(403, "the code of the second factor is wrong, or was used already")
        self.tries.forgive(f"name {actor.name}")
        assert actor.session is not None
        self.sessions.prove(actor.session)

    def _oneself(self, actor: Actor, why_not: str) -> Person:
        person = self.accounts.person(actor.name)
        if person is None or actor.session is None:
            raise Refused(403, why_not)
        return person

    async def _prove(self, actor: Actor, person: Person, password: str) -> None:
        """Refused unless whoever has this session knows the password, too."""
        if rest_s := self.tries.rest_s(f"name {actor.name}"):
            raise Refused(429, f"too many tries; wait {rest_s} s")
        if not await self.passwords.check(person.password, password):
            self.diary.note(actor.name, "password refused", address=actor.address)
            raise Refused(403, "the password is another one")
        self._check_same(person)

    def _check_same(self, person: Person) -> None:
        """Refused if somebody else has changed how they log in since."""
        now = self.accounts.person(person.name)
        if now is None or now.since != person.since:
            raise Refused(409, "this account was changed meanwhile, so nothing was done; log in again")

    def _change_own(self, actor: Actor, what: str, about: str = "", **fields: object) -> None:
        """Change with what somebody logs in, and let only the session go on in which they do so."""
        self.accounts.change(actor.name, self.diary.noting(actor.name, what, about, actor.address), **fields)
        person = self.accounts.person(actor.name)
        assert person is not None
        assert actor.session is not None
        self.sessions.go_on(actor.session, person.since)

    def add_key(self, actor: Actor, role: Role, days: int | None, note: str) -> str:
        """Give a program of one's own a key, told once."""
        expires_s = None if days is None else self.now_s() + days * 86_400
        noted = self.diary.noting(actor.name, "add key", f"{role}: {note}", actor.address)
        return self.accounts.add_key(actor.name, role, self.now_s(), expires_s, note, noted)

    def remove_key(self, actor: Actor, key_id: str) -> None:
        """Take a key back: one's own, or, as admin, anybody's; a program its own alone. Refused otherwise."""
        key = next((one for one in self.accounts.keys if one.id == key_id), None)
        own = key is not None and key.owner == actor.name and (actor.session is not None or actor.key == key.id)
        if key is None or not (own or actor.role.may(Role.ADMIN)):
            raise Refused(404, f'there is no key "{key_id}" of yours')
        self.accounts.remove_key(
            key_id, self.diary.noting(actor.name, "remove key", f"{key_id} of {key.owner}", actor.address)
        )


def _by(actor: Actor) -> By:
    return By(actor.name, address=actor.address)
