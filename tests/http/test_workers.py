"""Workers are real processes on one port: they come back when killed and end with their parent."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import urlopen

import pytest

from redrush.processes.loopback import free_port


class Parent:
    """The parent process; what its workers print comes line by line."""

    def __init__(self, port: int, count: int, mode: str) -> None:
        self.port = port
        command = [sys.executable, "-m", "tests.http.worker_server", str(port), str(count), mode]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self._lines = self.process.stdout

    def told(self, word: str) -> list[int]:
        """Return the numbers of the next line, which begins with this word; fails the test if the lines end."""
        line = self._lines.readline().split()
        assert line, "the parent has ended"
        assert line[0] == word
        return [int(number) for number in line[1:]]

    def rest(self) -> list[str]:
        """Return what is still said, once every process is gone: until then somebody holds the other end."""
        return self._lines.read().splitlines()

    def answering(self) -> int:
        with urlopen(f"http://127.0.0.1:{self.port}/pid", timeout=10) as answer:
            pid: int = json.load(answer)["pid"]
            return pid


@contextmanager
def parent(count: int, mode: str = "serves") -> Iterator[Parent]:
    started = Parent(free_port(), count, mode)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()  # which ends when every worker has ended


def test_workers_share_a_port() -> None:
    with parent(2) as running:
        pids = {running.told("worker")[0] for _ in range(2)}
        assert len(pids) == 2
        seen: set[int] = set()
        while seen != pids:  # the kernel spreads connections by hash
            seen.add(running.answering())


def test_a_worker_that_was_killed_is_started_anew_while_the_others_serve() -> None:
    with parent(2) as running:
        pids = {running.told("worker")[0] for _ in range(2)}
        killed = pids.pop()
        os.kill(killed, signal.SIGKILL)
        assert running.told("died")[1] == -signal.SIGKILL
        assert running.answering() in pids
        (anew,) = running.told("worker")
        assert anew not in {killed, *pids}


def test_a_stop_is_handed_on_and_waited_for() -> None:
    with parent(3) as running:
        pids = {running.told("worker")[0] for _ in range(3)}
        running.process.send_signal(signal.SIGTERM)
        assert {running.told("stopped")[0] for _ in range(3)} == pids
        assert running.process.wait(10) == 0
        assert running.rest() == []


def test_workers_end_with_a_parent_that_was_killed() -> None:
    with parent(2) as running:
        for _ in range(2):
            running.told("worker")
        running.process.kill()
        assert {line.split()[0] for line in running.rest()} == {"stopped"}


def test_a_configuration_that_is_wrong_ends_everybody() -> None:
    with parent(2, "misconfigured") as running:
        assert "redrush: the port is not a port" in running.process.communicate(timeout=30)[1]
        assert running.process.returncode == 2


def test_workers_that_die_at_once_are_started_ever_more_slowly() -> None:
    with parent(1, "dies") as running:
        began = 0
        while began < 4:
            running.told("began")
            running.told("died")
            began += 1
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == 0


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_right_after_the_start_reaches_every_worker(stop_signal: signal.Signals) -> None:
    with parent(4) as running:
        running.told("worker")  # the others may be anywhere between fork and loop
        running.process.send_signal(stop_signal)
        assert running.process.wait(20) == 0
