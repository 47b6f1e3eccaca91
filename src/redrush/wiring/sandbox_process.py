"""`redrush sandbox` as a process: its bank's book, its port, its end."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import uvloop

from redrush.http.ending import when_told_to_stop
from redrush.http.sockets import Reserved
from redrush.providers.sandbox.bank import Bank, BankTerms
from redrush.sandbox.server import Sandbox
from redrush.wiring.clock import system_clock


class SandboxOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a sandbox is run; see `redrush.sandbox.server.Sandbox`."""

    host: str
    port: int
    seed: int
    book: Path | None
    notify: str | None
    hour_s: float
    calls_per_s_max: float | None
    terms: BankTerms
    faults: dict[str, float]


def bank_terms(*, currency: str, min_minor: int, confirms: bool, confirm_within_s: float) -> BankTerms:
    """Return how the bank does business."""
    return BankTerms(
        currency=currency, min_minor=min_minor, confirms=confirms, confirm_within_us=int(confirm_within_s * 1e6)
    )


def run_sandbox(options: SandboxOptions, announce: Callable[[int], None]) -> None:
    """Run it until SIGTERM; `announce` gets the port once it answers. Raises ConfigError, ValueError for a fault that
    is none."""

    async def main() -> None:
        stopping = asyncio.Event()
        when_told_to_stop(stopping.set)
        reserved = Reserved.at(options.host, options.port)
        bank = Bank(options.book, options.terms)
        sandbox = Sandbox(
            bank,
            system_clock().now_us,
            seed=options.seed,
            notify=options.notify,
            hour_s=options.hour_s,
            calls_per_s_max=options.calls_per_s_max,
            shop_book=None if options.book is None else options.book.with_name(f"{options.book.name}.shop"),
        )
        sandbox.faults.set(options.faults)
        announce(await sandbox.serve(reserved))
        await stopping.wait()
        await sandbox.stop()
        bank.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
