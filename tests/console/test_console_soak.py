"""Twenty people who look, come and go, and a loop over every page: the console's memory stays where it was."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from redrush.api.accounts import Accounts, Role
from redrush.control.data_dir import DataDir
from redrush.processes.loopback import free_port
from tests.console.console_world import BASE, OURS, PASSWORD, QUICK, served

PEOPLE: Final = 20
RUN_S: Final = int(os.environ.get("REDRUSH_CONSOLE_SOAK_S", "120"))
"""How long they look. An hour of it is the same a hundred times over: REDRUSH_CONSOLE_SOAK_S=3600."""
RSS_MAX_MIB: Final = 150
GROWTH_MAX_MIB: Final = 8
PAGES: Final = (
    "/",
    "/campaigns",
    "/steer",
    "/notice",
    "/waiting",
    "/grants",
    "/payouts",
    "/audit",
    "/proof",
    "/reports",
    "/ledger",
    "/fleet",
    "/me",
)


def rss_mib(pid: int) -> float:
    """Return what a process has in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@contextlib.contextmanager
def console_of(directory: Path, port: int) -> Iterator[int]:
    """Run a console as a process; yield its id."""
    command = [sys.executable, "-m", "redrush", "console", "--data", str(directory), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)


async def look_for_a_while(url: str, cookies: httpx.Cookies, until_s: float, number: int) -> int:
    """Look at the stream for some seconds, again and again; return how many snapshots came."""
    came = 0
    async with httpx.AsyncClient(base_url=url, cookies=cookies, headers=OURS, timeout=30) as client:
        while time.monotonic() < until_s:
            leave_s = time.monotonic() + 3 + number % 5
            async with client.stream("GET", "/api/v1/live/stream") as answer:
                assert answer.status_code == 200
                async for line in answer.aiter_lines():
                    came += line.startswith("data:")
                    if time.monotonic() > leave_s:
                        break
    return came


async def read_every_page(url: str, cookies: httpx.Cookies, until_s: float) -> int:
    asked = 0
    async with httpx.AsyncClient(base_url=url, cookies=cookies, headers=OURS, timeout=30) as client:
        while time.monotonic() < until_s:
            for page in PAGES:
                assert (await client.get(page)).status_code == 200
                asked += 1
    return asked


@pytest.mark.soak
async def test_twenty_who_look_and_a_loop_over_every_page_grow_nothing(tmp_path: Path) -> None:
    async with served(tmp_path):
        Accounts(DataDir(tmp_path).accounts).add("root", Role.ADMIN, QUICK.hash(PASSWORD), 0)
        port = free_port()
        url = BASE.replace("8090", str(port))
        with console_of(tmp_path, port) as pid:
            async with httpx.AsyncClient(base_url=url, headers=OURS, timeout=30) as client:
                answer = await client.post("/api/v1/session", json={"name": "root", "password": PASSWORD})
                assert answer.status_code == 200
                cookies = client.cookies
            began_s = time.monotonic()
            until_s = began_s + RUN_S
            people = [look_for_a_while(url, cookies, until_s, number) for number in range(PEOPLE)]
            work = asyncio.gather(read_every_page(url, cookies, until_s), *people)
            await asyncio.sleep(RUN_S / 3)
            settled_mib = rss_mib(pid)
            asked, *came = await work
            ended_mib = rss_mib(pid)
        sys.stdout.write(
            f"{PEOPLE} streams for {RUN_S} s: {sum(came)} snapshots, {asked} pages; RSS {settled_mib:.0f} MiB after a "
            f"third, {ended_mib:.0f} MiB at the end\n"
        )
        assert min(came) > RUN_S / 4, "everybody saw it go on"
        assert ended_mib < RSS_MAX_MIB
        assert ended_mib - settled_mib < GROWTH_MAX_MIB
