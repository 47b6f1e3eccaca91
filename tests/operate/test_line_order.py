"""The order of a line is computed again afterwards, by the event's directory or by what was published of it."""

import json
import runpy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from redrush.cli.main import main
from redrush.config import load_campaign_file
from redrush.control.data_dir import DataDir
from redrush.control.event import prepare_event
from redrush.control.line_files import LineFiles
from redrush.control.sealing import load_sealed
from redrush.core.rush.line import commitment, drawn_place, line_key

ROOT = Path(__file__).parents[2]
NOW_US = 1_800_000_000_000_000
USERS = ["ann", "bob", "张伟", "dan"]


@pytest.fixture
def event(tmp_path: Path) -> DataDir:
    """An event in whose line four people stand, three of whom came early."""
    data_dir = DataDir(tmp_path / "event")
    prepare_event(load_campaign_file(ROOT / "examples/line.toml"), data_dir, lambda: NOW_US)
    key = line_key(load_sealed(data_dir).seed, "r20")
    given = [(drawn_place(key, user), user) for user in USERS[:3]] + [(NOW_US, "dan")]
    LineFiles(data_dir).append("r20", given)
    return data_dir


def run(*command: object) -> int:
    with pytest.raises(SystemExit) as ended, patch("sys.argv", ["redrush", "line", *map(str, command)]):
        main()
    return int(ended.value.code or 0)


def test_the_order_is_listed_and_every_place_is_right(event: DataDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--data", event.root, "--json") == 0
    people = json.loads(capsys.readouterr().out)["people"]
    assert [one["user"] for one in people][-1] == "dan"
    assert sorted(one["place"] for one in people) == [one["place"] for one in people]
    assert run("verify", "--data", event.root) == 0
    assert "4 people, 3 of them drawn: every place is right" in capsys.readouterr().out


def test_who_has_only_what_was_published_finds_the_same(event: DataDir, capsys: pytest.CaptureFixture[str]) -> None:
    key = line_key(load_sealed(event).seed, "r20")
    published = ("--key", key.hex(), "--commitment", commitment(key), "--list", event.line_list("r20"), "--json")
    assert run("verify", *published) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("12345\tmallory\n", 'line-r20.tsv:5: the place of "mallory" is 12345, and the key draws'),
        (f"{NOW_US - 5}\teve\n", 'line-r20.tsv:5: "eve" came later than who stands before'),
    ],
)
def test_a_place_that_is_not_right_is_found(
    event: DataDir, line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with event.line_list("r20").open("a") as file:
        file.write(line)
    assert run("verify", "--data", event.root) == 1
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--key", "abc", "--list", "x"), "is not a key: the state"),
        (("--key", "00" * 32, "--commitment", "11", "--list", "x"), "the key is another one than was promised"),
        (("--key", "00" * 32, "--list", "nowhere.tsv"), "nowhere.tsv: is not there"),
        ((), "say what with"),
    ],
)
def test_what_cannot_be_verified_is_refused(
    options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("verify", *options) == 2
    assert said in capsys.readouterr().err


def test_the_how_to_computes_the_same_places(tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/waiting-room.md").read_text(encoding="utf-8")
    script = tmp_path / "places.py"
    script.write_text(page.partition("```python\n")[2].partition("```")[0], encoding="utf-8")
    theirs: Any = runpy.run_path(str(script))
    key = line_key(b"s" * 32, "r20")
    assert [theirs["place"](key.hex(), user) for user in USERS] == [drawn_place(key, user) for user in USERS]
    assert theirs["commitment"](key.hex()) == commitment(key)
