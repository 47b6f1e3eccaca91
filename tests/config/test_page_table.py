"""`[page]`: what a campaign may say of its page, and what it is told when it cannot be."""

import base64
import os
from pathlib import Path

import pytest

from redrush.config import parse_campaign
from redrush.errors import ConfigError
from tests.campaigns import a_round, campaign


def test_a_campaign_that_says_nothing_has_our_page() -> None:
    page = parse_campaign(campaign(), "c.toml").page
    assert (page.language, page.colours, page.picture, page.login) == (None, {}, None, None)


def test_a_picture_is_taken_into_the_page(tmp_path: Path) -> None:
    (tmp_path / "goat.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    page = parse_campaign(campaign(tables='[page]\npicture = "goat.svg"\n'), str(tmp_path / "c.toml")).page
    assert page.picture is not None
    kind, _, data = page.picture.partition(",")
    assert (kind, base64.b64decode(data)) == ("data:image/svg+xml;base64", b"<svg xmlns='http://www.w3.org/2000/svg'/>")


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('language = "fr"', '"fr" is not a language of the page: zh or en'),
        ('login = "login.example"', 'write it like "https://login.example/hongbao"'),
        ('login = "javascript:alert(1)"', "is not an address"),
        ('login = "//login.example/"', "is not an address"),
        ('login = "https://[login.example/"', "is not an address"),
        ('login = "https://login.example:99999/"', "is not an address"),
        ('renew = "login/renew"', "page.renew"),
        ('colours = { red = "crimson" }', 'write it like "#c9241b"'),
        ('colours = { blue = "#00f" }', "page.colours.blue"),
        ('dark = { red = "#00f;}" }', "page.dark.red"),
        ('names = { r9 = "x" }', '"r9" is no round of this campaign; it has r1'),
        ('title = { zh = "" }', "page.title.zh"),
        ('texts.en = { wonn = "x" }', "is no text of the page; it has"),
        ('picture = "there.gif"', "is not one of .svg, .png, .webp, .avif"),
        ('picture = "there.png"', "cannot be read: No such file"),
        ("rules.zh = 3", "page.rules"),
        ('sounds.won = "there.ogg"', "page.sounds.won: there.ogg is not one of .mp3, .m4a, .wav"),
        ('sounds.won = "a\\u0000.mp3"', "page.sounds.won: 'a\\x00.mp3' is no path of a file: it has a NUL character"),
        ('picture = "\\u0000.svg"', "page.picture: '\\x00.svg' is no path of a file: it has a NUL character"),
        ('sounds.won = "there.mp3"', "cannot be read: No such file"),
        ('sounds.winning = "tune"', "page.sounds.winning: is no moment that is heard; there are opening, won, missed"),
    ],
)
def test_a_mistake_is_told_with_its_key_and_what_to_write_instead(table: str, told: str) -> None:
    with pytest.raises(ConfigError, match="page") as refused:
        parse_campaign(campaign(a_round(), tables=f"[page]\n{table}\n"), "c.toml")
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("key", "name", "content", "told"),
    [
        ("picture", "goat.svg", b"a goat", "page.picture: goat.svg is no svg by what is in it"),
        ("picture", "goat.png", b"<svg/>", "page.picture: goat.png is no png by what is in it"),
        ("picture", "goat.webp", b"\x89PNG\r\n\x1a\n", "goat.webp is no webp"),
        ("picture", "goat.avif", b"", "goat.avif is no avif"),
        ("sounds.won", "gong.mp3", b"RIFF....WAVEfmt ", "page.sounds.won: gong.mp3 is no mp3 by what is in it"),
        ("sounds.won", "gong.m4a", b"ID3", "gong.m4a is no m4a"),
        ("sounds.won", "gong.wav", b"ID3", "gong.wav is no wav"),
        ("sounds.won", "gong.wav", b"RIFF" + bytes(60_000), "60,004 bytes; at most 60,000, for a crowd fetches it"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_or_too_heavy_is_refused(
    tmp_path: Path, key: str, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match="page") as refused:
        parse_campaign(campaign(tables=f'[page]\n{key} = "{name}"\n'), str(tmp_path / "c.toml"))
    assert told in str(refused.value)


@pytest.mark.parametrize("key", ["picture", "sounds.won"])
def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path, key: str) -> None:
    name = "pipe.svg" if key == "picture" else "pipe.wav"
    os.mkfifo(tmp_path / name)
    with pytest.raises(ConfigError, match=f"{name}: cannot be read: it is a pipe, not a file that is kept"):
        parse_campaign(campaign(tables=f'[page]\n{key} = "{name}"\n'), str(tmp_path / "c.toml"))


def test_sounds_are_tunes_of_the_page_or_files(tmp_path: Path) -> None:
    (tmp_path / "gong.WAV").write_bytes(b"RIFF....WAVEfmt ")
    page = parse_campaign(
        campaign(tables='[page.sounds]\nopening = "tune"\nwon = "gong.WAV"\n'), str(tmp_path / "c.toml")
    ).page
    kind, _, data = page.sounds["won"].partition(",")
    assert (page.sounds["opening"], kind) == ("tune", "data:audio/wav;base64")
    assert base64.b64decode(data) == b"RIFF....WAVEfmt "


def test_a_picture_that_is_too_heavy_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big.png").write_bytes(b"x" * 20_001)
    with pytest.raises(ConfigError, match="20,001 bytes; at most 20,000"):
        parse_campaign(campaign(tables='[page]\npicture = "big.png"\n'), str(tmp_path / "c.toml"))
