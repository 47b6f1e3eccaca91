"""Missing programs, conditions and cores."""

import os
from pathlib import Path

import pytest

from redrush.drill.bench.conditions import filesystem_of, measure_fsync_us
from redrush.drill.bench.tools import MissingTools, Tool, find_tools
from redrush.errors import ConfigError
from redrush.processes.failure import ProcessFailed
from redrush.processes.pinned import Child, Cores, choose_cores


def test_missing_programs_are_named_with_the_command_that_installs_them(tmp_path: Path) -> None:
    found = find_tools(str(tmp_path), tmp_path)
    with pytest.raises(MissingTools) as caught:
        found.require(frozenset(Tool))
    assert caught.value.exit_code == 1
    assert str(caught.value).endswith("apt-get install -y nginx-light libnginx-mod-http-lua redis-server wrk")


def test_nginx_without_its_lua_module_asks_for_the_module(tmp_path: Path) -> None:
    nginx = tmp_path / "nginx"
    nginx.touch(mode=0o755)
    found = find_tools(str(tmp_path), tmp_path / "no modules")
    found.require(frozenset({Tool.NGINX}))
    with pytest.raises(MissingTools, match="libnginx-mod-http-lua"):
        found.require(frozenset({Tool.NGINX_LUA}))


def test_nothing_is_asked_for_that_no_chosen_measurement_needs(tmp_path: Path) -> None:
    find_tools(str(tmp_path), tmp_path).require(frozenset())


def test_two_cores_are_needed() -> None:
    assert choose_cores({3, 1, 2}) == Cores(server=1, load=2)
    with pytest.raises(ConfigError, match="two CPU cores"):
        choose_cores({0})


@pytest.mark.parametrize(
    ("directory", "expected"),
    [("/", "ext4"), ("/var/tmp", "ext4"), ("/tmp/x", "tmpfs"), ("/mnt/a disk/y", "xfs")],
)
def test_the_file_system_is_that_of_the_deepest_mount(tmp_path: Path, directory: str, expected: str) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/a / ext4 rw 0 0\nnone /tmp tmpfs rw 0 0\n/dev/b /mnt/a\\040disk xfs rw 0 0\n")
    assert filesystem_of(Path(directory), mounts) == expected


def test_an_fsync_is_measured_and_leaves_nothing_behind(tmp_path: Path) -> None:
    assert measure_fsync_us(tmp_path) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_child_runs_on_its_core_and_its_cpu_time_is_seen(tmp_path: Path) -> None:
    cores = choose_cores()
    with Child(["sh", "-c", "echo up; while :; do :; done"], cores.load, log=tmp_path / "log") as child:
        child.wait_for_line("up")
        assert os.sched_getaffinity(child.pid) == {cores.load}
        before = child.cpu_ns()
        while child.cpu_ns() == before:
            pass
        assert child.memory().rss_kib > 0
    assert child.process.returncode is not None


def test_a_child_that_ends_before_its_line_says_its_last_words(tmp_path: Path) -> None:
    child = Child(["sh", "-c", "echo no such campaign >&2; exit 2"], choose_cores().load, log=tmp_path / "log")
    with (
        child,
        pytest.raises(ProcessFailed, match='ended with 2 before it printed "ready": it said "no such campaign"'),
    ):
        child.wait_for_line("ready")
