"""What operators do about money in and out: `redrush sandbox`, `redrush payout …`, `redrush bills …`."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def sandbox(  # noqa: PLR0913, PLR0917 - options of one command
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where it answers; 0: any free port.")],
    seed: Annotated[int, typer.Option(help="Which faults happen when; the same seed, the same faults.")] = 0,
    host: Annotated[str, typer.Option(help="Address that it answers at.")] = "127.0.0.1",
    book: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where it keeps its book; else it is gone with the process.")
    ] = None,
    notify: Annotated[
        str | None, typer.Option(metavar="URL", help="Where its notices go: http://127.0.0.1:9105/notices/sandbox")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHARE", help="How often what goes wrong, from 0 to 1; GET /faults lists the names."),
    ] = None,
    confirms: Annotated[bool, typer.Option("--confirms", help="Receivers have to confirm what they are sent.")] = False,
    confirm_within: Annotated[float, typer.Option(help="Seconds that they have for it.")] = 86_400.0,
    currency: Annotated[str, typer.Option(help="The one currency of its accounts.")] = "CNY",
    smallest: Annotated[int, typer.Option(min=1, help="The smallest amount, in minor units.")] = 1,
    hour: Annotated[float, typer.Option(help="Seconds that an hour of its delays lasts.")] = 3_600.0,
    calls_per_second: Annotated[float | None, typer.Option(help="Calls it answers a second; 429 beyond.")] = None,
) -> None:
    """Play a payment provider and its users' wallets over HTTP, with faults on request. No money moves."""
    from redrush.errors import ConfigError
    from redrush.wiring.sandbox_process import SandboxOptions, bank_terms, run_sandbox

    def announce(bound: int) -> None:
        sys.stderr.write(f"sandbox http://{host}:{bound}\n")
        sys.stderr.flush()
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    try:
        shares = {name: float(share) for name, _, share in (one.partition("=") for one in fault or [])}
        options = SandboxOptions(
            host=host, port=port, seed=seed, book=book, notify=notify, hour_s=hour,
            calls_per_s_max=calls_per_second, faults=shares,
            terms=bank_terms(
                currency=currency, min_minor=smallest, confirms=confirms, confirm_within_s=confirm_within
            ),
        )  # fmt: skip
        run_sandbox(options, announce)
    except ValueError as wrong:
        raise ConfigError(f"--fault: {wrong}") from None


def add_to(app: typer.Typer) -> None:
    """Give the command line these commands."""
    app.command()(sandbox)
