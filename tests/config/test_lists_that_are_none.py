"""Lists that are no text, or no files: each is told as what it is, with what to do, whoever reads it."""

import gzip
import lzma
from pathlib import Path
from typing import Final

import pytest

from redrush.config import parse_campaign
from redrush.config.code_list import BadCodes, read_codes
from redrush.config.rounds.items import read_items
from redrush.control.user_list import read_users
from redrush.errors import ConfigError
from tests.campaigns import a_round, campaign

LINES: Final = b"".join(b"user%05d\n" % number for number in range(2_000))
NONE: Final = {
    "gzip": (gzip.compress(LINES), "it is packed with gzip; unpack it first: gunzip FILE"),
    "xz": (lzma.compress(LINES), "it is packed with xz; unpack it first: unxz FILE"),
    "zip": (b"PK\x03\x04\x14\x00\x00\x00" + bytes(64) + b"\xff", "it is a zip archive, as spreadsheets"),
    "UTF-16": (LINES.decode().encode("utf-16"), "it looks like UTF-16; save it as UTF-8"),
    "GBK": ("张三\n李四\n".encode("gbk"), "it looks like GBK; save it as UTF-8"),
}


@pytest.mark.parametrize("kind", NONE)
def test_a_list_that_is_no_text_is_told_as_what_it_is(tmp_path: Path, kind: str) -> None:
    content, says = NONE[kind]
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    for read, fault in ((read_users, ConfigError), (read_codes, BadCodes), (read_items, ValueError)):
        with pytest.raises(fault) as told:
            read(path)
        assert "is not UTF-8 text" in str(told.value)
        assert says in str(told.value)


@pytest.mark.parametrize("key", ["audience", "blocked"])
@pytest.mark.parametrize("address", ["https://x.example/u.txt", "HTTP://x/u.txt", "s3://x/u.txt", "file:/u.txt"])
def test_an_address_is_no_path_and_is_told_as_it_was_written(key: str, address: str) -> None:
    text = campaign(a_round("r1", "1.00", 10)).replace("[campaign]", f'[campaign]\n{key} = "{address}"')
    with pytest.raises(ConfigError) as told:
        parse_campaign(text, "c.toml")
    assert f'campaign.{key}: "{address}" is an address; fetch it' in str(told.value)


@pytest.mark.parametrize("key", ["audience", "blocked"])
def test_what_no_system_takes_for_a_path_is_told_at_its_key(key: str) -> None:
    text = campaign(a_round("r1", "1.00", 10)).replace("[campaign]", f'[campaign]\n{key} = "u\\u0000.txt"')
    with pytest.raises(ConfigError, match=f"campaign.{key}: .* is no path of a file: it has a NUL character"):
        parse_campaign(text, "c.toml")
