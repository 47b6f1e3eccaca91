"""Each operation of the admin API for each role and for nobody, as its own document says; and pages alike."""

import re
from pathlib import Path
from typing import Final

from litestar.routes import HTTPRoute

from redrush.api.access import ANYBODY, NO_PERSON, NOT_PROVED, ROLE
from redrush.api.accounts import Role
from redrush.api.app import openapi_of
from redrush.api.sessions import PROVED_S
from tests.console.console_world import World, post, without_server

WHO: Final = {None: -1, "vera": Role.VIEWER.rank, "olga": Role.OPERATOR.rank, "anna": Role.ADMIN.rank}
STREAM: Final = "/api/v1/live/stream"
"""Never ends by itself, so it is not asked here where it is allowed."""


PROVED: Final = {
    ("POST", "/api/v1/people"), ("PUT", "/api/v1/people/{name}/role"), ("POST", "/api/v1/people/{name}/reset"),
    ("POST", "/api/v1/keys"),
}  # fmt: skip
"""What lets somebody in who was not in before: a person does it, who has just proved who they are."""


def operations(world: World, *, proved: bool | None = None) -> list[tuple[str, str, str]]:
    """Return method, path and needed role of each operation, or of those that need a proof, or none."""
    found = []
    for path, methods in openapi_of(world.app)["paths"].items():
        for method, operation in methods.items():
            if proved in {None, operation["x-proved"]}:
                found.append((method.upper(), path, operation["x-role"]))
    return found


def filled(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda hole: {"verb": "cancel", "name": "nobody"}.get(hole[1], "none"), path)


async def test_each_operation_is_open_to_who_may_and_to_nobody_else(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world:
        found = operations(world)
        assert len(found) > 30
        for name, rank in WHO.items():
            for method, path, role in found:
                may = role == ANYBODY or rank >= Role(role).rank
                if may and path == STREAM:
                    continue
                async with world.client(name) as client:
                    answer = await client.request(method, filled(path), json={} if method != "GET" else None)
                where = f"{method} {path} by {name}: {answer.status_code} {answer.text[:200]}"
                refused = answer.status_code in {401, 403}
                if path == "/api/v1/session" and method == "POST":
                    assert answer.status_code == 400, where
                elif may:
                    assert not refused, where
                    assert answer.status_code < 500, where
                else:
                    assert answer.status_code == (401 if name is None else 403), where
                    assert answer.headers["content-type"].startswith("application/problem+json"), where


async def test_what_lets_somebody_in_is_done_by_a_person_who_has_just_proved_who_they_are(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world:
        needing = operations(world, proved=True)
        assert {(method, path) for method, path, _ in needing} == PROVED
        pages = [("/people", {"name": "eve", "role": "admin"}), ("/people/olga/role", {"role": "admin"}),
                 ("/people/olga/reset", {}), ("/me/keys", {"role": "viewer"})]  # fmt: skip
        async with world.client("anna") as anna:
            key = (await post(anna, "/keys", 201, role="admin"))["secret"]
            before = (world.data_dir.accounts).read_bytes()
            world.ahead_us += PROVED_S * 1_000_000
            async with world.client(None, Authorization=f"Bearer {key}") as program:
                for client, why in ((program, NO_PERSON), (anna, NOT_PROVED)):
                    for method, path, _ in needing:
                        body = {"name": "eve", "role": "admin"}
                        answer = await client.request(method, path.replace("{name}", "olga"), json=body)
                        assert (answer.status_code, answer.json()["detail"]) == (403, why), path
                    for path, data in pages:
                        answer = await client.post(path, data=data)
                        assert (answer.status_code, why in answer.text) == (403, True), path
                for method, path, role in operations(world, proved=False):
                    if (method, path) == ("GET", STREAM) or role == ANYBODY or path.startswith("/api/v1/session"):
                        continue
                    answer = await program.request(method, filled(path), json={} if method != "GET" else None)
                    assert answer.status_code not in {401, 403}, (method, path, answer.text)
            assert world.data_dir.accounts.read_bytes() == before


async def test_a_handler_that_says_no_role_is_open_to_nobody(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("anna") as client:
        for path in ("/api/v1/schema", "/api/v1/schema/openapi.json"):
            assert (await client.get(path)).status_code in {403, 404}
        silent = [
            route.path
            for route in world.app.routes
            if isinstance(route, HTTPRoute)
            for method, (handler, _) in route.route_handler_map.items()
            if method != "OPTIONS" and ROLE not in handler.opt and not route.path.startswith("/api/v1/schema")
        ]
        assert silent == []


async def test_pages_need_the_same_roles(tmp_path: Path) -> None:
    needed: dict[str, Role] = {
        "/": Role.VIEWER, "/wall": Role.VIEWER, "/fleet": Role.VIEWER,
        "/drills": Role.VIEWER, "/campaigns": Role.VIEWER, "/steer": Role.VIEWER,
        "/waiting": Role.VIEWER, "/audit": Role.VIEWER, "/grants": Role.VIEWER, "/proof": Role.VIEWER,
        "/reports": Role.VIEWER, "/ledger": Role.VIEWER,
        "/me": Role.VIEWER, "/notice": Role.VIEWER, "/story": Role.OPERATOR, "/bills": Role.OPERATOR,
        "/refund": Role.OPERATOR, "/grants.csv": Role.OPERATOR, "/people": Role.ADMIN,
    }  # fmt: skip
    async with without_server(tmp_path) as world:
        for name, rank in WHO.items():
            async with world.client(name) as client:
                for path, role in needed.items():
                    answer = await client.get(path)
                    expected = {200} if rank >= role.rank else {303} if name is None else {403}
                    assert answer.status_code in expected, (name, path, answer.status_code, answer.text[:300])


async def test_a_viewer_sees_masked_users_and_changes_nothing(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("vera") as client:
        for form in (
            "/notice/preview",
            "/notice/confirm",
            "/steer/preview",
            "/steer/confirm",
            "/waiting/x/approve",
            "/proof",
            "/people",
        ):
            answer = await client.post(form, data={"verb": "set", "name": "answer_ended", "value": "true"})
            assert answer.status_code == 403, form
        assert not world.data_dir.switches.exists()
