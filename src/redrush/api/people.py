"""Who logs in and how: accounts, passwords, second factors, sessions and API keys; each change is written down."""

from collections.abc import Callable

from redrush.api.access import Actor
from redrush.api.accounts import Accounts, Role
from redrush.api.diary import Diary
from redrush.api.passwords import LENGTH_MIN, Passwords, new_password
from redrush.api.seals import Refused
from redrush.api.sessions import Sessions, Tries


class People:
    """See the module."""

    def __init__(self, accounts: Accounts, sessions: Sessions, diary: Diary, now_s: Callable[[], int]) -> None:
        self.accounts = accounts
        self.sessions = sessions
        self.diary = diary
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
        if good and person is not None and person.totp is not None:
            good = self._second_factor(person.name, person.totp, person.totp_step, code)
        if not good or person is None:
            self.diary.note(name if person is not None else "somebody", "login refused", address=address)
            raise Refused(401, "name, password or code is wrong")
        self.tries.forgive(f"name {name}", f"address {address}")
        self.diary.note(person.name, "login", address=address)
        return self.sessions.begin(person.name, address, agent)

    def log_in_as(self, name: str, address: str, agent: str) -> str:
        """Return what the cookie of a new session says, for whoever a provider has named. Refused for no account."""
        person = self.accounts.person(name)
        if person is None:
            self.diary.note("somebody", "login refused", f"{name[:64]}, by the provider", address=address)
            raise Refused(401, "the provider knows you, and you have no account here: ask an admin for one")
        self.diary.note(person.name, "login", "by the provider", address=address)
        return self.sessions.begin(person.name, address, agent)

    def _second_factor(self, name: str, secret: str, last_step: int, code: str) -> bool:
        from redrush.api.totp import step_of  # noqa: PLC0415 - few have one

        step = step_of(secret, code, self.now_s())
        if step is None or step <= last_step:
            return False
        self.accounts.change(name, totp_step=step)
        return True

    def log_out(self, actor: Actor) -> None:
        """End the session that asks."""
        if actor.session is not None:
            self.sessions.end(actor.session)
            self.diary.note(actor.name, "logout", address=actor.address)

    async def add_person(self, actor: Actor, name: str, role: Role) -> str:
        """Add somebody, and return their password, which is told once."""
        password = new_password()
        hashed = await self.passwords.hash(password)
        self.diary.note(actor.name, "add person", f"{name} as {role}", address=actor.address)
        self.accounts.add(name, role, hashed, self.now_s())
        return password

    def change_role(self, actor: Actor, name: str, role: Role) -> None:
        """Give somebody another role; their sessions end."""
        self.diary.note(actor.name, "change role", f"{name} to {role}", address=actor.address)
        self.accounts.change(name, role=role)
        self.sessions.end_of(name)

    async def reset_person(self, actor: Actor, name: str) -> str:
        """Give somebody a new password, told once, and no second factor; their sessions end."""
        password = new_password()
        hashed = await self.passwords.hash(password)
        self.diary.note(actor.name, "reset password", name, address=actor.address)
        self.accounts.change(name, password=hashed, totp=None)
        self.sessions.end_of(name)
        return password

    def remove_person(self, actor: Actor, name: str) -> None:
        """Remove somebody with their keys; their sessions end."""
        self.diary.note(actor.name, "remove person", name, address=actor.address)
        self.accounts.remove(name)
        self.sessions.end_of(name)

    async def change_password(self, actor: Actor, old: str, new: str) -> None:
        """Give oneself another password; other sessions end. Refused for a wrong or short one."""
        person = self.accounts.person(actor.name)
        if person is None or actor.session is None:
            raise Refused(403, "a program has no password")
        if len(new) < LENGTH_MIN:
            raise Refused(400, f"a password has {LENGTH_MIN} characters or more")
        if self.tries.rest_s(f"name {actor.name}") or not await self.passwords.check(person.password, old):
            raise Refused(403, "the password until now is another one")
        self.diary.note(actor.name, "change password", address=actor.address)
        self.accounts.change(actor.name, password=await self.passwords.hash(new))
        for session in self.sessions.all():
            if session.name == actor.name and session.id != actor.session:
                self.sessions.end(session.id)

    def begin_second_factor(self, actor: Actor, secret: str, code: str) -> None:
        """Ask for a code at one's next login, once a first one was right. Refused for a wrong one."""
        from redrush.api.totp import step_of  # noqa: PLC0415 - few have one

        if actor.session is None:
            raise Refused(403, "a program has no second factor")
        try:
            step = step_of(secret, code, self.now_s())
        except ValueError:
            step = None
        if step is None:
            raise Refused(400, "this code is not the one of now; look at the clock of the phone, and begin again")
        self.diary.note(actor.name, "begin second factor", address=actor.address)
        self.accounts.change(actor.name, totp=secret, totp_step=step)

    def add_key(self, actor: Actor, role: Role, days: int | None, note: str) -> str:
        """Give a program of one's own a key, told once. Refused for a program: its key would outlive its own."""
        if actor.session is None:
            raise Refused(403, "a key makes no keys; log in")
        expires_s = None if days is None else self.now_s() + days * 86_400
        self.diary.note(actor.name, "add key", f"{role}: {note}", address=actor.address)
        return self.accounts.add_key(actor.name, role, self.now_s(), expires_s, note)

    def remove_key(self, actor: Actor, key_id: str) -> None:
        """Take a key back: one's own, or, as admin, anybody's; a program its own alone. Refused otherwise."""
        key = next((one for one in self.accounts.keys if one.id == key_id), None)
        own = key is not None and key.owner == actor.name and (actor.session is not None or actor.key == key.id)
        if key is None or not (own or actor.role.may(Role.ADMIN)):
            raise Refused(404, f'there is no key "{key_id}" of yours')
        self.diary.note(actor.name, "remove key", f"{key_id} of {key.owner}", address=actor.address)
        self.accounts.remove_key(key_id)
