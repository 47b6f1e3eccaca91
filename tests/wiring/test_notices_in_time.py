"""A provider's notice is answered in less than 200 ms, whatever else payments have to do: it is only written down."""

import asyncio
import statistics
import sys
import time
from pathlib import Path

import pytest

from redrush.config import load_payments_file
from redrush.http.fetch import Fetcher
from redrush.ports.bill_book import NewBill
from redrush.ports.provider import Order
from redrush.ports.veil import NoVeil
from redrush.providers.sandbox.bank import Bank
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.wiring.paying import PaymentsPart
from redrush.wiring.sandbox_faces import face_of, write_payments_file

P99_MAX_MS = 200
NOTICES = 2_000
NOTICES_PER_S = 200
"""Twice what WeChat Pay lets a merchant transfer, each with a notice."""
CHANGES_AT_ONCE = 500


class Silent:
    """A log: nothing that is worth a line may happen here."""

    def warning(self, what: str, **more: object) -> None:
        raise AssertionError((what, more))

    error = critical = warning


def now_us() -> int:
    return time.time_ns() // 1_000


@pytest.mark.soak
async def test_a_notice_is_answered_in_time_while_the_book_is_being_written(tmp_path: Path) -> None:
    bank = Bank()
    face = face_of("wechat", tmp_path / "merchant", bank, now_us)
    file = load_payments_file(write_payments_file("wechat", tmp_path / "merchant", "http://127.0.0.1:1", "127.0.0.1:0"))
    book = SqliteBillBook.open_path(tmp_path / "payments.db")
    part = PaymentsPart(file, book, now_us, Silent(), veil=NoVeil())
    port = (await part.listen())["notices"]
    told = []
    for number in range(NOTICES):
        order = Order(number=f"N{number}", amount_minor=100, currency="CNY", subject="s", expires_us=now_us() + 10**9)
        bank.order(order, now_us())
        bank.pay(order.number, now_us())
        row = bank.row(order.number)
        assert row is not None
        told.append(face.notice_of(row, f"notice-{number}"))
    fetcher, took_ms = Fetcher(), list[float]()
    over = asyncio.Event()

    async def pays_others() -> None:
        made = 0
        while not over.is_set():
            bills = [payout(made + k) for k in range(CHANGES_AT_ONCE)]
            made += len(bills)
            await part.payments._in_thread(book.make, bills, now_us())

    async def tell(headers: dict[str, str], body: bytes) -> None:
        began_s = time.perf_counter()
        answer = await fetcher.fetch("POST", f"http://127.0.0.1:{port}/notices/wechat", headers=headers, body=body)
        took_ms.append((time.perf_counter() - began_s) * 1e3)
        assert answer.status == 204, answer

    others = asyncio.create_task(pays_others())
    async with asyncio.TaskGroup() as telling:
        begins_s = time.perf_counter()
        for number, (headers, body) in enumerate(told):
            await asyncio.sleep(max(0.0, begins_s + number / NOTICES_PER_S - time.perf_counter()))
            telling.create_task(tell(headers, body))
    over.set()
    await others
    fetcher.close()
    assert len(book.inbox(NOTICES + 1)) == NOTICES, "each is written down once"
    await part.stop()
    bank.close()
    p50, p99 = statistics.median(took_ms), statistics.quantiles(took_ms, n=100)[98]
    sys.stdout.write(f"{NOTICES} notices at {NOTICES_PER_S}/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms\n")
    assert p99 < P99_MAX_MS


def payout(number: int) -> NewBill:
    return NewBill(
        kind="payout", source=f"p{number}", campaign="c", user="u", provider="wechat", currency="CNY", amount_minor=100,
        subject="red packet", to="u",
    )  # fmt: skip
