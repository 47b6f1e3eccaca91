"""The sandbox's HTTP: the provider's calls under /v1, people under /wallet, and what a tester looks at.

    POST /v1/orders            GET /v1/orders/N       POST /v1/orders/N/close
    POST /v1/refunds           GET /v1/refunds/N
    POST /v1/transfers         GET /v1/transfers/N    POST /v1/transfers/N/cancel
    POST /wallet/pay/N         POST /wallet/confirm/N
    POST /shop/orders          GET /shop/orders       (see `redrush.sandbox.shop`)
    anything else              is the provider's that it plays, with `face`: see `redrush.sandbox.face`
    GET /faults, PUT /faults {"answer_lost": 0.1}     GET /book, GET /pace     GET /bill?day=2027-02-06     GET /livez

Faults are in the way between the bank and whoever asks. The bank itself is never wrong: its book would prove nothing.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.http.bodies import UNREADABLE
from redrush.http.fetch import Fetcher, Unfetched
from redrush.http.small_server import Asked, Reply, SmallServer
from redrush.http.sockets import Reserved
from redrush.ports.provider import Absent, Bill, BillLine, Notice, Open, Order, Pending, Refund, State
from redrush.providers import signing
from redrush.providers.sandbox.bank import SECOND_US, Bank, Row
from redrush.providers.sandbox.direct import bounds_of
from redrush.providers.sandbox.remote import MERCHANT, PROBE_ID, SECRET
from redrush.sandbox.face import Face
from redrush.sandbox.faults import ALL, CALLS, NOTICES, Faults
from redrush.sandbox.shop import Shop

AGAIN_S: Final = (15, 15, 30, 180, 600, 1_200, 1_800, 1_800, 1_800, 3_600, 10_800, 10_800, 10_800, 21_600, 21_600)
"""How long after each try a notice is sent again, as WeChat Pay does; shorter where an hour is."""

LATE_S: Final = 25 * 3_600
TICK_S: Final = 0.02
NOTICES_AT_ONCE_MAX: Final = 64
PEOPLE_AT_ONCE_MAX: Final = 200
STRANGE_KEY: Final = signing.SharedKey(b"a key that nobody else has")
SLOW_US: Final = 2 * SECOND_US

OURS: Final = frozenset({"shop", "wallet", "faults", "book", "pace", "bill", "livez"})
"""So begin the paths that no provider has: what people do, and what a tester looks at."""

_JSON_HEADERS: Final = {"Content-Type": "application/json"}


class Busiest:
    """How many calls came, and how many at most within any second."""

    def __init__(self) -> None:
        self.count = 0
        self.most = 0
        self._lately: deque[float] = deque()

    def lately(self, now_s: float) -> int:
        """Return how many came within the last second."""
        while self._lately and self._lately[0] <= now_s - 1.0:
            self._lately.popleft()
        return len(self._lately)

    def add(self, now_s: float) -> None:
        """One more came."""
        self._lately.append(now_s)
        self.count += 1
        self.most = max(self.most, self.lately(now_s))


class Sandbox:
    """See the module. `serve`, then `stop`."""

    def __init__(  # noqa: PLR0913 - how it behaves is all of its own
        self,
        bank: Bank,
        now_us: Callable[[], int],
        *,
        seed: int = 0,
        notify: str | None = None,
        secret: str = SECRET,
        shop_keys: str | None = None,
        hour_s: float = 3_600.0,
        calls_per_s_max: float | None = None,
        shop_book: Path | None = None,
        face: Face | None = None,
    ) -> None:
        """`shop_book` is the shop's; None: it is gone with the process. `shop_keys` are those that it believes, by
        spaces; None: the sandbox's own. `notify` is where notices go; `hour_s` how long an hour of delays lasts here;
        `calls_per_s_max` what is answered in any second, 429 beyond; `face` plays a real provider besides."""
        self.bank = bank
        self.faults = Faults(seed)
        self.notify = notify
        self.calls = Busiest()
        self.starts = Busiest()
        """Of all calls, and of those that ask it to do something: providers limit them apart."""
        self._now_us = now_us
        self._key = signing.key_of(secret)
        self.shop = Shop(shop_book, shop_keys or secret, self.faults, now_us)
        self._face = face
        self._scale = hour_s / 3_600.0
        self._calls_per_s_max = calls_per_s_max
        self._fetcher = Fetcher()
        self._server = SmallServer(self._handle)
        self._sent = 0
        self._late = False
        """Whether what is closed is being paid: nobody asks for that any more, so the notice of it goes out."""
        self._sending: set[asyncio.Task[None]] = set()
        bank.changed = self._changed
        bank.ends = lambda _number: "failed" if self.faults.happens("transfer_fails") else "done"

    async def serve(self, reserved: Reserved) -> int:
        """Serve at a port that was taken before; returns the port."""
        port = await self._server.serve(reserved)
        self._living = asyncio.create_task(self._live())
        return port

    async def stop(self) -> None:
        """End. The bank stays open."""
        self._living.cancel()
        await asyncio.gather(self._living, *self._sending, return_exceptions=True)
        await self._server.stop()
        self._fetcher.close()
        self.shop.close()

    # -- requests

    async def _handle(self, asked: Asked) -> Reply:
        parts = asked.path.strip("/").split("/")
        try:
            if parts[0] in OURS:
                return self._other(asked, parts)
            if self._face is not None or parts[0] == "v1":
                return await self._call(asked, parts[1:])
            return Reply(404)
        except UNREADABLE as fault:
            return _json({"detail": str(fault)}, 400)

    async def _call(self, asked: Asked, parts: list[str]) -> Reply:
        if self._too_many(asked.method):
            return Reply(429, headers=(("Retry-After", "1"),))
        fault = self.faults.one_of(CALLS)
        match fault:
            case "request_lost":
                return Reply(0)
            case "error_before":
                return Reply(500)
            case "refused":
                return Reply(429)
            case "refused_after":
                return Reply(429, headers=(("Retry-After", "1"),))
        reply = await self._answered(asked, parts, fault)
        if reply is None:
            return Reply(404)
        if self.faults.shares["notice_early"] and self.faults.happens("notice_early"):
            await self._send_due()
        if fault == "answer_lost":
            return Reply(0)
        if fault == "error_after":
            return Reply(500)
        return reply

    async def _answered(self, asked: Asked, parts: list[str], fault: str | None) -> Reply | None:
        """Do what is asked; return what is answered, None if that is nothing."""
        if self._face is None:
            answer = self._do(asked, parts)
            return None if answer is None else self._signed(msgspec.json.encode(answer), fault)
        self._slow_down()
        if parts[-1:] == ["close"] and self.faults.happens("paid_during_close"):
            self.bank.pay(parts[-2], self._now_us())
        reply = self._face.spoilt(await self._face.handle(asked), fault or "")
        return msgspec.structs.replace(reply, drips=fault == "drips")

    def _slow_down(self) -> None:
        if self.faults.shares["slow"]:
            takes_us = SLOW_US if self.faults.happens("slow") else 0
            self.bank.terms = msgspec.structs.replace(self.bank.terms, takes_us=takes_us)

    def _do(self, asked: Asked, parts: list[str]) -> object | None:
        now_us = self._now_us()
        self._slow_down()
        match asked.method, parts:
            case "POST", ["orders"]:
                return self.bank.order(msgspec.json.decode(asked.body, type=Order), now_us)
            case "POST", ["orders", number, "close"]:
                if self.faults.happens("paid_during_close"):
                    self.bank.pay(number, now_us)
                return self.bank.shut(number, now_us)
            case "POST", ["refunds"]:
                return self.bank.refund(msgspec.json.decode(asked.body, type=Refund), now_us)
            case "POST", ["transfers"]:
                return self.bank.transfer(msgspec.json.decode(asked.body, type=Bill), now_us)
            case "POST", ["transfers", number, "cancel"]:
                return self.bank.cancel(number, now_us)
            case "GET", ["orders" | "refunds" | "transfers", number]:
                return self.bank.state(number, now_us)
        return None

    def _signed(self, body: bytes, fault: str | None) -> Reply:
        self._sent += 1
        now_s = self._now_us() // SECOND_US - (600 if fault == "clock_off" else 0)
        key = STRANGE_KEY if fault == "unknown_key" else self._key
        headers = signing.signed_headers([key], f"a{self._sent}", now_s, body)
        if fault == "unsigned":
            headers = {}
        if fault == "wrong_signature":
            body += b" "
        return Reply(200, body, headers=tuple(headers.items()), drips=fault == "drips")

    def _too_many(self, method: str) -> bool:
        now_s = asyncio.get_running_loop().time()
        if self._calls_per_s_max is not None and self.calls.lately(now_s) >= self._calls_per_s_max:
            return True
        self.calls.add(now_s)
        if method == "POST":
            self.starts.add(now_s)
        return False

    def _other(self, asked: Asked, parts: list[str]) -> Reply:
        now_us = self._now_us()
        match asked.method, parts:
            case _, ["shop", "orders"]:
                return self.shop.handle(asked)
            case "POST", ["wallet", "pay", number]:
                return _json(self._pay(number, now_us))
            case "POST", ["wallet", "confirm", number]:
                return _json(self.bank.confirm(number, now_us))
            case "GET", ["faults"]:
                table = {
                    name: {"share": share, "happened": self.faults.happened[name], "what": ALL[name]}
                    for name, share in self.faults.shares.items()
                }
                return _json(table)
            case "PUT", ["faults"]:
                self.faults.set(msgspec.json.decode(asked.body, type=dict[str, float]))
                return _json({name: share for name, share in self.faults.shares.items() if share})
            case "GET", ["book"]:
                self.bank.advance(now_us)
                told = {"calls_per_s_most": self.calls.most, "starts_per_s_most": self.starts.most}
                return _json({"bills": self.bank.sums(), **told})
            case "GET", ["pace"]:
                return _json({"calls": self.calls.count, "starts": self.starts.count})
            case "GET", ["bill"]:
                return _json(self._bill(asked.query.get("day", _day_of(now_us))))
            case "GET", ["livez"]:
                return _json({"status": "alive"})
        return Reply(404)

    def _pay(self, number: str, now_us: int) -> State | Absent:
        self._late = self.faults.happens("paid_after_close")
        try:
            return self.bank.pay(number, now_us, though_closed=self._late)
        finally:
            self._late = False

    def _bill(self, day: str) -> list[BillLine]:
        lines = self.bank.lines(*bounds_of(day))
        if lines and self.faults.happens("bill_missing"):
            del lines[int(self.faults.uniform() * len(lines))]
        if self.faults.happens("bill_extra"):
            lines.append(BillLine("payout", "NOBODYKNOWSTHISNUMBER000", 1, 0, "sbextra", bounds_of(day)[0]))
        return lines

    # -- notices

    def _changed(self, row: Row) -> None:
        """Plan the notice of what has changed, in the transaction that changes it."""
        if self.notify is None:
            return
        notice = Notice(
            id=f"{row.number}-{row.state}", kind=row.kind, number=row.number, state=self.bank.state_of(row),
            amount_minor=row.amount_minor, currency=self.bank.terms.currency, merchant=MERCHANT,
            made_us=row.done_us or row.made_us,
        )  # fmt: skip
        now_us = self._now_us()
        how = self.faults.one_of({name: "" for name in NOTICES if name != "notice_early"}) or ""
        body = msgspec.json.encode(notice).decode()
        due_us = now_us + int(LATE_S * self._scale * SECOND_US) if how == "notice_late" else now_us
        if how == "notice_never" and not self._late:
            return
        for _ in range({"notice_twice": 2, "notice_20": 20}.get(how, 1)):
            self.bank.keep_notice(notice.id, body, due_us, how)

    async def _live(self) -> None:
        """Let happen what is due: money arrives, people act, notices go out."""
        while True:
            self.bank.advance(self._now_us())
            self._act()
            await self._send_due()
            await asyncio.sleep(TICK_S)

    def _act(self) -> None:
        now_us = self._now_us()
        if self.faults.shares["pays"]:
            for number, _, _ in self.bank.waiting(PEOPLE_AT_ONCE_MAX):
                if self.faults.happens("pays"):
                    self.bank.pay(number, now_us)
        if self.faults.shares["confirms"]:
            for number, _, until_us in self.bank.confirming(PEOPLE_AT_ONCE_MAX):
                waits = int(number[-1], 36) % 2 and now_us < until_us - int(TICK_S * 2 * SECOND_US)
                if not waits and self.faults.happens("confirms"):
                    self.bank.confirm(number, now_us)

    async def _send_due(self) -> None:
        if self.notify is None:
            return
        due = self.bank.notices(self._now_us(), NOTICES_AT_ONCE_MAX)
        await asyncio.gather(*(self._send(*one) for one in due))

    async def _send(self, notice: int, body: str, notice_id: str, how: str, tries: int) -> None:
        """Send it; it is wrong in its way at the first try, and right later."""
        assert self.notify is not None
        if self._face is not None:
            await self._tell(self._face, notice, msgspec.json.decode(body, type=Notice), how, tries)
            return
        raw, key = body.encode(), self._key
        wrong = how if tries == 0 else ""
        said = msgspec.json.decode(raw, type=Notice)
        match wrong:
            case "notice_amount":
                raw = msgspec.json.encode(msgspec.structs.replace(said, amount_minor=said.amount_minor + 1))
            case "notice_foreign":
                raw = msgspec.json.encode(msgspec.structs.replace(said, merchant="somebody else"))
            case "notice_forged":
                key = STRANGE_KEY
            case "notice_probe":
                await self._post(PROBE_ID, b"{}", STRANGE_KEY)
        headers_of = raw
        if wrong == "notice_reserialised":
            raw = raw.replace(b",", b", ")
        taken = await self._post(notice_id, raw, key, signed=headers_of)
        if taken and wrong == "notices_swapped":
            before: State = Open() if said.kind == "payin" else Pending()
            older = msgspec.structs.replace(said, id=f"{said.id}-older", state=before, made_us=said.made_us - 1)
            await self._post(older.id, msgspec.json.encode(older), self._key)
        right = wrong in ("", "notice_probe", "notice_twice", "notice_20", "notice_late", "notices_swapped")
        self._sent_once(notice, tries, taken=taken and right)

    async def _tell(self, face: Face, notice: int, said: Notice, how: str, tries: int) -> None:
        """Send it as the provider does that is played."""
        row, wrong = self.bank.row(said.number), how if tries == 0 else ""
        assert row is not None
        if wrong == "notice_amount":
            row = msgspec.structs.replace(row, amount_minor=row.amount_minor + 1)
        told = face.notice_of(row, said.id)
        if wrong in ("notice_forged", "notice_foreign", "notice_reserialised", "notice_probe"):
            await self._deliver(*face.forged(told))
        taken = await self._deliver(*told)
        self._sent_once(notice, tries, taken=taken and wrong != "notice_amount")

    def _sent_once(self, notice: int, tries: int, *, taken: bool) -> None:
        """Send it again after a while, unless it was taken or sent often enough."""
        if taken or tries >= len(AGAIN_S):
            self.bank.drop_notice(notice)
        else:
            self.bank.delay_notice(notice, self._now_us() + int(AGAIN_S[tries] * self._scale * SECOND_US))

    async def _deliver(self, headers: dict[str, str], body: bytes) -> bool:
        assert self.notify is not None
        with contextlib.suppress(Unfetched):
            answer = await self._fetcher.fetch("POST", self.notify, headers=headers, body=body, deadline_s=5.0)
            return 200 <= answer.status < 300
        return False

    async def _post(self, notice_id: str, body: bytes, key: signing.Key, *, signed: bytes | None = None) -> bool:
        now_s = self._now_us() // SECOND_US
        headers = _JSON_HEADERS | signing.signed_headers([key], notice_id, now_s, body if signed is None else signed)
        return await self._deliver(headers, body)


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(status, msgspec.json.encode(value))


def _day_of(now_us: int) -> str:
    return datetime.fromtimestamp(now_us / SECOND_US, UTC).strftime("%Y-%m-%d")
