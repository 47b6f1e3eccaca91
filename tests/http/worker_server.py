"""A parent with workers, for `test_workers`: `python -m tests.http.worker_server PORT COUNT MODE`.

Each worker serves on the shared port which process it is; the parent prints the process id of each that is ready.
"""

import asyncio
import os
import signal
import sys

from redrush.errors import ConfigError
from redrush.gate.views import Computed
from redrush.http import answers
from redrush.http.reader import Limits
from redrush.http.server import Server
from redrush.http.site import Site
from redrush.http.workers import run_workers


def _say(word: str, *numbers: int) -> None:
    """Tell the test, in one write: the processes share their standard output."""
    os.write(1, " ".join([word, *map(str, numbers), "\n"]).encode())


async def _serve(port: int) -> None:
    site = Site(Limits(), None, lambda: 1_800_000_000_000_000)
    site.add(b"GET", b"/pid", Computed(lambda: answers.json_answer({"pid": os.getpid()})), needs_ticket=False)
    server = Server([])
    await server.listen(site, "127.0.0.1", port, reuse_port=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    _say("worker", os.getpid())
    await stopped.wait()
    await server.stop()
    _say("stopped", os.getpid())


def main() -> int:
    port, count, mode = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

    def work(number: int) -> None:
        if mode == "misconfigured" and number == 1:
            raise ConfigError("the port is not a port")
        if mode == "dies":
            _say("began", os.getpid())
            os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(_serve(port))

    return run_workers(count, work, died=lambda number, status: _say("died", number, status))


if __name__ == "__main__":
    sys.exit(main())
