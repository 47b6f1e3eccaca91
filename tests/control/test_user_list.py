"""Who may win: read from a file of any size, told line and all where it is wrong."""

import random
from pathlib import Path

import pytest

from redrush.control import user_list
from redrush.control.user_list import LINE_BYTES_MAX, Survey, read_users
from redrush.core.identity.audience import Audience
from redrush.errors import ConfigError
from tests.core.identity.any_user import NAMES

SEED = 20270206


def load_audience(path: Path) -> Audience:
    return Audience(read_users(path).digests)


def survey(path: Path) -> Survey:
    return read_users(path, with_lines=True).survey


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "users.txt"


@pytest.mark.parametrize(
    "content",
    ["alice\nbob\n", "alice\r\nbob\r\n", "\n\nalice\n bob \n\n", "alice\nbob", "alice\rbob", "bob\nalice\nbob\n"],
)
def test_the_audience_is_one_user_a_line_however_lines_end(file: Path, content: str) -> None:
    file.write_bytes(content.encode())
    audience = load_audience(file)
    assert "alice" in audience
    assert "bob" in audience
    assert not any(user in audience for user in ("", "carol", "alic", "alice ", "Alice"))


def test_an_empty_file_is_nobody(file: Path) -> None:
    file.write_bytes(b"")
    assert "alice" not in load_audience(file)


@pytest.mark.parametrize("piece_bytes", [1, 7, 64, 1 << 20])
def test_a_file_is_the_same_in_pieces_of_any_size(
    file: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    rng = random.Random(SEED)
    users = {f"{rng.choice('abc:')}{rng.randrange(10 ** rng.randint(1, 12))}" for _ in range(500)}
    file.write_text("\r\n".join(sorted(users)))
    monkeypatch.setattr(user_list, "PIECE_BYTES", piece_bytes)
    audience = load_audience(file)
    assert all(user in audience for user in users), SEED
    assert not any(f"{user}0x" in audience for user in users), SEED


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"alice\nb ob\n", r'"b ob" is not a user id: it has white space in it \(a space\)'),
        ("alice\nbob\u200b\n".encode(), r'"bob\\u200b" is .* cannot be seen \(\\u200b\)'),
        ("alice\nb\u3164b\n".encode(), r'"b\\u3164b" is .* cannot be seen \(\\u3164\)'),
        ("alice\n\ufeffbob\n".encode(), r'"\\ufeffbob" is .* cannot be seen'),
        (b"alice\r\nal\x1b[31mice\r\n", r'"al\\x1b\[31mice" is .* cannot be seen \(\\x1b\)'),
        (b"alice\n" + b"x" * 257, r"it is 257 bytes long in UTF-8, the longest is 256"),
        (b"alice\n" + "张".encode() * 86, r"it is 258 bytes long in UTF-8"),
    ],
)
@pytest.mark.parametrize("piece_bytes", [3, 1 << 20])
def test_a_line_that_is_no_user_is_told_and_nothing_in_it_reaches_a_terminal_raw(
    file: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, why: str, piece_bytes: int
) -> None:
    file.write_bytes(content)
    monkeypatch.setattr(user_list, "PIECE_BYTES", piece_bytes)
    with pytest.raises(ConfigError, match=rf"users\.txt:2: .*{why}") as refused:
        load_audience(file)
    assert str(refused.value).isprintable()


def test_all_lines_that_are_no_users_are_told_the_first_twenty_and_how_many_more(file: Path) -> None:
    file.write_text("".join(f"user{k}\nus er{k}\n" for k in range(50)))
    with pytest.raises(ConfigError) as refused:
        load_audience(file)
    told = str(refused.value).splitlines()
    assert told[0] == f"{file}: 50 lines are no user ids:"
    assert told[1].startswith(f'  {file}:2: "us er0" is not a user id')
    assert told[20].startswith(f'  {file}:40: "us er19" is not a user id')
    assert told[21:] == ["  and 30 more"]


@pytest.mark.parametrize("user", NAMES)
@pytest.mark.parametrize("piece_bytes", [1, 1 << 20])
def test_ids_of_every_kind_are_users(file: Path, monkeypatch: pytest.MonkeyPatch, user: str, piece_bytes: int) -> None:
    monkeypatch.setattr(user_list, "PIECE_BYTES", piece_bytes)
    file.write_text(f"zoe\n{user}\r\n  {user} \n", encoding="utf-8")
    audience = load_audience(file)
    assert user in audience
    assert f"{user}x" not in audience


def test_ids_are_kept_in_their_normal_form(file: Path) -> None:
    file.write_text("Jose\u0301\nalice\n\u0301\n", encoding="utf-8")  # the last one must not join the line before it
    audience = load_audience(file)
    assert all(user in audience for user in ("Jos\u00e9", "alice", "\u0301"))
    assert "Jose\u0301" not in audience


@pytest.mark.parametrize("piece_bytes", [1, 1 << 20])
def test_a_byte_order_mark_at_the_start_is_no_part_of_the_first_id(
    file: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(user_list, "PIECE_BYTES", piece_bytes)
    file.write_bytes(b"\xef\xbb\xbfalice\r\nbob\r\n")
    audience = load_audience(file)
    assert "alice" in audience
    assert "\ufeffalice" not in audience


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_unicode_encoding_is_named(file: Path, encoding: str) -> None:
    file.write_bytes("alice\r\nbob\r\n".encode(encoding))
    with pytest.raises(ConfigError, match=rf"users\.txt:1: is not UTF-8 text; it looks like UTF-{encoding[4:6]}; save"):
        load_audience(file)


def test_gbk_is_guessed_and_its_line_told(file: Path) -> None:
    file.write_bytes("alice\r\rbob\r\n张三\nzoe\n".encode("gbk"))
    with pytest.raises(
        ConfigError, match=r"users\.txt:4: is not UTF-8 text \(byte 12\); it looks like GBK; save it as"
    ):
        load_audience(file)


# -- what is only doubtful


def test_a_list_is_counted_and_its_doubts_told_with_their_lines(file: Path) -> None:
    file.write_text('user_id\nalice\nbob\nalice \n\nbob\nAlice\n1.58292E18\n"zoe",1\n')
    found = survey(file)
    assert (found.lines, found.users) == (8, 6)
    assert found.warnings() == [
        'the first line seems to be a heading, and counts as a user who may win: line 1 "user_id"',
        '2 of 8 lines have an id that stands there already; it counts once: lines 4 "alice", 6 "bob"',
        '1 id is written as spreadsheets round long numbers, and their last digits are lost: line 8 "1.58292E18"',
        '1 id is the same as another one but for upper and lower case, and each is a user: line 7 "Alice"',
        "1 id is written with commas, semicolons or quotes, like a table of several columns; the whole line is the id: "
        'line 9 ""zoe",1"',
    ]
    assert "user_id" in load_audience(file), "whoever is on the list can win"


def test_without_lines_doubts_are_counted_all_the_same(file: Path) -> None:
    file.write_text("alice\nALICE\nalice\nAlice\n")
    found = read_users(file).survey
    assert (found.users, found.repeated.count, found.alike.count) == (3, 1, 2)
    assert found.warnings()[0] == "1 of 4 lines has an id that stands there already; it counts once"


def test_long_numbers_that_a_spreadsheet_rounded_show_as_repetitions(file: Path) -> None:
    file.write_text("".join(f"{1582917533873850000 + 10_000 * (k % 100)}\n" for k in range(1_000)))
    found = survey(file)
    assert (found.lines, found.users, found.repeated.count) == (1_000, 100, 900)
    assert len(found.repeated.told) == 20
    assert found.repeated.told[0] == (101, "1582917533873850000")
    assert found.warnings()[0].endswith("and 880 more")


def test_a_good_list_gives_no_doubts(file: Path) -> None:
    file.write_text("alice\nbob\nuser@example.com\n1E5a\nid7\n")
    assert survey(file).warnings() == []
    file.write_text("")
    assert (survey(file).users, survey(file).warnings()) == (0, [])


def test_a_line_without_end_is_not_read_whole(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(b"alice\n" + b"x" * (LINE_BYTES_MAX + 4096))
    monkeypatch.setattr(user_list, "PIECE_BYTES", 4096)
    with pytest.raises(ConfigError, match=r"users\.txt:2: is no user id: longer than"):
        load_audience(file)


def test_a_file_that_cannot_be_read_is_told(file: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_audience(file)
    file.write_bytes(b"alice\n\xff")
    with pytest.raises(ConfigError, match=r"is not UTF-8 text \(byte 6\)"):
        load_audience(file)
