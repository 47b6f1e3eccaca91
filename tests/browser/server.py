"""An embedded server whose clock is set by lines on standard input: nanoseconds ahead of the machine's."""

import asyncio
import sys
import time
from pathlib import Path

import uvloop

from redrush.config import load_campaign_file, load_payments_file
from redrush.control.data_dir import DataDir
from redrush.core.rush.phase import SteadyClock
from redrush.wiring.embedded import Embedded, Ports


async def main(file: str, directory: str, port: str, ahead_ns: str, payments: str = "") -> None:
    ahead = [int(ahead_ns)]
    clock = SteadyClock(lambda: time.monotonic_ns() + ahead[0], time.time_ns() // 1_000 + ahead[0] // 1_000)
    ports = Ports("127.0.0.1", int(port), 0)
    campaign, paying = load_campaign_file(Path(file)), load_payments_file(Path(payments)) if payments else None
    embedded = Embedded(campaign, DataDir(Path(directory)), ports, clock=clock, payments=paying)
    bound = await embedded.start()
    print(bound["gate"], flush=True)  # noqa: T201 - whoever started it reads that

    def take_line() -> None:
        if line := sys.stdin.readline():
            ahead[0] = int(line)
            print(line.strip(), flush=True)  # noqa: T201

    asyncio.get_running_loop().add_reader(sys.stdin, take_line)
    await embedded.wait()
    await embedded.stop()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
