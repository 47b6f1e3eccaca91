"""The audit log is the state: what was acknowledged is there after any end, and what was not never took effect."""

import errno
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from redrush.control.orders import ApplyPlaybook, Given, ReleaseSwitch, SetSwitch
from redrush.control.plans import Plans
from redrush.control.switch_log import SwitchLog, SwitchLogFailed, SwitchLogInUse, accept, entries_of
from redrush.control.switch_mark import mark_of
from redrush.control.switchboard import Switchboard
from redrush.core.rush.campaign import Campaign
from redrush.core.steering.switch_layers import Applied, Change, SetByHand
from redrush.core.steering.switches import Playbook, WrongSetting
from redrush.errors import ConfigError

CAMPAIGN = Campaign(id="c", name="n", currency="CNY", rounds=())
PLANS = Plans((Playbook(name="calm", description="", settings={"sampling.non_core": 0.0}),))
NOW_US = 1_800_000_000_000_000
SHARE = "sampling.non_core"


def board_on(log: SwitchLog) -> Switchboard:
    return Switchboard(log, PLANS, CAMPAIGN, lambda: NOW_US)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "switches.jsonl"


@contextmanager
def opened(path: Path) -> Iterator[SwitchLog]:
    log = SwitchLog.open(path)
    try:
        yield log
    finally:
        log.close()


async def test_every_line_says_who_did_what_when_why_and_what_that_changed(path: Path) -> None:
    with opened(path) as log:
        board = board_on(log)
        await board.change(SetSwitch(SHARE, "0.5", "too many queries"), Given("ann"))
        await board.change(ApplyPlaybook("calm", "a line\nthat is none" + 1_000 * "!"), Given("bob"))
    first, second = entries_of(path)
    assert (first.version, first.at, first.who, first.why) == (
        1,
        "2027-01-15T08:00:00.000000Z",
        "ann",
        "too many queries",
    )
    assert (first.what, first.changes) == (SetByHand(SHARE, 0.5), (Change(SHARE, 1.0, 0.5),))
    assert (second.version, second.who, second.what) == (2, "bob", Applied("calm", {SHARE: 0.0}))
    assert (second.why[:20], len(second.why)) == ("a line?that is none!", 500)
    assert entries_of(path, last=1) == [second]


async def test_what_was_set_holds_after_a_restart(path: Path) -> None:
    with opened(path) as log:
        await board_on(log).change(SetSwitch(SHARE, 0.5, ""), Given("ann"))
    with opened(path) as log:
        board = board_on(log)
        assert board.snapshot.number(SHARE) == 0.5
        await board.change(ReleaseSwitch(SHARE, ""), Given("bob"))
        assert board.snapshot.number(SHARE) == 1.0
        assert board.snapshot.version == 2


async def test_a_line_that_a_crash_has_cut_never_took_effect(path: Path) -> None:
    with opened(path) as log:
        board = board_on(log)
        await board.change(SetSwitch(SHARE, 0.5, ""), Given("ann"))
        mark = mark_of(path).read_bytes()
        await board.change(SetSwitch("answer_ended", True, ""), Given("ann"))
    whole = path.read_bytes()
    first_bytes = whole.index(b"\n") + 1
    for cut in range(first_bytes, len(whole)):
        path.write_bytes(whole[:cut])
        mark_of(path).write_bytes(mark)  # it follows a line that is whole
        with opened(path) as log:
            board = board_on(log)
            assert (board.snapshot.version, board.snapshot.number(SHARE)) == (1, 0.5)
            assert not board.snapshot.flag("answer_ended")
        assert path.read_bytes() == whole[:first_bytes]


@pytest.mark.parametrize("broken", [b"nonsense\n", b"{}\n", b'{"version":1}\n', b"\n"])
async def test_any_other_damage_is_for_a_person_to_look_at(path: Path, broken: bytes) -> None:
    with opened(path) as log:
        await board_on(log).change(SetSwitch(SHARE, 0.5, ""), Given("ann"))
    path.write_bytes(path.read_bytes() + broken)
    for read in (SwitchLog.open, entries_of):
        with pytest.raises(ConfigError, match=r"switches\.jsonl:2: is no entry of a switch log"):
            read(path)


async def test_a_missing_line_is_noticed(path: Path) -> None:
    with opened(path) as log:
        board = board_on(log)
        for value in (0.5, 0.6, 0.7):
            await board.change(SetSwitch(SHARE, value, ""), Given("ann"))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(ConfigError, match="has version 3, a line is missing or was added"):
        SwitchLog.open(path)


async def _switched(path: Path, *values: float) -> None:
    with opened(path) as log:
        for value in values:
            await board_on(log).change(SetSwitch(SHARE, value, ""), Given("ann"))


@pytest.mark.parametrize(
    ("damage", "changes"),
    [
        (lambda path, _older: path.unlink(), 0),
        (lambda path, _older: path.write_bytes(b""), 0),
        (lambda path, older: path.write_bytes(older), 2),
        (lambda path, _older: path.write_bytes(path.read_bytes()[:-5]), 3),
        (lambda path, _older: path.write_bytes(path.read_bytes().replace(b"0.8", b"0.9")), 4),
        (lambda path, _older: path.write_bytes(path.read_bytes().replace(b'"version":3', b'"version":x')), 2),
    ],
    ids=["lost", "emptied", "older", "cut", "changed", "no-entry"],
)
async def test_a_log_that_is_not_what_was_switched_is_refused_until_somebody_accepts_it(
    path: Path, damage: Callable[[Path, bytes], object], changes: int
) -> None:
    await _switched(path, 0.5, 0.6)
    older = path.read_bytes()
    await _switched(path, 0.7, 0.8)
    damage(path, older)
    damaged = path.read_bytes() if path.exists() else b""
    for _ in range(2):
        with pytest.raises(ConfigError, match=rf"`redrush switch accept --data {path.parent} --why …`"):
            SwitchLog.open(path)
    accepted = accept(path)
    assert accepted.changes == changes
    whole = damaged if accepted.old is None else Path(accepted.old).read_bytes()
    assert whole == damaged, "nothing of it is thrown away"
    await _switched(path, 0.4)
    assert [entry.version for entry in entries_of(path)] == list(range(1, changes + 2))


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"mark":{"version":9,"bytes":0,"digest":""},"digest":"x"}'])
async def test_a_mark_that_is_lost_or_damaged_says_nothing_and_is_made_anew(path: Path, content: bytes | None) -> None:
    await _switched(path, 0.5, 0.6)
    whole = mark_of(path).read_bytes()
    mark_of(path).unlink()
    if content is not None:
        mark_of(path).write_bytes(content)
    SwitchLog.open(path).close()
    assert mark_of(path).read_bytes() == whole


async def test_a_mark_that_the_disk_refuses_takes_the_change_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await _switched(path, 0.5)
    replace = Path.replace

    def full_disk(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    with opened(path) as log:
        monkeypatch.setattr(Path, "replace", full_disk)
        with pytest.raises(SwitchLogFailed, match="nothing was switched"):
            await board_on(log).change(SetSwitch(SHARE, 0.6, ""), Given("ann"))
        monkeypatch.setattr(Path, "replace", replace)
        assert [entry.version for entry in entries_of(path)] == [1]
        await board_on(log).change(SetSwitch(SHARE, 0.7, ""), Given("ann"))
    await _switched(path, 0.8)
    assert [entry.version for entry in entries_of(path)] == [1, 2, 3]


def test_one_process_has_the_log(path: Path) -> None:
    with opened(path), pytest.raises(SwitchLogInUse, match="ask its control port"):
        SwitchLog.open(path)
    SwitchLog.open(path).close()


async def test_nothing_is_switched_that_the_disk_refuses_and_the_next_change_goes_on(path: Path) -> None:
    with opened(path) as log:
        board = board_on(log)
        seen: list[float | None] = []
        board.follow(lambda snapshot: seen.append(snapshot.number(SHARE)))
        await board.change(SetSwitch(SHARE, 0.5, ""), Given("ann"))
        whole = path.read_bytes()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        for room_bytes in (0, 20):  # nothing of the line fits, or a piece of it
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + room_bytes, hard))
            try:
                with pytest.raises(SwitchLogFailed, match="nothing was switched"):
                    await board.change(SetSwitch(SHARE, 0.1, ""), Given("ann"))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert path.read_bytes() == whole
        await board.change(SetSwitch(SHARE, 0.2, ""), Given("ann"))
    assert seen == [1.0, 0.5, 0.2]
    assert [entry.version for entry in entries_of(path)] == [1, 2]


async def test_what_cannot_be_is_refused_and_leaves_no_line(path: Path) -> None:
    with opened(path) as log:
        board = board_on(log)
        for refused in (
            board.change(SetSwitch("nothing", 1, ""), Given("ann")),
            board.change(SetSwitch(SHARE, 2, ""), Given("ann")),
            board.change(ApplyPlaybook("storm", ""), Given("ann")),
        ):
            with pytest.raises(WrongSetting):
                await refused
    assert path.read_bytes() == b""
