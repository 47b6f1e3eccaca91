"""Accounts, sessions, tries, keys and second factors: who gets in, for how long, and what ends it."""

import asyncio
import fcntl
import re
import threading
from pathlib import Path
from typing import Final

import pytest

from redrush.api.accounts import KEYS_OF_ONE_MAX, Accounts, Role
from redrush.api.desk import account_changes_of, diary_of, first_admin, masked
from redrush.api.diary import Diary
from redrush.api.passwords import QUEUE_MAX, Passwords, TooManyLogins, new_password
from redrush.api.sessions import (
    IDLE_S,
    PROVED_S,
    SESSIONS_MAX,
    SESSIONS_OF_ONE_MAX,
    TRIES_MAX,
    TRIES_S,
    WHOLE_S,
    Sessions,
    Tries,
)
from redrush.api.totp import STEP_S, code_at, new_secret, step_of
from redrush.control.data_dir import DataDir
from redrush.errors import ConfigError
from tests.console.console_world import PASSWORD, QUICK, World, get, post, without_server

EARLIER: Final = """\
{"number":1,"at":"1970-01-01T00:00:00.000000Z","who":"olga","what":"login","about":"","why":"","address":"127.0.0.1",\
"chain":"d50a222e6f2d32d097cc23cf014356e7f6c4b2afb8497b6fc0b3246d8ad8a674"}
"""
"""A line as it was written before a line could say who gave the order."""


def with_password(world: World, name: str) -> None:
    world.desk.accounts.change(name, password=QUICK.hash(PASSWORD))


async def test_a_login_is_a_session_until_it_is_over(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client() as client:
        with_password(world, "olga")
        await get(client, "/live", 401)
        answer = await client.post("/api/v1/session", json={"name": "olga", "password": PASSWORD})
        assert answer.json() == {"name": "olga", "role": "operator"}
        cookie = answer.headers["set-cookie"]
        assert all(word in cookie for word in ("HttpOnly", "SameSite=lax", "Path=/"))
        assert (await get(client, "/session"))["name"] == "olga"
        assert (await client.delete("/api/v1/session")).status_code == 204
        await get(client, "/session", 401)


async def test_wrong_names_and_wrong_passwords_are_told_alike_and_slowed(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client() as client:
        with_password(world, "olga")
        told = [
            (await post(client, "/session", 401, name=name, password="wrong"))["detail"] for name in ("olga", "nobody")
        ]
        assert told[0] == told[1]
        for _ in range(TRIES_MAX - 2):
            await post(client, "/session", 401, name="olga", password="wrong")
        await post(client, "/session", 429, name="olga", password=PASSWORD)
        world.ahead_us += (TRIES_S + 1) * 1_000_000
        await post(client, "/session", name="olga", password=PASSWORD)
        assert [line.what for line in world.desk.diary.lines()].count("login refused") == TRIES_MAX


async def test_sessions_end_by_time_by_role_and_by_removal(tmp_path: Path) -> None:
    now = [1_000_000]
    sessions = Sessions(tmp_path / "s.json", lambda: now[0])
    token = sessions.begin("olga", "127.0.0.1", "x", "")
    now[0] += IDLE_S - 1
    assert sessions.of(token) is not None
    assert Sessions(tmp_path / "s.json", lambda: now[0]).of(token) is not None  # after a restart
    now[0] += IDLE_S
    assert sessions.of(token) is None
    token = sessions.begin("olga", "127.0.0.1", "x", "")
    for _ in range(WHOLE_S // (IDLE_S - 1) + 1):
        now[0] += IDLE_S - 1
        alive = sessions.of(token) is not None
    assert not alive
    assert token not in (tmp_path / "s.json").read_text()


async def test_another_role_logs_out(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga, world.client("anna") as anna:
        assert (await anna.put("/api/v1/people/olga/role", json={"role": "viewer"})).status_code == 200
        await get(olga, "/session", 401)
        assert (await anna.delete("/api/v1/people/otto")).status_code == 204
        assert world.desk.accounts.person("otto") is None


async def test_somebody_stays_admin(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("anna") as anna:
        refused = await anna.delete("/api/v1/people/anna")
        assert refused.status_code == 400
        assert "admin" in refused.json()["detail"]
        assert world.desk.accounts.person("anna") is not None


async def test_a_key_is_told_once_is_good_for_its_role_and_makes_no_keys(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        told = await post(olga, "/keys", 201, role="viewer", days=1, note="grafana")
        await post(olga, "/keys", 400, role="admin")
        assert told["secret"].startswith("rk1.")
        assert told["secret"] not in (tmp_path / "accounts.json").read_text()
        async with world.client(None, Authorization=f"Bearer {told['secret']}") as program:
            program.headers.pop("Sec-Fetch-Site")
            assert await get(program, "/session") == {"name": "olga", "role": "viewer"}
            await post(program, "/changes/preview", 403, verb="apply", name="calm")
            await post(program, "/keys", 403, role="viewer")
            by_form = await program.post("/me/keys", data={"role": "operator", "days": "90"})
            assert (by_form.status_code, "a key lets nobody in" in by_form.text) == (403, True)
            other = (await post(olga, "/keys", 201, role="viewer"))["secret"].split(".")[1]
            assert (await program.delete(f"/api/v1/keys/{other}")).status_code == 404, "nor takes one back"
            assert (await olga.delete(f"/api/v1/keys/{other}")).status_code == 204
            (listed,) = await get(olga, "/keys")
            assert listed["last_used_at"] is not None
            world.ahead_us = 2 * 86_400 * 1_000_000
            await get(program, "/session", 401)


async def test_who_gives_their_password_again_has_proved_who_they_are_for_a_while(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("anna") as anna:
        with_password(world, "anna")
        anna.cookies.set("rr", world.session_of("anna"))
        world.ahead_us += PROVED_S * 1_000_000
        page = (await anna.get("/people")).text
        assert 'action="/me/proof"' in page
        assert 'action="/people"' not in page
        assert "another one" in (await post(anna, "/session/proof", 403, password="wrong"))["detail"]
        await post(anna, "/people", 403, name="nora", role="viewer")
        answer = await anna.post("/me/proof", data={"password": PASSWORD, "then": "/people"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/people")
        page = (await anna.get("/people")).text
        assert 'action="/me/proof"' not in page
        assert 'action="/people"' in page
        await post(anna, "/people", 201, name="nora", role="viewer")
        secret = new_secret()
        world.desk.accounts.change("anna", totp=secret)
        anna.cookies.set("rr", world.session_of("anna"))
        world.ahead_us += PROVED_S * 1_000_000
        assert 'name="code"' in (await anna.get("/me")).text
        assert "second factor" in (await post(anna, "/session/proof", 403, password=PASSWORD))["detail"]
        code = code_at(secret, world.desk.now_s() // STEP_S)
        await post(anna, "/session/proof", password=PASSWORD, code=code)
        await post(anna, "/people", 201, name="nick", role="viewer")
        world.ahead_us += 60_000_000
        for _ in range(TRIES_MAX):
            await post(anna, "/session/proof", 403, password="wrong")
        await post(anna, "/session/proof", 429, password=PASSWORD, code=code)


async def test_what_another_program_of_this_host_keeps_in_cookies_logs_nobody_out(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        session = f"rr={olga.cookies['rr']}"
        olga.cookies.clear()
        for others in ('prefs={"a": [1, 2]}; ', "a b=c; ", "=; ;", "é=1; "):
            answer = await olga.get("/api/v1/session", headers=[(b"cookie", (others + session).encode("latin-1"))])
            assert answer.status_code == 200, others


def test_the_first_admin_is_told_once(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    changes = account_changes_of(data_dir, lambda: 0)
    assert first_admin(changes, 0)
    assert first_admin(account_changes_of(data_dir, lambda: 0), 0) is None
    assert [one.role for one in changes.accounts.people] == [Role.ADMIN]
    noted = [(line.who, line.what, line.about) for line in diary_of(data_dir, lambda: 0).lines()]
    assert noted == [("redrush", "add person", "admin as admin")]


def test_commands_and_the_console_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    console, command = Accounts(path), Accounts(path)
    command.add("olga", Role.VIEWER, "x", 0)
    found = console.person("olga")
    assert found is not None
    assert found.role is Role.VIEWER
    with pytest.raises(ConfigError, match="has an account already"):
        console.add("olga", Role.ADMIN, "x", 0)
    with pytest.raises(ConfigError, match="no account"):
        command.remove("nobody")


async def test_no_more_logins_wait_than_there_are_places() -> None:
    passwords, gate = Passwords(), threading.Event()
    busy = [asyncio.ensure_future(passwords._in_turn(gate.wait)) for _ in range(QUEUE_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyLogins):
        await passwords.check(None, "x")
    gate.set()
    await asyncio.gather(*busy)
    passwords.close()


def test_tries_are_counted_by_name_and_by_address() -> None:
    now = [0]
    tries = Tries(lambda: now[0])
    for number in range(TRIES_MAX):
        assert tries.rest_s(f"name {number}", "address a") == 0
    assert tries.rest_s("name x", "address a") == TRIES_S
    assert tries.rest_s("name x", "address b") == 0


async def test_a_second_factor_is_asked_for_and_no_code_is_good_twice(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client() as client:
        with_password(world, "olga")
        secret = new_secret()
        world.desk.accounts.change("olga", totp=secret)
        await post(client, "/session", 401, name="olga", password=PASSWORD)
        code = code_at(secret, world.desk.now_s() // STEP_S)
        await post(client, "/session", name="olga", password=PASSWORD, code=code)
        await post(client, "/session", 401, name="olga", password=PASSWORD, code=code)


async def test_of_two_logins_by_one_code_one_is_let_in(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client() as client:
        with_password(world, "olga")
        secret = new_secret()
        world.desk.accounts.change("olga", totp=secret)
        fields = {"name": "olga", "password": PASSWORD, "code": code_at(secret, world.desk.now_s() // STEP_S)}
        answers = await asyncio.gather(*(client.post("/api/v1/session", json=fields) for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [200, 401, 401]


def totp_of(world: World) -> str | None:
    person = world.desk.accounts.person("olga")
    assert person is not None
    return person.totp


def code_of_now(world: World, secret: str) -> str:
    return code_at(secret, world.desk.now_s() // STEP_S)


async def test_another_second_factor_asks_for_the_password_and_the_present_code(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world:
        with_password(world, "olga")
        async with world.client("olga") as olga, world.client("olga") as elsewhere:
            asked = await olga.post("/me/second-factor", data={})
            first = re.search(r'name="secret" value="(\w+)"', asked.text)
            assert first is not None
            secret, code = first[1], code_of_now(world, first[1])
            begin = {"secret": secret, "code": code}
            wrong = await olga.post("/me/second-factor", data=begin)
            assert (wrong.status_code, secret in wrong.text) == (403, True), "without the password; the secret stays"
            for weak in ("", "GEZDGNBV", "no base 32"):
                weakly = {**begin, "secret": weak or "=", "code": code, "password": PASSWORD}
                assert (await olga.post("/me/second-factor", data=weakly)).status_code == 400
            assert totp_of(world) is None
            assert (await olga.post("/me/second-factor", data={**begin, "password": PASSWORD})).status_code == 303
            await get(olga, "/session")
            await get(elsewhere, "/session", 401)
            world.ahead_us += 61_000_000
            other = new_secret()
            replace = {"secret": other, "code": code_of_now(world, other), "password": PASSWORD}
            for present in ("", "000000", code):
                refused = await olga.post("/me/second-factor", data={**replace, "present": present})
                assert refused.status_code == 403, present
            assert totp_of(world) == secret
            world.ahead_us += 61_000_000
            replace["code"] = code_of_now(world, other)
            done = await olga.post("/me/second-factor", data={**replace, "present": code_of_now(world, secret)})
            assert done.status_code == 303
            assert totp_of(world) == other
            said = [line.what for line in world.desk.diary.lines()]
            assert "begin second factor" in said
            assert said[-1] == "replace second factor"
            assert said.count("code refused") == 3


async def test_a_reset_ends_sessions_and_keys_and_says_which(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("anna") as anna:
        for keep in (False, True):
            async with world.client("olga") as olga:
                key = (await post(olga, "/keys", 201, role="operator", note="nightly"))["secret"]
                told = await post(anna, f"/people/olga/reset{'?keep_keys=true' if keep else ''}")
                assert ([one["note"] for one in told["keys"]], told["keys_kept"]) == (["nightly"], keep)
                await get(olga, "/session", 401)
            async with world.client(None, Authorization=f"Bearer {key}") as program:
                await get(program, "/session", 200 if keep else 401)
            about = f"olga, 1 API keys {'kept' if keep else 'taken back'}"
            assert [line.about for line in world.desk.diary.lines() if line.what == "reset password"][-1] == about
        page = await anna.post("/people/olga/reset", data={}, headers={"accept-language": "en"})
        assert "API keys of olga that are good no more" in page.text
        assert not world.desk.accounts.keys
        await post(anna, "/people/anna/reset", 409)
        assert 'action="/people/anna/reset"' not in page.text


async def test_what_a_command_changes_ends_sessions_too(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world:
        command = Accounts(world.data_dir.accounts)
        async with world.client("olga") as olga, world.client("otto") as otto, world.client("anna") as anna:
            command.reset("olga", QUICK.hash(PASSWORD), keep_keys=False)
            command.remove("otto")
            command.add("otto", Role.OPERATOR, QUICK.hash(PASSWORD), 0)
            await get(olga, "/session", 401)
            await get(otto, "/session", 401)  # who has that name now is somebody else
            assert [one["name"] for one in await get(anna, "/sessions")] == ["anna"]


async def test_ones_own_new_password_ends_other_sessions_and_keys_if_asked(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world:
        with_password(world, "olga")
        async with world.client("olga") as olga, world.client("olga") as elsewhere:
            await post(olga, "/keys", 201, role="viewer")
            change = {"old": PASSWORD, "new": PASSWORD + "1"}
            assert (await olga.put("/api/v1/session/password", json=change)).status_code == 200
            await get(olga, "/session")
            await get(elsewhere, "/session", 401)
            assert [one.owner for one in world.desk.accounts.keys] == ["olga"]
            change = {"old": PASSWORD + "1", "new": PASSWORD, "drop_keys": "yes"}
            assert (await olga.post("/me/password", data=change)).status_code == 303
            assert not world.desk.accounts.keys
            for _ in range(TRIES_MAX):
                await olga.post("/me/password", data={**change, "old": "guessed"})
            assert (await olga.post("/me/password", data=change)).status_code == 429


def test_codes_are_those_of_rfc_6238() -> None:
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # "12345678901234567890", as in its appendix B
    for at_s, code in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")]:
        assert code_at(secret, at_s // STEP_S) == code
        assert step_of(secret, code, at_s + STEP_S) == at_s // STEP_S
        assert step_of(secret, code, at_s + 3 * STEP_S) is None


def test_passwords_can_be_read_out() -> None:
    found = {new_password() for _ in range(100)}
    assert len(found) == 100
    assert all(len(one) == 23 and not set(one) & set("il1o0O") for one in found)


def test_users_are_masked_for_viewers() -> None:
    assert masked("13800138000") == "13…00"
    assert masked("bob") == "…"


def test_a_changed_line_of_the_log_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "console.jsonl"
    diary = Diary(path, lambda: 0)
    for number in range(3):
        diary.note("olga", "look", str(number))
    diary = Diary(path, lambda: 0)
    assert [line.number for line in diary.lines()] == [1, 2, 3]
    path.write_bytes(path.read_bytes() + b'{"half')  # a crash
    assert Diary(path, lambda: 0).note("olga", "look").number == 4
    whole = path.read_text()
    path.write_text(whole.replace('"about":"1"', '"about":"7"'))
    with pytest.raises(ConfigError, match="somebody has changed the file"):
        Diary(path, lambda: 0)
    assert diary.note("olga", "look").number == 5, "what it has read once it does not read again"
    path.write_text(whole.splitlines()[0])
    with pytest.raises(ConfigError, match="shorter than it was"):
        diary.note("olga", "look")


def test_a_log_of_an_earlier_release_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "console.jsonl"
    path.write_text(EARLIER)
    diary = Diary(path, lambda: 0)
    diary.note("event", "add person", "olga as viewer", said="root")
    assert path.read_text().startswith(EARLIER)
    assert [(line.number, line.who, line.said) for line in Diary(path, lambda: 0).lines()] == [
        (1, "olga", ""), (2, "event", "root"),
    ]  # fmt: skip


def test_a_command_writes_into_the_log_of_a_console_that_runs(tmp_path: Path) -> None:
    path = tmp_path / "console.jsonl"
    console, command = Diary(path, lambda: 0), Diary(path, lambda: 0)
    console.note("olga", "login")
    command.note("event", "add person", "vera as viewer", said="root")
    path.write_bytes(path.read_bytes() + b'{"half')  # a command that was killed
    console.note("olga", "logout")
    assert [line.number for line in Diary(path, lambda: 0).lines()] == [1, 2, 3]
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another process writes it"):
            console.note("olga", "look")
    assert len(console.lines()) == 3


def test_lines_that_threads_and_processes_write_at_once_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "console.jsonl"
    diaries = [Diary(path, lambda: 0) for _ in range(2)]
    start = threading.Barrier(4)

    def write(number: int) -> None:
        start.wait(10)
        for _ in range(25):
            diaries[number % 2].note(f"t{number}", "something")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [line.number for line in Diary(path, lambda: 0).lines()] == list(range(1, 101))


async def test_what_is_refused_is_not_in_the_log_as_done(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("anna") as anna, world.client("vera") as vera:
        people = world.desk.accounts.people
        for _ in range(KEYS_OF_ONE_MAX):
            await post(vera, "/keys", 201, role="viewer")
        before = len(world.desk.diary.lines())
        await post(anna, "/people", 400, name="olga", role="viewer")
        await post(anna, "/people", 400, name="n" * 300, role="viewer")
        assert (await anna.delete("/api/v1/people/anna")).status_code == 400, "the last admin"
        assert (await anna.delete("/api/v1/people/nosuch")).status_code == 400
        for name in ("nosuch", "anna"):
            assert (await anna.put(f"/api/v1/people/{name}/role", json={"role": "viewer"})).status_code == 400
        await post(anna, "/people/nosuch/reset", 400)
        await post(vera, "/keys", 400, role="viewer")
        assert (await anna.delete("/api/v1/sessions/nosuch")).status_code == 404
        for fields in ({"name": "gala", "kind": "nosuch"}, {"name": "n" * 300, "kind": "packets"}):
            assert (await anna.post("/api/v1/drafts", json=fields)).status_code == 400
        await post(anna, "/drafts", 400, name="gala", kind="packets", of="nosuch")
        assert [line.what for line in world.desk.diary.lines()[before:]] == []
        assert world.desk.accounts.people == people


async def test_nobody_takes_the_places_of_all(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("anna") as anna, world.client("vera") as vera:
        for _ in range(KEYS_OF_ONE_MAX):
            await post(vera, "/keys", 201, role="viewer")
        assert "take some back" in (await post(vera, "/keys", 400, role="viewer"))["detail"]
        await post(anna, "/keys", 201, role="viewer")
        for _ in range(SESSIONS_MAX):
            world.ahead_us += 1_000
            world.session_of("vera")
        assert sum(one["name"] == "vera" for one in await get(anna, "/sessions")) == SESSIONS_OF_ONE_MAX
