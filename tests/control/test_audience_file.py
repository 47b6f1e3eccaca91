"""Who may win: read from a file of any size, told line and all where it is wrong."""

import random
from pathlib import Path

import pytest

from redrush.control import audience_file
from redrush.control.audience_file import LINE_BYTES_MAX, load_audience
from redrush.errors import ConfigError

SEED = 20270206


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
    monkeypatch.setattr(audience_file, "PIECE_BYTES", piece_bytes)
    audience = load_audience(file)
    assert all(user in audience for user in users), SEED
    assert not any(f"{user}0x" in audience for user in users), SEED


@pytest.mark.parametrize("piece_bytes", [3, 1 << 20])
@pytest.mark.parametrize(
    "content", [b"alice\nb ob\n", "alice\n爱\n".encode(), b"alice\nbob;\n", b"alice\n.bob\n", b"alice\n" + b"x" * 65]
)
def test_a_line_that_is_no_user_is_told(
    file: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, piece_bytes: int
) -> None:
    file.write_bytes(content)
    monkeypatch.setattr(audience_file, "PIECE_BYTES", piece_bytes)
    with pytest.raises(ConfigError, match=r"users\.txt:2: .* is not a user id"):
        load_audience(file)


def test_a_line_without_end_is_not_read_whole(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(b"alice\n" + b"x" * (LINE_BYTES_MAX + 4096))
    monkeypatch.setattr(audience_file, "PIECE_BYTES", 4096)
    with pytest.raises(ConfigError, match=r"users\.txt:2: is no user id: longer than"):
        load_audience(file)


def test_a_file_that_cannot_be_read_is_told(file: Path) -> None:
    with pytest.raises(ConfigError, match="the audience cannot be read"):
        load_audience(file)
    file.write_bytes(b"alice\n\xff")
    with pytest.raises(ConfigError, match=r"is not UTF-8 text \(byte 6\)"):
        load_audience(file)
