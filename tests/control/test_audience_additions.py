"""Who was added to an audience and is missing in the file is missed: at a start, and before anybody else is added."""

from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from redrush.control.audience_additions import (
    AudienceFollower,
    accept_additions,
    add_to_audience,
    additions_of,
    check_additions,
    remove_from_audience,
)
from redrush.control.data_dir import DataDir
from redrush.control.switch_mark import mark_of
from redrush.core.identity.audience import Audience
from redrush.errors import ConfigError

AT_US = 1_800_000_000_000_000


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    directory = DataDir(tmp_path / "event")
    directory.create()
    directory.campaign.write_text("{}")
    for user in ("ann", "bob"):
        assert add_to_audience(directory, [user], "desk", "late", AT_US) == 1
    return directory


def lost(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def edited(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"bob", b"eve"))


@pytest.mark.parametrize("hurt", [lost, cut, emptied, edited])
def test_what_is_missing_is_told_and_nobody_is_taken_for_all(hurt: Callable[[Path], None], data_dir: DataDir) -> None:
    path = data_dir.audience_additions
    hurt(path)
    heard: list[Sequence[str]] = []
    for refused in (
        lambda: check_additions(data_dir),
        lambda: AudienceFollower(data_dir, heard.append, heard.append).look_at_all(),
        lambda: add_to_audience(data_dir, ["cid"], "desk", "late", AT_US),
    ):
        with pytest.raises(ConfigError, match=r"audience-additions\.jsonl: .*`redrush audience accept --data"):
            refused()
    assert not heard
    left = accept_additions(data_dir)
    assert left == len(list(additions_of(data_dir)))
    assert add_to_audience(data_dir, ["cid"], "desk", "late", AT_US) == 1
    check_additions(data_dir)


def test_a_line_that_a_crash_cut_and_one_that_has_no_mark_yet_are_no_loss(data_dir: DataDir) -> None:
    with data_dir.audience_additions.open("ab") as file:
        file.write(b'{"at": "2027')
    check_additions(data_dir)
    assert add_to_audience(data_dir, ["cid"], "desk", "late", AT_US) == 1
    mark_of(data_dir.audience_additions).unlink()  # as a release before has left it
    check_additions(data_dir)
    mark_of(data_dir.audience_additions).write_bytes(b"not a mark")
    check_additions(data_dir)


def test_where_nobody_was_ever_added_nothing_is_to_be_accepted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nobody was ever added"):
        accept_additions(DataDir(tmp_path))


def test_the_last_line_about_a_person_counts(data_dir: DataDir) -> None:
    audience = Audience(array("q", sorted(map(hash, ("ann", "dan")))))
    follower = AudienceFollower(data_dir, audience.add, audience.remove)
    follower.look_at_all()
    assert [user in audience for user in ("ann", "bob", "dan", "eve")] == [True, True, True, False]
    assert remove_from_audience(data_dir, ["bob", "dan"], "desk", "left", AT_US) == 2
    assert remove_from_audience(data_dir, ["bob"], "desk", "left", AT_US) == 0
    follower.look()
    assert [user in audience for user in ("ann", "bob", "dan")] == [True, False, False]
    assert add_to_audience(data_dir, ["dan"], "desk", "is back", AT_US) == 1
    follower.look()
    again = Audience(array("q", sorted(map(hash, ("ann", "dan")))))
    AudienceFollower(data_dir, again.add, again.remove).look_at_all()
    for one in (audience, again):
        assert [user in one for user in ("ann", "bob", "dan")] == [True, False, True]
    check_additions(data_dir)
