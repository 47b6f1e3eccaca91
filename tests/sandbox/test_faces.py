"""The sandbox as WeChat Pay, Alipay and Stripe: whatever goes wrong in their formats, everybody is paid once."""

import asyncio
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from redrush.config import PaymentsFile, load_payments_file
from redrush.core.money.clearing import fees_account
from redrush.http.small_server import Asked, Reply, SmallServer
from redrush.http.sockets import Reserved
from redrush.operate.merchants import prove, prove_one
from redrush.operate.paying import compare_bills
from redrush.ports.bill_book import BillBook, BillState, NewBill
from redrush.ports.provider import Notice
from redrush.providers import beijing
from redrush.providers.sandbox.bank import Bank
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.sandbox.faults import CALLS, NOTICES
from redrush.sandbox.server import Sandbox
from redrush.settle.paying.payments import Payments
from redrush.settle.paying.teller import Provider
from redrush.wiring.clock import system_clock
from redrush.wiring.providers import Connected, connected
from redrush.wiring.sandbox_faces import FACES, face_of, write_payments_file
from tests.cli.test_commands import Run, is_one_sentence, run
from tests.patience import PATIENCE_S
from tests.settle.test_payments import Won

__all__ = ["run"]

WINNERS = 8
NOW_US = system_clock().now_us


def payout(name: str, winner: int) -> NewBill:
    return NewBill(
        kind="payout", source=f"g{winner}", campaign="c", user=f"u{winner}", provider=name, currency="CNY",
        amount_minor=100 + winner, subject="red packet", to=f"acct_{winner}",
    )  # fmt: skip


def hasty(one: Connected, name: str) -> Provider:
    """Return the provider as it is, but for its patience: a test does not wait a minute to ask again."""
    changes = {"deadline_s": 0.5, "longest_silence_s": 0.2, "looks_s": (0.05, 0.1, 0.2), "queries_per_s": 1_000.0}
    for part in (one.provider.pay_in, one.provider.pay_out):
        link = part._link  # type: ignore[union-attr] # every adapter here has one
        for holder, field in ((link, "terms"), (part, "_terms")):  # a pay-in has terms of its own
            if hasattr(holder, field):
                setattr(holder, field, msgspec.structs.replace(getattr(holder, field), **changes))
        assert part is None or part.terms.longest_silence_s == changes["longest_silence_s"]
    return Provider(name, one.provider.pay_in, one.provider.pay_out)


async def fees_are_booked(book: BillBook, file: PaymentsFile, name: str, bank: Bank) -> None:
    """Compare with the provider's bills, which have its fees, and have them written down, each once."""
    lines = bank.lines(0, NOW_US() + 10**9)
    kept_minor = sum(line.fee_minor for line in lines)
    assert kept_minor > 0
    days = sorted({beijing.text_of(line.at_us)[:10] for line in lines})  # two of them around midnight

    async def compared(*, books_fees: bool = False) -> tuple[bool, int, int, int]:
        found = [
            await asyncio.to_thread(compare_bills, book, file, name, day, NOW_US, books_fees=books_fees) for day in days
        ]
        sums = (sum(one.difference_minor for one in found), sum(one.unbooked_minor for one in found))
        return all(one.ok for one in found), *sums, book.net_of(fees_account(name))

    assert await compared() == (True, 0, kept_minor, 0)
    for books_fees in (True, True, False):
        assert await compared(books_fees=books_fees) == (True, 0, 0, -kept_minor)


async def paid(tmp_path: Path, name: str, faults: dict[str, float], *, winners: int = WINNERS, seed: int = 7) -> None:
    """Pay winners, take an order and give a part of it back, with these faults; at the end the books agree."""
    bank, reserved = Bank(), Reserved.at("127.0.0.1", 0)
    sandbox = Sandbox(
        bank, NOW_US, seed=seed, notify=f"http://127.0.0.1:{reserved.port}/notices/{name}", hour_s=0.5,
        face=face_of(name, tmp_path / "merchant", bank, NOW_US),
    )  # fmt: skip
    url = f"http://127.0.0.1:{await sandbox.serve(Reserved.at('127.0.0.1', 0))}"
    file = load_payments_file(write_payments_file(name, tmp_path / "merchant", url, None))
    (spec,) = file.providers
    assert (await prove_one(spec, connected(spec, NOW_US, "CNY"))).why_not is None
    one = connected(spec, NOW_US, "CNY")
    book = SqliteBillBook.open_path(tmp_path / "payments.db")
    payments = Payments(book, Won(), {name: hasty(one, name)}, NOW_US)
    receiver, heard = listener(one, name, payments)
    await receiver.serve(reserved)
    sandbox.faults.set(faults)
    payments.start()
    try:
        book.make([payout(name, winner) for winner in range(winners)], NOW_US())
        async with asyncio.timeout(PATIENCE_S):
            await sold_and_given_back(payments, bank, name)
            while not all(bill.is_final for bill in book.listed()):
                await asyncio.sleep(0.02)
        if not one.provider.terms.tells_fees:
            sandbox.faults.set(dict.fromkeys(faults, 0.0))
            await fees_are_booked(book, file, name, bank)
    finally:
        await payments.stop()
        one.close()
        await sandbox.stop()
        await receiver.stop()
    assert {bill.state for bill in book.listed()} == {BillState.DONE}
    ours = {bill.number: (bill.kind, bill.amount_minor, bill.fee_minor) for bill in book.listed()}
    assert len(ours) == winners + 2
    theirs = {line.number: (line.kind, line.amount_minor, line.fee_minor) for line in bank.lines(0, NOW_US() + 10**9)}
    assert ours == theirs
    assert heard
    book.close()
    bank.close()


def listener(one: Connected, name: str, payments: Payments) -> tuple[SmallServer, list[object]]:
    """Return what hears notices as a server does, and what it has made of them."""
    heard: list[object] = []

    async def receive(asked: Asked) -> Reply:
        assert one.notices is not None
        said = one.notices.read(asked.headers, asked.body, NOW_US())
        heard.append(said)
        if isinstance(said, Notice):
            await payments.notices_kept(name, [said])
        status, body = one.notices.answer("kept" if isinstance(said, Notice) else "refused")
        return Reply(status, body)

    return SmallServer(receive), heard


async def sold_and_given_back(payments: Payments, bank: Bank, name: str) -> None:
    """Take an order, let its buyer pay, and give a part of it back."""
    order = await payments.charge(
        "hold:1", campaign="c", user="u", provider=name, currency="CNY", amount_minor=5_000, subject="a phone",
        expires_us=NOW_US() + 60_000_000,
    )  # fmt: skip
    while order.state is not BillState.OPEN or bank.row(order.number) is None:
        await asyncio.sleep(0.02)
        order = await payments.look("hold:1") or order
    bank.pay(order.number, NOW_US())
    while not order.is_final:
        await asyncio.sleep(0.02)
        order = await payments.look("hold:1") or order
    await payments.refund("hold:1/back", of="hold:1", amount_minor=2_000, reason="late")


@pytest.mark.parametrize("name", FACES)
async def test_everybody_is_paid_once_in_every_format_whatever_goes_wrong(tmp_path: Path, name: str) -> None:
    calls = {fault: 0.05 for fault in CALLS if fault != "drips"}
    await paid(tmp_path, name, calls | dict.fromkeys(NOTICES, 0.1))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", FACES)
async def test_everybody_is_paid_once_twenty_times_more(tmp_path: Path, name: str, seed: int) -> None:
    calls = dict.fromkeys(CALLS, 0.04)
    await paid(tmp_path, name, calls | dict.fromkeys(NOTICES, 0.1), winners=100, seed=seed)


def test_the_command_plays_alipay_and_leaves_a_file_that_fits(tmp_path: Path) -> None:
    merchant = tmp_path / "merchant"
    command = [sys.executable, "-m", "redrush", "sandbox", "--port", "0", "--as", "alipay", "--merchant", str(merchant)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sandbox:
        assert sandbox.stdout is not None
        assert sandbox.stdout.readline() == "ready\n"
        proven = prove(load_payments_file(merchant / "payments.toml"), "CNY", NOW_US)
        sandbox.terminate()
        sandbox.wait(10)
    assert [(one.kind, one.why_not) for one in proven] == [("alipay", None)]
    assert (merchant / "merchant.pem").stat().st_mode & 0o077 == 0


def test_keys_of_a_merchant_are_made_at_the_first_start_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, generate = [], rsa.generate_private_key

    def counted(exponent: int, bits: int) -> rsa.RSAPrivateKey:
        made.append(bits)
        return generate(exponent, bits)

    monkeypatch.setattr(rsa, "generate_private_key", counted)
    kept = []
    for _ in range(2):
        face_of("alipay", tmp_path, Bank(), NOW_US)
        kept.append([(tmp_path / name).read_bytes() for name in ("merchant.pem", "provider.pem", "provider.pub")])
    assert made == [2_048, 2_048]
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    ("options", "says"),
    [(("--as", "paypal", "--merchant", "m"), "wechat, alipay, stripe"), (("--as", "alipay"), "goes with")],
)
def test_what_the_sandbox_cannot_play_is_told(run: Run, options: tuple[str, ...], says: str) -> None:
    answer = run("sandbox", "--port", "0", *options)
    assert answer.code == 2
    assert is_one_sentence(answer.err)
    assert says in answer.err
