"""docs/how-to/console.md: its commands run, and the paths that it names are the API's."""

import json
import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from redrush.api.accounts import Accounts, Role
from redrush.api.app import openapi_of
from redrush.cli.main import app
from redrush.cli.usage import run_app
from tests.console.console_world import get, post, without_server

ROOT: Final = Path(__file__).parents[2]
TEXT: Final = (ROOT / "docs/how-to/console.md").read_text(encoding="utf-8")


async def test_the_page_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with without_server(tmp_path) as world, world.client("anna") as anna:
        accounts = Accounts(world.data_dir.accounts)
        for line in re.findall(r"^redrush (user .*)$", TEXT, re.MULTILINE):
            run(shlex.split(line.replace("./event", str(tmp_path))), monkeypatch)
            if line.startswith("user role"):
                found = accounts.person("olga-2")
                assert found is not None
                assert found.role is Role.ADMIN
        assert accounts.person("olga-2") is None
        paths = openapi_of(world.app)["paths"]
        named = set(re.findall(r"http://127.0.0.1:8090(/api/v1/[\w/.-]+)", TEXT))
        assert len(named) >= 4
        for path in named:
            shape = path.replace("/spring/files/users.txt", "/{name}/files/{file}")
            assert shape in paths, path
        body = re.search(r"-d '(.*?)'.*changes/preview", TEXT)
        assert body is not None
        seen = await post(anna, "/changes/preview", **json.loads(body[1]))
        assert seen["changes"] == [{"switch": "settlement.paused", "from": False, "to": True}]
        assert (await get(anna, "/session"))["role"] == "admin"


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["redrush", *(word.replace("olga", "olga-2") for word in words)])
    with pytest.raises(SystemExit) as end:
        run_app(app)
    assert not end.value.code, words
