"""`redrush sandbox` as a process: its bank's book, its port, its end."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import uvloop

from redrush.http.ending import when_told_to_stop
from redrush.http.sockets import Reserved
from redrush.providers.sandbox.bank import Bank, BankTerms
from redrush.sandbox.server import Sandbox
from redrush.wiring.clock import system_clock
from redrush.wiring.sandbox_faces import face_of, write_payments_file


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
    plays: str | None = None
    """The provider that it plays besides, one of `redrush.wiring.sandbox_faces.FACES`; with the keys of `merchant`."""
    merchant: Path | None = None


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
        now_us = system_clock().now_us
        with closing(Bank(options.book, options.terms)) as bank:
            face = None
            if options.plays is not None and options.merchant is not None:
                face = face_of(options.plays, options.merchant, bank, now_us)
            reserved = Reserved.at(options.host, options.port)
            if options.plays is not None and options.merchant is not None:
                listen = None if options.notify is None else urlsplit(options.notify).netloc
                url = f"http://{options.host}:{reserved.port}"
                write_payments_file(options.plays, options.merchant, url, listen)
            sandbox = Sandbox(
                bank,
                now_us,
                seed=options.seed,
                notify=options.notify,
                hour_s=options.hour_s,
                calls_per_s_max=options.calls_per_s_max,
                shop_book=None if options.book is None else options.book.with_name(f"{options.book.name}.shop"),
                face=face,
            )
            sandbox.faults.set(options.faults)
            announce(await sandbox.serve(reserved))
            await stopping.wait()
            await sandbox.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
