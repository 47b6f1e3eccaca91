"""What winners are told, what is not delivered or goes back, and what is erased: `redrush message …`, `reissue`,
`refund` and `erase`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from redrush.cli.declaring import Group, Option
from redrush.cli.shared_options import (
    DataOption,
    DeployOption,
    JsonOption,
    SumOption,
    WhoOption,
    WhyOption,
    seen_of,
    show,
    who_is,
)
from redrush.core.identity.user_ids import normalised, visible

if TYPE_CHECKING:
    from redrush.operate.paying import Books
    from redrush.ports.message_book import MessageState

message_app = Group(help="What winners are told: look, send again.")


@message_app.command("list")
def list_(
    data: DataOption = None,
    deploy: DeployOption = None,
    state: Annotated[
        list[str] | None, Option("--state", help="Only those: new, sending, sent, unknown, failed.")
    ] = None,
    user: Annotated[str | None, Option(help="Only this user's.")] = None,
    by: Annotated[str | None, Option(help="Only this notifier's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell of each message: to whom, by whom, and what became of it."""
    import msgspec

    from redrush.operate.messages import ShownMessage, listed, message_book_of
    from redrush.operate.paying import Books

    with message_book_of(Books.at(data, deploy)) as book:
        shown = [ShownMessage.of(one) for one in listed(book, _states(state or []), user, by)]
    lines = [visible(f"{one.number}  {one.state:<8} {one.by:<10} {one.user}  {one.why}".rstrip()) for one in shown]
    show({"messages": msgspec.to_builtins(shown)}, lines or ["there is no such message"], as_json=as_json)


@message_app.command()
def retry(
    data: DataOption = None,
    deploy: DeployOption = None,
    failed: Annotated[bool, Option("--failed", help="All of which nobody was told.")] = False,
    unknown: Annotated[
        bool, Option("--unknown", help="All that may have arrived: some people are told twice.")
    ] = False,
    user: Annotated[str | None, Option(help="Only this user's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Send messages once more that have failed, or of which nobody knows."""
    from redrush.errors import ConfigError
    from redrush.operate.messages import listed, message_book_of, send_again
    from redrush.operate.paying import Books
    from redrush.ports.message_book import MessageState
    from redrush.wiring.clock import system_clock

    states = [MessageState.FAILED] * failed + [MessageState.UNKNOWN] * unknown
    if not states:
        raise ConfigError("say which messages: --failed, --unknown, or both")
    with message_book_of(Books.at(data, deploy)) as book:
        count = send_again(book, list(listed(book, states, user)), system_clock().now_us())
    show({"again": count}, [f"{count:,} messages are sent again"], as_json=as_json)


def reissue(
    data: DataOption = None,
    deploy: DeployOption = None,
    payments: Annotated[
        Path | None, Option("--payments", metavar="FILE", help="Payments file (TOML): by whom people are paid.")
    ] = None,
    yes: Annotated[
        int | None, Option("--yes", metavar="N", help="Deliver it, if it is still N things; else only tell.")
    ] = None,
    sum_: SumOption = None,
    unknown: Annotated[
        bool, Option("--unknown", help="Also messages that may have arrived: some people are told twice.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Find everything that was granted and is not delivered, and deliver it. The same order again delivers nothing."""
    import msgspec

    from redrush.config import load_payments_file
    from redrush.core.money.currency import format_amount
    from redrush.operate.paying import Books
    from redrush.operate.reissuing import deliver, look_for
    from redrush.wiring.clock import system_clock

    file = None if payments is None else load_payments_file(payments)
    books, now_us = Books.at(data, deploy), system_clock().now_us()
    seen = seen_of(books, yes, sum_)
    found = look_for(books, file, now_us) if seen is None else deliver(books, file, now_us, seen, unknown=unknown)
    count = found.count(unknown=unknown)
    total = format_amount(found.payouts_total_minor, found.currency)
    lines = [
        f"payouts    {found.payouts:>9,}  {total} {found.currency}",
        f"refunds    {found.refunds:>9,}",
        f"orders     {found.orders:>9,}",
        f"messages   {found.messages_missing + found.messages_failed:>9,}  "
        f"{found.messages_missing:,} were never made, {found.messages_failed:,} have failed",
        *(f"not looked for: {one}" for one in found.left_out),
    ]
    if found.messages_unknown:
        lines.append(f"{found.messages_unknown:,} messages may have arrived or not; --unknown sends them again")
    lines.append(_what_now(count, total, yes))
    fields = {**msgspec.to_builtins(found), "count": count, "delivered": yes is not None}
    show(fields, lines, as_json=as_json)


def refund(  # noqa: PLR0913, PLR0917 - options of one command
    data: DataOption = None,
    deploy: DeployOption = None,
    user: Annotated[str | None, Option(help="Only what this user has paid.")] = None,
    order: Annotated[str | None, Option(help="Only this order, as `GET /v1/orders` names it.")] = None,
    packet: Annotated[str | None, Option(help="With --amount: this packet between people, once it is over.")] = None,
    amount: Annotated[
        str | None,
        Option(
            metavar="AMOUNT", help='So much of one order or packet, like 12.50, or "all"; the buyer keeps the unit.'
        ),
    ] = None,
    why: Annotated[str, Option(help="With --amount: the reason, which the provider may show to the payer.")] = "",
    yes: Annotated[
        int | None,
        Option(
            "--yes",
            metavar="N",
            help="Give it back, if it is still N orders, or, with --amount, the N-th part; else only tell.",
        ),
    ] = None,
    sum_: SumOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give back what was paid in the sales of a campaign that is cancelled, or what one person has paid, or an amount
    of one payment. The same order again gives nothing back twice."""
    import msgspec

    from redrush.core.money.currency import format_amount
    from redrush.errors import ConfigError
    from redrush.operate.paying import Books
    from redrush.operate.refunding import Whose, find_refundable, give_back
    from redrush.wiring.clock import system_clock

    if amount is not None:
        if user is not None or (order is None) == (packet is None):
            raise ConfigError("say of which payment --amount is a part: --order ORDER, or --packet PACKET")
        if sum_ is not None:
            raise ConfigError("leave --sum out: --amount says already how much it is")
        _refund_part(Books.at(data, deploy), order, packet, amount, why, yes, as_json=as_json)
        return
    if packet is not None or why:
        raise ConfigError("--packet and --why go with --amount: an amount, or all, of one payment")
    books, now_us = Books.at(data, deploy), system_clock().now_us()
    whose = Whose(None if user is None else normalised(user), order)
    seen = seen_of(books, yes, sum_)
    found = find_refundable(books, now_us, whose) if seen is None else give_back(books, seen, now_us, whose)
    total = format_amount(found.paid_total_minor, found.currency)
    lines = [
        f"{found.campaign}: {found.orders:,} orders, {found.paid:,} of them paid: {total} {found.currency}",
        f"on its way back already: {found.under_way:,}; back: {found.refunded:,}",
    ]
    if found.not_let_go:
        lines.append(f"{found.not_let_go:,} orders were sent, and the shop does not let go of them: they stay sold")
    if whose == Whose():
        lines += [f"people can still buy in {one}; end it first, or give this order again" for one in found.open_rounds]
    if yes is not None:
        lines.append(f"{found.orders:,} orders are cancelled; this order, without --yes, says how far that is")
    elif found.orders:
        lines.append(f"--yes {found.orders} --sum {total} gives it back")
    else:
        lines.append("nothing is left to be given back")
    show({**msgspec.to_builtins(found), "given_back": yes is not None}, lines, as_json=as_json)


def _refund_part(
    books: "Books",
    order: str | None,
    packet: str | None,
    amount: str,
    why: str,
    yes: int | None,
    *,
    as_json: bool,
) -> None:
    import msgspec

    from redrush.core.money.currency import format_amount, parse_amount
    from redrush.errors import ConfigError
    from redrush.operate.refunding_part import PaidFor, find_payment, give_back_part
    from redrush.wiring.clock import system_clock

    what = PaidFor(order, packet)
    found = find_payment(books, what)
    try:
        amount_minor = None if amount == "all" else parse_amount(amount, found.currency)
    except ValueError as wrong:
        raise ConfigError(f"--amount: {wrong}") from None
    if yes is not None:
        found = give_back_part(books, what, amount_minor, yes, why, system_clock().now_us())
    paid, left = (format_amount(minor, found.currency) for minor in (found.paid_minor, found.left_minor))
    lines = [
        visible(f"{what}: {paid} {found.currency} paid by {found.user} at {found.provider}, of which {left} is left"),
        *(
            visible(f"part {number}: {one.amount} {one.currency}, {one.state}: {one.number}  {one.detail}".rstrip())
            for number, one in enumerate(found.parts, 1)
        ),
    ]
    if yes is not None:
        lines.append(f"part {yes} goes back, or is back; this order, without --yes, says how far that is")
    elif not 0 < (found.left_minor if amount_minor is None else amount_minor) <= found.left_minor:
        lines.append("so much is not left to be given back, or it is nothing")
    else:
        wanted = left if amount_minor is None else format_amount(amount_minor, found.currency)
        lines.append(f"--yes {len(found.parts) + 1} gives back {wanted} {found.currency}")
    show({**msgspec.to_builtins(found), "given_back": yes is not None}, lines, as_json=as_json)


def erase(
    why: WhyOption,
    data: DataOption = None,
    deploy: DeployOption = None,
    user: Annotated[str | None, Option(help="This user's personal data.")] = None,
    older_than: Annotated[
        str | None,
        Option("--older-than", metavar="DURATION", help="Everybody's, of what ended so long ago (180d)."),
    ] = None,
    who: WhoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase addresses, of one user or of what ended long ago. Grants, receipts and the ledger stay."""
    import msgspec

    from redrush.core.rush.durations import parse_duration_us
    from redrush.errors import ConfigError
    from redrush.operate.erasing import erase as order
    from redrush.operate.paying import Books
    from redrush.wiring.clock import system_clock

    if (user is None) == (older_than is None):
        raise ConfigError("say whose: --user USER, or --older-than 180d")
    now_us = system_clock().now_us()
    try:
        before_us = now_us if older_than is None else now_us - parse_duration_us(older_than)
    except ValueError as wrong:
        raise ConfigError(f"--older-than: {wrong}") from None
    user = None if user is None else normalised(user)
    erased = order(Books.at(data, deploy), user, before_us, who=who_is(who), why=why, now_us=now_us)
    lines = [f"erased: addresses of {erased.orders:,} orders and {erased.bills:,} bills"]
    if erased.still_needed:
        lines.append(f"{erased.still_needed:,} orders are not settled and keep theirs; give the order again later")
    if erased.bills_still_needed:
        lines.append(f"{erased.bills_still_needed:,} bills are under way and keep theirs; give the order again later")
    lines += [f"not erased: orders of the campaign in {one}; give the order there, too" for one in erased.elsewhere]
    show(msgspec.to_builtins(erased), lines, as_json=as_json)


def _what_now(count: int, total: str, yes: int | None) -> str:
    if yes is not None:
        return f"{count:,} things are delivered, or under way"
    return (
        f"--yes {count} --sum {total} delivers them"
        if count
        else "everything that was granted is delivered, or under way"
    )


def _states(names: list[str]) -> "list[MessageState]":
    from redrush.errors import ConfigError
    from redrush.ports.message_book import MessageState

    try:
        return [MessageState(name) for name in names]
    except ValueError as wrong:
        raise ConfigError(f"--state: {wrong}; there are {', '.join(MessageState)}") from None


def add_to(app: Group) -> None:
    """Give the command line these commands."""
    app.add_group(message_app, "message")
    app.command()(reissue)
    app.command()(refund)
    app.command()(erase)
