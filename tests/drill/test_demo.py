"""The demo's order of things, with a stand-in for redrush that can be told to go wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from redrush.drill.demo import DemoOptions, for_people, on_a_stack, run_demo
from redrush.drill.event_report import EventReport
from redrush.drill.sample_event import EventShape
from redrush.errors import ConfigError
from redrush.processes.failure import ServerFailed
from redrush.processes.server import ServerProcess

STANDIN = (sys.executable, str(Path(__file__).with_name("standin_redrush.py")))
SHAPE = EventShape(
    packets=60, totals=(120, 180), lasts_s=1, every_s=1, release_per_s=(None, None), coming=(1.0, 0.1), skew_s=0.1
)


def options(data_dir: Path, *fault: str, **more: object) -> DemoOptions:
    given = {"data_dir": data_dir, "users": 300, "shape": SHAPE, "lead_s": 2.5, "connections": 20, "pays": False}
    return DemoOptions(**given, **more, redrush=(*STANDIN, *fault))  # type: ignore[arg-type]  # by name, checked at run


def test_an_event_that_goes_right_ends_with_0_and_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(options(tmp_path)) == 0
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=EventReport)
    assert report.holds
    assert (report.granted, report.granted_minor) == (90, 12_000 + 30 * 300)
    assert [(round_.people, round_.granted, round_.left) for round_ in report.rounds] == [(300, 60, 0), (30, 30, 30)]
    assert report.traffic is not None
    assert report.traffic.sent == report.traffic.answered
    printed = capsys.readouterr().out
    assert "90 packets, 210.00 CNY, exact to the cent" in printed
    assert "\x1b" not in printed
    assert "<svg" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("fault", "verdict"), [("loses", "lost"), ("unbalanced", "ledger")])
def test_a_verdict_that_fails_makes_the_demo_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, verdict: str
) -> None:
    assert run_demo(options(tmp_path, "--fault", fault, as_json=True)) == 1
    report = msgspec.json.decode(capsys.readouterr().out, type=EventReport)
    assert [found.name for found in report.verdicts if not found.holds] == [verdict]


@pytest.mark.parametrize("stack", [False, True])
def test_an_event_for_fewer_people_has_as_many_fewer_packets_of_the_same_worth(stack: bool) -> None:
    usual = on_a_stack(DemoOptions()) if stack else DemoOptions()
    small = for_people(usual, 2_000)
    assert small.users == 2_000
    whole = for_people(usual, None)
    share = small.users / whole.users
    assert small.shape.packets == round(whole.shape.packets * share)
    for total, packets in ((shape.totals[0], shape.packets) for shape in (small.shape, whole.shape)):
        assert total / packets == pytest.approx(3.0, rel=0.01)
    comers = min(share_ for share_ in small.shape.coming) * small.users
    assert small.shape.packets < comers


def test_a_server_that_never_gets_ready_is_named_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="ended before it was ready: redrush: port 80 is taken"):
        run_demo(options(tmp_path, "--fault", "dies"))


def test_a_server_that_dies_during_the_event_ends_the_demo(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="during the event: redrush: the disk is full"):
        run_demo(options(tmp_path, "--fault", "dies_later"))


def test_a_directory_that_holds_an_event_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "campaign.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds an event already"):
        run_demo(options(tmp_path))


def test_a_directory_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        run_demo(options(tmp_path / "file" / "below"))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_server_and_the_crowd_too(tmp_path: Path, sent: signal.Signals) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.drill.test_demo import options; "
        "from redrush.drill.demo import run_demo; sys.exit(run_demo(options(Path(sys.argv[1]))))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-u", "-c", program, str(tmp_path)]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=Path(__file__).parents[2])
    assert demo.stdout is not None
    while "requests/s" not in demo.stdout.readline():  # server and crowd are both up, opened or not
        assert demo.poll() is None
    demo.send_signal(sent)
    rest = demo.stdout.read()
    demo.stdout.close()
    assert demo.wait(20) == 130
    assert "interrupted" in rest
    assert processes_with(str(tmp_path)) == []


def processes_with(argument: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if argument.encode() in arguments:
                found.append(int(entry.name))
    return found


def test_a_server_that_hangs_is_ended_after_the_deadline(tmp_path: Path) -> None:
    hanging = ServerProcess([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log")
    with pytest.raises(ServerFailed, match=r"was not ready within 0\.3 s: it said nothing"):
        hanging.start(0.3)
