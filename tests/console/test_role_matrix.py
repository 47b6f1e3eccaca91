"""Each operation of the admin API for each role and for nobody, as its own document says; and pages alike."""

import re
from pathlib import Path
from typing import Final

from litestar.routes import HTTPRoute

from redrush.api.access import ANYBODY, ROLE
from redrush.api.accounts import Role
from redrush.api.app import openapi_of
from tests.console.console_world import World, without_server

WHO: Final = {None: -1, "vera": Role.VIEWER.rank, "olga": Role.OPERATOR.rank, "anna": Role.ADMIN.rank}
STREAM: Final = "/api/v1/live/stream"
"""Never ends by itself, so it is not asked here where it is allowed."""


def operations(world: World) -> list[tuple[str, str, str]]:
    """Return method, path and needed role of each operation."""
    found = []
    for path, methods in openapi_of(world.app)["paths"].items():
        for method, operation in methods.items():
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
        "/grants.csv": Role.OPERATOR, "/people": Role.ADMIN,
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
