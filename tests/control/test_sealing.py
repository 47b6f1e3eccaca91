"""What is settled before the opening stays settled: through restarts, crashes, edits and damage."""

import os
import re
import stat
from array import array
from hashlib import sha256
from pathlib import Path
from sys import byteorder

import msgspec
import pytest

from redrush.config import parse_campaign
from redrush.control import sealing
from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys, load_or_create_keys
from redrush.control.sealing import Sealed, load_sealed, seal
from redrush.core.rush.campaign import Slots
from redrush.errors import ConfigError
from tests.campaigns import a_round, campaign, lucky

NOW_US = 1_800_000_000_123_456
TEXT = campaign(
    a_round("later", "10.00", 3, opens="2030-01-01T00:00:00Z", lasts="60s"),
    lucky("first", "100.00", 50, lasts="60s", min="0.50", max="9.00"),
)
FILE = parse_campaign(TEXT, "c.toml")


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    directory = DataDir(tmp_path / "event")
    directory.create()
    return directory


def test_sealing_settles_instants_amounts_and_slots(data_dir: DataDir) -> None:
    sealed = seal(FILE, data_dir, NOW_US)
    first, later = sealed.campaign.rounds
    assert (first.id, first.opens_us, first.closes_us) == ("first", NOW_US, NOW_US + 60_000_000)
    assert (later.slots, first.slots) == (Slots(0, 3), Slots(3, 50)), "slots are numbered in the order of the file"
    assert sorted(sealed.amounts[0:3]) == [333, 333, 334]
    assert sum(sealed.amounts[3:53]) == 10_000
    assert all(50 <= amount_minor <= 900 for amount_minor in sealed.amounts[3:53])
    assert len(sealed.amounts) == 53


def test_the_amounts_file_is_what_others_rely_on(data_dir: DataDir) -> None:
    sealed = seal(FILE, data_dir, NOW_US)
    raw = data_dir.amounts.read_bytes()
    amounts = array("q", raw)
    if byteorder == "big":
        amounts.byteswap()
    assert list(amounts) == list(sealed.amounts)
    written = msgspec.json.decode(data_dir.campaign.read_bytes(), type=Sealed)
    assert written.amounts_sha256 == sha256(raw).hexdigest()
    assert written.campaign == sealed.campaign
    assert len(bytes.fromhex(written.seed)) == 32


def test_now_stays_the_same_instant_and_the_amounts_stay_the_same_at_every_restart(data_dir: DataDir) -> None:
    once = seal(FILE, data_dir, NOW_US)
    for later_us in (1, 86_400_000_000):
        again = seal(FILE, data_dir, NOW_US + later_us)
        assert again.campaign == once.campaign
        assert list(again.amounts) == list(once.amounts)
    assert load_sealed(data_dir).campaign == once.campaign


def test_two_events_from_one_file_do_not_have_the_same_amounts(tmp_path: Path) -> None:
    amounts = []
    for name in ("a", "b"):
        directory = DataDir(tmp_path / name)
        directory.create()
        amounts.append(list(seal(FILE, directory, NOW_US).amounts))
    assert amounts[0] != amounts[1]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('id = "c"', 'id = "d"'),
        ('"CNY"', '"USD"'),
        ('"10.00"', '"10.01"'),
        ("packets = 50", "packets = 51"),
        ('lasts = "60s"', 'lasts = "61s"'),
        ('id = "later"', 'id = "latest"'),
        ("2030-01-01", "2030-01-02"),
        ('"now"', "2029-01-01T00:00:00Z"),
        ('max = "9.00"', 'max = "9.00"\nrelease_per_second = 5'),
        ('max = "9.00"', 'max = "9.00"\nleftover = "next"'),
    ],
)
def test_a_campaign_that_has_changed_since_is_refused(data_dir: DataDir, old: str, new: str) -> None:
    seal(FILE, data_dir, NOW_US)
    before = data_dir.campaign.read_bytes()
    with pytest.raises(ConfigError, match="has changed since") as told:
        seal(parse_campaign(TEXT.replace(old, new, 1), "c.toml"), data_dir, NOW_US)
    assert str(data_dir.root) in str(told.value)
    assert told.value.exit_code == 2
    assert data_dir.campaign.read_bytes() == before


@pytest.mark.parametrize("more", ["[gate]\nconnections_max = 9\n", "# a remark\n"])
def test_what_grants_do_not_depend_on_may_change(data_dir: DataDir, more: str) -> None:
    once = seal(FILE, data_dir, NOW_US)
    assert seal(parse_campaign(TEXT + more, "c.toml"), data_dir, NOW_US).campaign == once.campaign


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "empty", "remove"])
def test_damaged_amounts_are_refused(data_dir: DataDir, damage: str) -> None:
    seal(FILE, data_dir, NOW_US)
    raw = data_dir.amounts.read_bytes()
    if damage == "remove":
        data_dir.amounts.unlink()
    else:
        damaged = {"flip": bytes([raw[0] ^ 1]) + raw[1:], "cut": raw[:-3], "grow": raw + bytes(8), "empty": b""}
        data_dir.amounts.write_bytes(damaged[damage])
    with pytest.raises(ConfigError, match=r"amounts\.i64: (is not the table|cannot be read)"):
        seal(FILE, data_dir, NOW_US)
    with pytest.raises(ConfigError, match=r"amounts\.i64: (is not the table|cannot be read)"):
        load_sealed(data_dir)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"version":1}', b"null"])
def test_a_damaged_seal_is_refused_and_never_replaced(data_dir: DataDir, content: bytes) -> None:
    seal(FILE, data_dir, NOW_US)
    data_dir.campaign.write_bytes(content)
    with pytest.raises(ConfigError, match=r"campaign\.json: is not a sealed campaign"):
        seal(FILE, data_dir, NOW_US)
    assert data_dir.campaign.read_bytes() == content


def test_a_seal_of_another_version_is_refused(data_dir: DataDir) -> None:
    seal(FILE, data_dir, NOW_US)
    sealed = msgspec.json.decode(data_dir.campaign.read_bytes(), type=Sealed)
    data_dir.campaign.write_bytes(msgspec.json.encode(msgspec.structs.replace(sealed, version=3)))
    with pytest.raises(ConfigError, match="has version 3; this redrush reads version 2"):
        load_sealed(data_dir)


class PowerLoss(Exception):
    """The process ends here."""


@pytest.mark.parametrize("writes_done", [0, 1])
def test_a_crash_while_sealing_leaves_nothing_behind(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch, writes_done: int
) -> None:
    with monkeypatch.context() as crash:
        done: list[Path] = []

        def write(path: Path, content: bytes) -> None:
            if len(done) == writes_done:
                path.with_name(f"{path.name}.new").write_bytes(content[: len(content) // 2])
                raise PowerLoss
            done.append(path)
            path.write_bytes(content)

        crash.setattr(sealing, "write_durably", write)
        with pytest.raises(PowerLoss):
            seal(FILE, data_dir, NOW_US)
    with pytest.raises(ConfigError, match="holds no campaign"):
        load_sealed(data_dir)
    sealed = seal(FILE, data_dir, NOW_US + 5)
    assert sealed.campaign.rounds[0].opens_us == NOW_US + 5
    assert list(load_sealed(data_dir).amounts) == list(sealed.amounts)


def test_a_directory_without_a_campaign_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no campaign; `redrush seal FILE --data"):
        load_sealed(DataDir(tmp_path / "nowhere"))


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(tmp_path / 'file'))}: is a file; give the name of a dir"):
        DataDir(tmp_path / "file" / "event").create()
    with pytest.raises(ConfigError, match=r"^/proc/event: cannot be created, or made its owner's alone: No such file"):
        DataDir(Path("/proc/event")).create()


def test_secrets_are_readable_by_their_owner_only(data_dir: DataDir) -> None:
    old = os.umask(0)
    try:
        seal(FILE, data_dir, NOW_US)
        load_or_create_keys(data_dir)
    finally:
        os.umask(old)
    for path in (data_dir.keys, data_dir.campaign, data_dir.amounts):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(data_dir.root.stat().st_mode) == 0o700
    assert sorted(path.name for path in data_dir.root.iterdir()) == ["amounts.i64", "campaign.json", "keys.json"]


def test_keys_are_made_once_and_differ_between_events_and_uses(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        directory = DataDir(tmp_path / name)
        directory.create()
        keys = load_or_create_keys(directory)
        assert load_or_create_keys(directory) == keys == load_keys(directory)
        found += [keys.tickets.keys["k1"], keys.receipts.keys["k1"]]
    assert len(set(found)) == 4


def test_who_makes_the_keys_second_gets_those_of_the_first(data_dir: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve` and `ticket` may be started at once: the keys that tickets were signed with must not be replaced."""
    first = load_or_create_keys(data_dir)
    unseen = iter([False])
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: next(unseen, None) is not False and exists(path))
    assert load_or_create_keys(data_dir) == first
    assert load_keys(data_dir) == first


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"tickets":{"current":"k1","keys":{}},"receipts":{"current":"k1","keys":{}}}',
        b'{"tickets":{"current":"k1","keys":{"k1":"c2hvcnQ="}},"receipts":{"current":"k1","keys":{"k1":"c2hvcnQ="}}}',
        b'{"tickets":{"current":"k1","keys":{"k1":"%%%"}},"receipts":{"current":"k1","keys":{"k1":"%%%"}}}',
        b'{"tickets":{"current":"a.b","keys":{"a.b":"dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHQ="}},'
        b'"receipts":{"current":"a.b","keys":{"a.b":"dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHQ="}}}',
    ],
)
def test_a_file_that_holds_no_keys_is_refused(data_dir: DataDir, content: bytes) -> None:
    data_dir.keys.write_bytes(content)
    with pytest.raises(ConfigError, match=r"keys\.json: is not a file of keys"):
        load_keys(data_dir)
