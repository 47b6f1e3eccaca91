"""What every adapter of `redrush.ports.provider` must do; the adapters are in `tests/conformance/providers.py`."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from redrush.core.money.numbers import bill_number
from redrush.http.fetch import Fetcher
from redrush.ports.provider import (
    Absent,
    Accepted,
    Bill,
    BillLine,
    Cancelled,
    Closed,
    Confirming,
    Device,
    Done,
    NeedsConfirmation,
    Open,
    Order,
    Paid,
    Pending,
    Refund,
    Rejected,
    Started,
)
from redrush.providers.sandbox.bank import BankTerms
from tests.conformance.providers import ADAPTERS, CONFIRMING, DAY, NOON_US, PENDING, WITH_BILLS, Opens, World

N1, N2 = bill_number("payin", "order-1"), bill_number("refund", "order-1")
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US

Story = Callable[[World], Awaitable[None]]


@pytest.fixture(params=list(ADAPTERS.values()), ids=list(ADAPTERS))
def opens(request: pytest.FixtureRequest) -> Opens:
    adapter: Opens = request.param
    return adapter


@pytest.fixture(params=[ADAPTERS[name] for name in CONFIRMING], ids=list(CONFIRMING))
def opens_confirming(request: pytest.FixtureRequest) -> Opens:
    adapter: Opens = request.param
    return adapter


@pytest.fixture(params=[ADAPTERS[name] for name in PENDING], ids=list(PENDING))
def opens_pending(request: pytest.FixtureRequest) -> Opens:
    adapter: Opens = request.param
    return adapter


@pytest.fixture(params=[ADAPTERS[name] for name in WITH_BILLS], ids=list(WITH_BILLS))
def opens_with_bills(request: pytest.FixtureRequest) -> Opens:
    adapter: Opens = request.param
    return adapter


def play(opens: Opens, story: Story, terms: BankTerms | None = None) -> None:
    async def run() -> None:
        async with opens(terms or BankTerms()) as world:
            await story(world)

    asyncio.run(run())


def order(number: str = N1, amount_minor: int = 100_000) -> Order:
    return Order(
        number=number, amount_minor=amount_minor, currency="CNY", subject="a phone", expires_us=NOON_US + HOUR_US
    )


def bill(number: str = N1, amount_minor: int = 888, to: str = "u1") -> Bill:
    return Bill(number=number, amount_minor=amount_minor, currency="CNY", to=to, subject="red packet")


def refund(amount_minor: int, number: str = N2) -> Refund:
    return Refund(number=number, of=N1, amount_minor=amount_minor, paid_minor=100_000, currency="CNY", reason="late")


async def visited(url: str) -> None:
    """A telephone goes where it is sent."""
    fetcher = Fetcher()
    assert (await fetcher.fetch("GET", url)).status == 200
    fetcher.close()


async def begun(world: World, wanted: Order) -> str:
    """Have an order started, and somebody begin to pay it; return the provider's reference."""
    started = await world.pay_in.start(wanted)
    assert isinstance(started, Started)
    await world.begin(wanted.number)
    return started.reference


def test_an_order_is_open_until_it_is_paid_once(opens: Opens) -> None:
    async def story(world: World) -> None:
        assert await world.pay_in.find(N1) == Absent()
        started = await world.pay_in.start(order())
        assert isinstance(started, Started)
        assert started.payload
        late = world.pay_in.terms.opens_late and not started.reference
        assert await world.pay_in.find(N1, started.reference) == (Absent() if late else Open())
        await world.begin(N1)
        assert await world.pay_in.find(N1, started.reference) == Open()
        await world.pay(N1)
        await world.pay(N1)
        paid = await world.pay_in.find(N1, started.reference)
        assert paid == await world.pay_in.find(N1), "also where the answer to the start was lost"
        assert isinstance(paid, Paid)
        assert (paid.amount_minor, paid.currency, paid.paid_us) == (100_000, "CNY", NOON_US)
        assert paid.fee_minor == (600 if world.tells_fees else 0)

    play(opens, story)


def test_every_way_to_pay_that_a_provider_names_begins_and_is_paid(opens: Opens) -> None:
    async def story(world: World) -> None:
        terms = world.pay_in.terms
        assert terms.ways
        for how in terms.ways:
            number = bill_number("payin", how)
            way, payer = terms.way_of(Device(how, "198.51.100.7"), "openid-1")
            assert way == how
            started = await world.pay_in.start(msgspec.structs.replace(order(number), how=way, payer=payer))
            assert isinstance(started, Started)
            assert (started.kind, bool(started.payload)) == (how, True)
            if started.payload.startswith("http://127.0.0.1:"):
                await visited(started.payload)
            await world.begin(number)
            await world.pay(number)
            assert isinstance(await world.pay_in.find(number, started.reference), Paid)

    play(opens, story)


def test_the_same_number_is_the_same_bill_and_never_another(opens: Opens) -> None:
    async def story(world: World) -> None:
        first, again = await world.pay_in.start(order()), await world.pay_in.start(order())
        assert isinstance(first, Started)
        assert again == first
        other = await world.pay_in.start(order(amount_minor=100_001))
        assert isinstance(other, Rejected)
        assert other.final
        assert isinstance(await world.pay_out.start(bill(N2)), Accepted)
        assert isinstance(await world.pay_out.start(bill(N2)), Accepted)
        for wrong in (bill(N2, amount_minor=889), bill(N2, to="u2"), bill(N1)):
            refused = await world.pay_out.start(wrong)
            assert isinstance(refused, Rejected)
            assert refused.final

    play(opens, story)


def test_what_is_closed_cannot_be_paid_and_what_is_paid_cannot_be_closed(opens: Opens) -> None:
    async def story(world: World) -> None:
        first = await begun(world, order())
        assert await world.pay_in.close(N1, first) == Closed()
        await world.pay(N1)
        assert await world.pay_in.find(N1, first) == Closed()
        second = await begun(world, order(N2))
        await world.pay(N2)
        assert isinstance(await world.pay_in.close(N2, second), Paid)
        never = await world.pay_in.close(bill_number("payin", "never"))
        assert never == (Absent() if world.pay_in.terms.opens_late else Closed())

    play(opens, story)


def test_an_order_that_nobody_pays_in_time_closes(opens: Opens) -> None:
    async def story(world: World) -> None:
        reference = await begun(world, order())
        world.clock.us += HOUR_US + world.lingers_us
        await world.pay(N1)
        assert await world.pay_in.find(N1, reference) == Closed()

    play(opens, story)


def test_refunds_come_to_what_was_paid_at_most(opens: Opens) -> None:
    async def story(world: World) -> None:
        await world.pay_in.start(order())
        early = await world.pay_in.refund(refund(100))
        assert isinstance(early, Rejected)
        await world.pay(N1)
        assert isinstance(await world.pay_in.refund(refund(60_000)), Accepted)
        assert isinstance(await world.pay_in.refund(refund(60_000)), Accepted)
        done = await world.pay_in.find_refund(N2, N1)
        assert isinstance(done, Done)
        assert done.amount_minor == 60_000
        more = await world.pay_in.refund(refund(40_001, bill_number("refund", "order-1", 2)))
        assert isinstance(more, Rejected)
        rest = bill_number("refund", "order-1", 3)
        assert isinstance(await world.pay_in.refund(refund(40_000, rest)), Accepted)
        assert isinstance(await world.pay_in.find_refund(rest, N1), Done)
        assert await world.pay_in.find_refund(bill_number("refund", "never"), N1) == Absent()

    play(opens, story)


def test_a_transfer_is_pending_until_it_has_arrived(opens_pending: Opens) -> None:
    async def story(world: World) -> None:
        assert await world.pay_out.find(N1) == Absent()
        assert isinstance(await world.pay_out.start(bill()), Accepted)
        assert await world.pay_out.find(N1) == Pending()
        world.clock.us += 5_000_000
        done = await world.pay_out.find(N1)
        assert isinstance(done, Done)
        assert (done.amount_minor, done.currency, done.done_us) == (888, "CNY", NOON_US + 5_000_000)
        assert isinstance(await world.pay_out.cancel(N1), Done)

    play(opens_pending, story, BankTerms(takes_us=5_000_000))


def test_a_transfer_that_nobody_confirms_in_time_is_cancelled(opens_confirming: Opens) -> None:
    async def story(world: World) -> None:
        for number in (N1, N2):
            asked = await world.pay_out.start(bill(number))
            assert isinstance(asked, NeedsConfirmation)
            assert asked.until_us == NOON_US + DAY_US
            assert isinstance(await world.pay_out.find(number), Confirming)
        world.clock.us += DAY_US - 1
        await world.confirm(N1)
        world.clock.us += 1
        await world.confirm(N2)
        assert isinstance(await world.pay_out.find(N1), Done)
        assert isinstance(await world.pay_out.find(N2), Cancelled)

    play(opens_confirming, story, BankTerms(confirms=True, confirm_within_us=DAY_US))


def test_what_was_cancelled_is_not_confirmed_any_more(opens_confirming: Opens) -> None:
    async def story(world: World) -> None:
        await world.pay_out.start(bill())
        assert isinstance(await world.pay_out.cancel(N1), Cancelled)
        await world.confirm(N1)
        assert isinstance(await world.pay_out.find(N1), Cancelled)

    play(opens_confirming, story, BankTerms(confirms=True))


def test_what_the_provider_does_not_take_is_rejected_for_good(opens: Opens) -> None:
    async def story(world: World) -> None:
        small, large = await world.pay_out.start(bill(amount_minor=9)), await world.pay_out.start(bill(N2, 101))
        for refused in (small, large):
            assert isinstance(refused, Rejected)
            assert refused.final
        assert await world.pay_out.find(N1) == Absent()

    play(opens, story, BankTerms(min_minor=10, max_minor=100))


def test_the_daily_bill_has_a_line_for_what_has_moved_and_no_other(opens_with_bills: Opens) -> None:
    async def story(world: World) -> None:
        await world.pay_in.start(order())
        await world.pay(N1)
        await world.pay_in.refund(refund(10_000))
        payout, unpaid = bill_number("payout", "g1"), bill_number("payin", "order-2")
        await world.pay_out.start(bill(payout))
        await world.pay_in.start(order(unpaid))
        world.clock.us += 3 * DAY_US  # some bills are there in the next morning only
        assert world.bills is not None
        from_us, to_us = world.bills.bounds(DAY)
        assert from_us <= NOON_US < to_us == from_us + DAY_US
        lines = await world.bills.daily(DAY)
        assert isinstance(lines, list | tuple)
        assert all(isinstance(line, BillLine) for line in lines)
        assert {(line.kind, line.number, line.amount_minor, line.fee_minor) for line in lines} == {
            ("payin", N1, 100_000, 600),
            ("refund", N2, 10_000, -60 if world.gives_fees_back else 0),
            ("payout", payout, 888, 0),
        }
        assert not await world.bills.daily("2027-01-16")

    play(opens_with_bills, story)
