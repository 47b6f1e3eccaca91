"""What operators do about money in and out: `redrush sandbox`, `redrush payout …`, `redrush bills …`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from redrush.cli.at_console import add_console_to, console_meant
from redrush.cli.declaring import Argument, Group, Option
from redrush.cli.shared_options import JsonOption, SumOption, WhyOption, seen_of, show
from redrush.core.identity.user_ids import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redrush.operate.at_console import AtConsole
    from redrush.operate.paying import Books, Shown
    from redrush.ports.bill_book import BillBook, BillState, KeptBill

    Order = Callable[[BillBook, KeptBill, int], KeptBill]


def sandbox(  # noqa: PLR0913, PLR0917 - options of one command
    port: Annotated[int, Option(bounds=(0, 65535), help="Where it answers; 0: any free port.")],
    seed: Annotated[int, Option(help="Which faults happen when; the same seed, the same faults.")] = 0,
    host: Annotated[str, Option(help="Address that it answers at.")] = "127.0.0.1",
    book: Annotated[
        Path | None, Option(metavar="FILE", help="Where it keeps its book; else it is gone with the process.")
    ] = None,
    notify: Annotated[
        str | None, Option(metavar="URL", help="Where its notices go: http://127.0.0.1:9105/notices/sandbox")
    ] = None,
    fault: Annotated[
        list[str] | None,
        Option(metavar="NAME=SHARE", help="How often what goes wrong, from 0 to 1; GET /faults lists the names."),
    ] = None,
    confirms: Annotated[bool, Option("--confirms", help="Receivers have to confirm what they are sent.")] = False,
    confirm_within: Annotated[float, Option(help="Seconds that they have for it.")] = 86_400.0,
    currency: Annotated[str, Option(help="The one currency of its accounts.")] = "CNY",
    smallest: Annotated[int, Option(bounds=(1, None), help="The smallest amount, in minor units.")] = 1,
    hour: Annotated[float, Option(help="Seconds that an hour of its delays lasts.")] = 3_600.0,
    calls_per_second: Annotated[float | None, Option(help="Calls it answers a second; 429 beyond.")] = None,
    plays: Annotated[
        str | None,
        Option("--as", metavar="NAME", help="Speak as wechat, alipay or stripe, with --merchant."),
    ] = None,
    merchant: Annotated[
        Path | None,
        Option(metavar="DIR", help="Keys of both sides and a payments.toml that fits; made at the first start."),
    ] = None,
) -> None:
    """Play a payment provider and its users' wallets over HTTP, with faults on request. No money moves."""
    from redrush.errors import ConfigError
    from redrush.wiring.sandbox_process import SandboxOptions, bank_terms, run_sandbox

    def announce(bound: int) -> None:
        sys.stderr.write(f"sandbox http://{host}:{bound}\n")
        sys.stderr.flush()
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    if (plays is None) != (merchant is None):
        raise ConfigError("--as goes with --merchant: the directory where keys and payments.toml are, or will be")
    try:
        shares = {name: float(share) for name, _, share in (one.partition("=") for one in fault or [])}
        options = SandboxOptions(
            host=host, port=port, seed=seed, book=book, notify=notify, hour_s=hour,
            calls_per_s_max=calls_per_second, faults=shares, plays=plays, merchant=merchant,
            terms=bank_terms(
                currency=currency, min_minor=smallest, confirms=confirms, confirm_within_s=confirm_within
            ),
        )  # fmt: skip
        run_sandbox(options, announce)
    except ValueError as wrong:
        raise ConfigError(f"--fault: {wrong}") from None


payout_app = Group(help="What winners are paid: look, try again, hold, release.")
add_console_to(payout_app)
bills_app = Group(help="Our bills and the provider's.")

BookOption = Annotated[Path | None, Option("--data", metavar="DIR", help="Data directory of the event, or of a stack.")]
DeployOption = Annotated[
    Path | None, Option("--deploy", metavar="FILE", help="Deployment file: its book is in the database.")
]
PaymentsOption = Annotated[Path, Option("--payments", metavar="FILE", help="Payments file (TOML).")]
NumbersArgument = Annotated[list[str] | None, Argument(metavar="NUMBER…", help="Numbers of payouts.")]


@payout_app.command("list")
def list_(
    data: BookOption = None,
    deploy: DeployOption = None,
    state: Annotated[
        list[str] | None,
        Option("--state", help="Only those: new, asked, pending, held, done, failed …"),
    ] = None,
    user: Annotated[str | None, Option(help="Only this user's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell of each payout: whose, how much, and where it is."""
    import msgspec

    from redrush.operate.paying import Shown, book_of, payouts

    states = _states(state or [])
    if (at := console_meant(data, deploy)) is not None:
        from redrush.operate.at_console import payouts as payouts_there

        shown = msgspec.convert(list(payouts_there(at, states, user)), list[Shown])
    else:
        with book_of(_books(data, deploy)) as book:
            shown = [Shown.of(bill) for bill in payouts(book, states, user)]
    lines = [
        visible(f"{one.number}  {one.state:<10} {one.amount:>12} {one.currency}  {one.user}  {one.detail}".rstrip())
        for one in shown
    ]
    _show_all("payouts", shown, lines or ["there is no such payout"], as_json=as_json)


@payout_app.command()
def make(  # noqa: PLR0913, PLR0917 - options of one command
    payments: PaymentsOption,
    data: BookOption = None,
    deploy: DeployOption = None,
    provider: Annotated[str | None, Option(help="Who pays; by default the one of [payout].")] = None,
    user: Annotated[list[str] | None, Option("--user", help="Only these users.")] = None,
    yes: Annotated[
        int | None, Option("--yes", metavar="N", help="Make them, if they are still N; else only tell.")
    ] = None,
    sum_: SumOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find everything that was won and is not paid, and pay it. The same order again pays nothing twice."""
    from redrush.config import load_payments_file
    from redrush.core.money.currency import format_amount
    from redrush.operate.paying import book_of
    from redrush.operate.paying_out import make_payouts, plan_payouts

    books = _books(data, deploy)
    seen = seen_of(books, yes, sum_)
    with book_of(books) as book:
        plan = plan_payouts(books, book, load_payments_file(payments), provider, user or [])
        if seen is not None:
            seen.check("payouts to be made", len(plan.payouts), plan.total_minor, plan.currency)
        made = 0 if seen is None else make_payouts(book, plan)
    total = format_amount(plan.total_minor, plan.currency)
    what = f"{len(plan.payouts):,} payouts would be made" if seen is None else f"{made:,} payouts are made"
    lines = [f"{what}: {total} {plan.currency} by {plan.provider}"]
    if seen is None and plan.payouts:
        lines.append(f"--yes {len(plan.payouts)} --sum {total} makes them")
    if plan.too_small:
        lines.append(f"{plan.too_small:,} users have less than {plan.provider} pays; it stays in their balances")
    fields = {"made": made, "planned": len(plan.payouts), "total": total, "too_small": plan.too_small}
    show({**fields, "currency": plan.currency, "provider": plan.provider}, lines, as_json=as_json)


@payout_app.command()
def retry(
    data: BookOption = None,
    deploy: DeployOption = None,
    numbers: NumbersArgument = None,
    failed: Annotated[bool, Option("--failed", help="All that have failed or were cancelled.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Pay once more what has failed, or ask now about what waits. What is paid is never paid again."""
    from redrush.operate import paying as orders
    from redrush.operate.granted import granted_by
    from redrush.ports.bill_book import BillState

    states = [BillState.FAILED, BillState.CANCELLED] if failed else []
    if (at := console_meant(data, deploy)) is not None:
        _order_there(at, "retry", numbers, states, "", as_json=as_json)
    else:
        books = _books(data, deploy)
        with granted_by(books) as granted:
            _order(
                books,
                numbers,
                states,
                lambda book, bill, now_us: orders.retry(book, bill, now_us, granted),
                as_json=as_json,
            )


@payout_app.command()
def hold(
    why: WhyOption,
    data: BookOption = None,
    deploy: DeployOption = None,
    numbers: NumbersArgument = None,
    as_json: JsonOption = False,
) -> None:
    """Let payouts wait for a person, as long as the provider has not heard of them."""
    from redrush.operate import paying as orders

    if (at := console_meant(data, deploy)) is not None:
        _order_there(at, "hold", numbers, [], why, as_json=as_json)
        return
    _order(
        _books(data, deploy),
        numbers,
        [],
        lambda book, bill, now_us: orders.hold(book, bill, why, now_us),
        as_json=as_json,
    )


@payout_app.command()
def release(
    data: BookOption = None,
    deploy: DeployOption = None,
    numbers: NumbersArgument = None,
    held: Annotated[bool, Option("--all", help="All that are held.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let held payouts go on."""
    from redrush.operate import paying as orders
    from redrush.ports.bill_book import BillState

    states = [BillState.HELD] if held else []
    if (at := console_meant(data, deploy)) is not None:
        _order_there(at, "release", numbers, states, "", as_json=as_json)
    else:
        _order(_books(data, deploy), numbers, states, orders.release, as_json=as_json)


@bills_app.command()
def compare(  # noqa: PLR0913, PLR0917 - options of one command
    payments: PaymentsOption,
    data: BookOption = None,
    deploy: DeployOption = None,
    provider: Annotated[str | None, Option(help="Whose bill; the only provider of the file by default.")] = None,
    day: Annotated[str | None, Option(metavar="YYYY-MM-DD", help="Which day's; today's by default.")] = None,
    bill: Annotated[
        list[Path] | None,
        Option("--bill", metavar="FILE", help="Read it from here, not from the provider; several are one bill."),
    ] = None,
    book_fees: Annotated[
        bool, Option("--book-fees", help="Write fees that only this bill tells into the books, each once.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Hold the ledger, our bills and the provider's bill of a day against each other. Exit code 1 if they differ."""
    import msgspec

    from redrush.config import load_payments_file
    from redrush.operate.paying import compare_day
    from redrush.wiring.clock import system_clock

    file, now_us = load_payments_file(payments), system_clock().now_us
    books = _books(data, deploy)
    found = compare_day(books, file, provider, day, now_us, files=bill or (), books_fees=book_fees)
    lines = [
        f"{found.provider} {found.day}: {found.ours:,} bills of ours, {found.theirs:,} lines of theirs, "
        f"difference {found.difference_minor} minor units; they kept {found.fees_minor} as fees"
    ]
    lines += [
        f"  {one.kind} {one.number}: ours {one.ours_minor}, theirs {one.theirs_minor}; {one.says}"
        for one in found.differences
    ]
    if found.unbooked_minor:
        lines.append(f"  {found.unbooked_minor} of the fees are told by this bill alone: --book-fees writes them down")
    lines += [f"  and {found.unnamed:,} more"] if found.unnamed else []
    show({"ok": found.ok, **msgspec.to_builtins(found)}, lines, as_json=as_json)
    if not found.ok:
        raise SystemExit(1)


def _states(names: list[str]) -> "list[BillState]":
    from redrush.errors import ConfigError
    from redrush.ports.bill_book import BillState

    try:
        return [BillState(name) for name in names]
    except ValueError as wrong:
        raise ConfigError(f"--state: {wrong}; there are {', '.join(BillState)}") from None


def _books(data: Path | None, deploy: Path | None) -> "Books":
    from redrush.operate.paying import Books

    return Books.at(data, deploy)


def _order_there(
    at: "AtConsole", verb: str, numbers: list[str] | None, states: "list[BillState]", why: str, *, as_json: bool
) -> None:
    import msgspec

    from redrush.errors import ConfigError
    from redrush.operate.at_console import order_payouts
    from redrush.operate.paying import Shown

    if not numbers and not states:
        raise ConfigError("say which payouts: their numbers, as `redrush payout list` tells them")
    done, refused = order_payouts(at, verb, numbers or [], states, why)
    _tell_ordered(msgspec.convert(done, list[Shown]), refused, as_json=as_json)


def _order(
    books: "Books", numbers: list[str] | None, states: "list[BillState]", order: "Order", *, as_json: bool
) -> None:
    """Give the order for each payout that is named, or is in one of the states; refusals are told at the end."""
    from redrush.errors import ConfigError, RedrushError
    from redrush.operate.paying import Shown, book_of, named, payouts
    from redrush.wiring.clock import system_clock

    if not numbers and not states:
        raise ConfigError("say which payouts: their numbers, as `redrush payout list` tells them")
    now_us = system_clock().now_us
    done: list[Shown] = []
    refused: list[str] = []
    with book_of(books) as book:
        for bill in named(book, numbers) if numbers else list(payouts(book, states, None)):
            try:
                done.append(Shown.of(order(book, bill, now_us())))
            except RedrushError as fault:
                refused.append(str(fault))
    _tell_ordered(done, refused, as_json=as_json)


def _tell_ordered(done: "Sequence[Shown]", refused: "Sequence[str]", *, as_json: bool) -> None:
    from redrush.errors import RedrushError

    lines = [visible(f"{one.number}  {one.state}  {one.amount} {one.currency}  {one.user}") for one in done]
    _show_all("payouts", done, lines or ["nothing was done"], as_json=as_json)
    if refused:
        raise RedrushError("; ".join(refused))


def _show_all(name: str, shown: "Sequence[Shown]", lines: list[str], *, as_json: bool) -> None:
    import msgspec

    show({name: msgspec.to_builtins(shown)}, lines, as_json=as_json)


def add_to(app: Group) -> None:
    """Give the command line these commands."""
    app.command()(sandbox)
    app.add_group(payout_app, "payout")
    app.add_group(bills_app, "bills")
