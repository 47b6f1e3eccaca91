"""Which signals tell a server to end in good order."""

import asyncio
import signal
from collections.abc import Callable


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return them: SIGTERM, SIGINT, and SIGHUP, which a closing terminal sends, unless `nohup` has it ignored."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return signal.SIGTERM, signal.SIGINT
    return signal.SIGTERM, signal.SIGINT, signal.SIGHUP


def when_told_to_stop(stop: Callable[[], None]) -> None:
    """Have the running loop call this when the process gets one of them."""
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, stop)
