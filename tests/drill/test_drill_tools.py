"""What drills are made of, on real sockets and processes: slow clients, a paced store, a watch, a core of one's own."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from redrush.core.rush.campaign import Slots
from redrush.drill.cores import confined_to, share_cores
from redrush.drill.cpu_share import CpuShare, find_groups
from redrush.drill.paced_server import FOLLOWS_WITHIN_S, PacedStore
from redrush.drill.server_watch import ServerWatch, resident_bytes
from redrush.drill.slow_crowd import ASKED_AT_ONCE, SlowCrowd, SlowNews, SlowPlan
from redrush.ports.store import PotTerms, claims_of


class Listener:
    """A server that keeps what each client sent, says nothing, and can cut everybody off."""

    def __init__(self) -> None:
        self.heard: dict[asyncio.Transport, bytes] = {}
        self.made = 0
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> "Listener":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(lambda: _Listening(self), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
        self._cut()

    def cut_all(self) -> None:
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for transport in tuple(self.heard):
            transport.abort()


class _Listening(asyncio.Protocol):
    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._listener.heard[transport] = b""
        self._listener.made += 1

    def data_received(self, data: bytes) -> None:
        self._listener.heard[self._transport] += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.heard.pop(self._transport)


def until(holds: Callable[[], bool], deadline_s: float = 20.0) -> None:
    ends_s = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < ends_s, "it never came to be"
        time.sleep(0.01)


def test_slow_clients_come_drip_come_again_and_go() -> None:
    with Listener() as listener:
        plan = SlowPlan(host="127.0.0.1", port=listener.port, round="r1", ticket="TICKET", clients=30)
        with SlowCrowd(plan, None) as slow:

            def news(holds: Callable[[SlowNews], bool]) -> None:
                until(lambda: holds(slow.listen()))

            slow.be(True)
            news(lambda now: now.connected == 30)
            until(lambda: sum(sent.endswith(b"xx") for sent in listener.heard.values()) == 20)
            sent = list(listener.heard.values())
            assert sum(b"X-Slow: xx" in one and b"\r\n\r\n" not in one for one in sent) == 10
            assert sum(b"Content-Length: 4000\r\n\r\nxx" in one for one in sent) == 10
            assert sum(one.count(b"GET /v1/policy") == ASKED_AT_ONCE for one in sent) == 10
            listener.cut_all()
            news(lambda now: now.made >= 60 and now.connected == 30)
            assert slow.news.cut == 30
            slow.be(False)
            news(lambda now: now.connected == 0)
            until(lambda: not listener.heard)
            assert listener.made == 60


def test_slow_clients_end_with_whoever_made_them() -> None:
    with Listener() as listener:
        plan = SlowPlan(host="127.0.0.1", port=listener.port, round="r1", ticket="TICKET", clients=3)
        with SlowCrowd(plan, None) as slow:
            slow.be(True)
            until(lambda: slow.listen().connected == 3)
        until(lambda: not listener.heard)


async def test_a_paced_store_serves_no_faster_than_its_pace_whatever_the_batches(tmp_path: Path) -> None:
    store = await PacedStore.open_paced(tmp_path / "journal", 200.0)
    await store.open([PotTerms("r1", Slots(0, 100))])
    begun_s = time.monotonic()
    for batch in range(3):
        results = await store.claim(claims_of("r1", [f"u{batch}-{k}" for k in range(20)]), at_us=1)
        assert len(results) == 20
    assert time.monotonic() - begun_s >= 60 / 200 - 3 * FOLLOWS_WITHIN_S - 0.002
    await store.close()


async def test_a_claim_that_comes_alone_takes_its_whole_time_of_a_paced_store(tmp_path: Path) -> None:
    store = await PacedStore.open_paced(tmp_path / "journal", 50.0)
    await store.open([PotTerms("r1", Slots(0, 100))])
    for user in "abc":
        begun_s = time.monotonic()
        await store.claim(claims_of("r1", [user]), at_us=1)
        assert time.monotonic() - begun_s >= 1 / 50 - 0.001
        await asyncio.sleep(2 * FOLLOWS_WITHIN_S)
    await store.close()


def test_a_watch_sees_the_memory_of_a_process_and_minds_no_silent_control_port() -> None:
    watch = ServerWatch(os.getpid(), "http://127.0.0.1:1", time.time())
    watch.look()
    watch.look()  # too soon
    (sample,) = watch.samples
    assert sample.resident_bytes > 1_000_000
    assert sample.metrics == {}
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    with pytest.raises(OSError):  # noqa: PT011 - whichever of them: the process is gone
        resident_bytes(ended.pid)


def test_a_child_has_the_core_that_it_was_confined_to_and_we_keep_ours() -> None:
    ours = os.sched_getaffinity(0)
    core = max(ours)
    with confined_to(core):
        told = subprocess.check_output([sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"])
    assert told.split() == [str(core).encode()]
    assert os.sched_getaffinity(0) == ours
    cores = share_cores()
    assert (cores.server is None) == (len(ours) < 2)
    assert cores.server != cores.crowd or cores.server is None


@pytest.mark.parametrize(
    ("own", "files", "version"),
    [
        ("3:cpu:/a\n0::/\n", ["cpu/a/cpu.cfs_quota_us"], 1),
        ("0::/user/app.scope\n", ["user/app.scope/cgroup.subtree_control", "user/cgroup.subtree_control=cpu io"], 2),
        ("0::/\n", ["cgroup.subtree_control=cpu memory"], 2),
        ("0::/\n", ["cgroup.subtree_control=memory"], None),
        ("3:cpu:/gone\n0::/\n", [], None),
    ],
)
def test_groups_that_share_out_cpu_time_are_found_where_there_are_any(
    tmp_path: Path, own: str, files: list[str], version: int | None
) -> None:
    (tmp_path / "own").write_text(own)
    for file in files:
        name, _, content = file.partition("=")
        path = tmp_path / "mounts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    found = find_groups(tmp_path / "own", tmp_path / "mounts")
    assert (None if found is None else found.version) == version
    assert find_groups(tmp_path / "missing", tmp_path / "mounts") is None


@pytest.mark.soak  # it needs a control group of its own, which root has, and not in every container
def test_a_process_with_a_share_of_a_core_gets_no_more_and_its_group_goes_with_it() -> None:
    groups = find_groups()
    assert groups is not None, "run this as root, or in a delegated control group: it makes one"
    burn = "import time\ninput()\nends = time.process_time() + 0.1\nwhile time.process_time() < ends: pass"
    with (
        CpuShare(groups, 0.2) as share,
        subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE) as child,
    ):
        share.take(child.pid)
        begun_s = time.monotonic()
        child.communicate(b"\n", timeout=30)
        assert time.monotonic() - begun_s >= 0.4
    assert not (groups.parent / f"redrush-drill-{os.getpid()}").exists()
