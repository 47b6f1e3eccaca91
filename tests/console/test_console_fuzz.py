"""Requests at random over every operation of the admin API's own document: no answer is a fault of the server."""

import json
import random
import sys
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from redrush.api.app import openapi_of
from tests.console.console_world import World, with_server, without_server

REQUESTS: Final = 1_000
REQUESTS_SOAK: Final = 10_000
AGAIN_MAX: Final = 30
STREAM: Final = "/api/v1/live/stream"
WORDS: Final = (
    "", "r1", "r2", "calm", "answer_ended", "release.r1.per_second", "set", "apply", "undo", "release", "olga", "c",
    "viewer", "0", "-1", "1e309", "null", "true", "off", "中文", "\u202e", "a" * 400, "../../etc/passwd", "%00",
    "'; DROP TABLE grants", "=cmd|x", "<script>", "r1:5", ":", "r1:-9", "r1:x", "2027-01-01T00:00:00Z", "\U0001f9e7",
)  # fmt: skip
VALUES: Final[tuple[Any, ...]] = (None, True, False, 0, -1, 1, 5, 2**63, 2**70, 1.5, [], {}, [1], {"a": 1}, *WORDS)


def drawn(rng: random.Random, document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """Return a value of this schema as it may be sent, or, often, something else."""
    if rng.random() < 0.25:
        return rng.choice(VALUES)
    if "$ref" in schema:
        return drawn(rng, document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    for several in ("oneOf", "anyOf"):
        if several in schema:
            return drawn(rng, document, rng.choice(schema[several]))
    if "enum" in schema:
        return rng.choice(schema["enum"])
    match schema.get("type"):
        case "object":
            fields = schema.get("properties", {})
            return {name: drawn(rng, document, one) for name, one in fields.items() if rng.random() < 0.9}
        case "array":
            return [drawn(rng, document, schema.get("items", {})) for _ in range(rng.randrange(4))]
        case "boolean":
            return rng.random() < 0.5
        case "integer" | "number":
            return rng.choice([0, 1, -1, 7, 200, 201, 2**31, 2**40, 2**63, 1.5])
        case _:
            return rng.choice(WORDS)


async def ask_at_random(world: World, client: httpx.AsyncClient, rng: random.Random, count: int) -> dict[int, int]:
    """Return how often each status was answered."""
    document = openapi_of(world.app)
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path != STREAM and not (path == "/api/v1/session" and method != "get")
    ]
    statuses: dict[int, int] = {}
    for number in range(count):
        method, path, operation = rng.choice(operations)
        query: dict[str, str] = {}
        for parameter in operation.get("parameters", []):
            value = str(drawn(rng, document, parameter["schema"]))
            if parameter["in"] == "path":
                path = path.replace(
                    "{" + parameter["name"] + "}", httpx.URL("", params={"x": value}).query[2:].decode()
                )
            elif rng.random() < 0.6:
                query[parameter["name"]] = value
        body = operation.get("requestBody")
        fields = None if body is None else drawn(rng, document, body["content"]["application/json"]["schema"])
        content = None if body is None else encoded(rng, fields)
        asked = client.build_request(
            method, path, params=query, content=content, headers={"Content-Type": "application/json"}
        )
        answer = await answered(client, asked)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        assert answer.status_code < 500, f"request {number}: {method} {path} {query} {content!r}: {answer.text}"
        if answer.status_code >= 400:
            assert answer.json()["detail"], (method, path)
            assert "Traceback" not in answer.text
    return statuses


async def answered(client: httpx.AsyncClient, asked: httpx.Request) -> httpx.Response:
    """Return the answer. That the event has not answered in time, as on a busy machine, says nothing of the console: it
    says so, and is asked again."""
    answer = await client.send(asked)
    for _ in range(AGAIN_MAX):
        if answer.status_code != 503 or "no answer within" not in answer.json()["detail"]:
            break
        assert answer.headers["retry-after"]
        answer = await client.send(asked)
    return answer


def encoded(rng: random.Random, fields: Any) -> bytes:
    if rng.random() < 0.03:
        return rng.choice([rng.randbytes(30), b"[" * 50_000, b'{"a":' * 50_000])
    return json.dumps(fields).encode()


async def fuzz(directory: Path, count: int) -> None:
    seed = random.randrange(1 << 32)
    sys.stdout.write(f"seed {seed}\n")
    rng = random.Random(seed)
    async with with_server(directory) as world:
        # Whoever asks must stay, whatever was asked: roles and accounts are changed by these requests too.
        world.desk.accounts.add("root", world.desk.accounts.people[-1].role, "x", 0)
        for _ in range(count // 100):
            async with world.client("root") as client:
                statuses = await ask_at_random(world, client, rng, 100)
                assert statuses
                if world.desk.accounts.person("root") is None:
                    world.desk.accounts.add("root", world.desk.accounts.people[-1].role, "x", 0)
        assert (await world.grab("u-after")) in {"granted", "closed", "missed"}


@pytest.mark.parametrize("body", [b"[" * 50_000, b'{"a":' * 50_000, b'{"a":"\xff"}', b"{", b"1e999", b"\x91" * 50_000])
@pytest.mark.parametrize("path", ["/session", "/changes/preview", "/drafts"])
async def test_a_body_that_cannot_be_read_is_refused(tmp_path: Path, path: str, body: bytes) -> None:
    async with without_server(tmp_path) as world, world.client() as nobody, world.client("anna") as anna:
        for kind in ("application/json", "application/msgpack", "text/plain"):
            asking = nobody if path == "/session" else anna
            answer = await asking.post(f"/api/v1{path}", content=body, headers={"Content-Type": kind})
            assert (answer.status_code, answer.json()["detail"][:24]) == (400, "the body cannot be read:")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is empty: send a JSON object, as /api/v1/openapi.json describes it"),
        (b"[]", "the body: Expected `object`, got `array`"),
        (b"{}", "the body: Object missing required field `name`"),
        (b'{"name":3}', "name: Expected `str`, got `int`"),
    ],
)
async def test_a_body_that_lacks_something_is_told_what_and_where(tmp_path: Path, body: bytes, said: str) -> None:
    async with without_server(tmp_path) as world, world.client("anna") as anna:
        answer = await anna.post("/api/v1/drafts", content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["detail"]) == (400, said)


async def test_requests_at_random_find_no_fault(tmp_path: Path) -> None:
    await fuzz(tmp_path, REQUESTS)


@pytest.mark.soak
async def test_ten_thousand_requests_at_random_find_no_fault(tmp_path: Path) -> None:
    await fuzz(tmp_path, REQUESTS_SOAK)
