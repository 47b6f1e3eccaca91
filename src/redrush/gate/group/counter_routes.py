"""What senders ask of their packets: the routes below `/v1/packets` that create, pay, tell of all, and end.

Served where the counter is: by the process that has the book of packets and the cashier.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

from redrush.core.identity.tickets import KeyRing
from redrush.core.rush.group import GroupTerms, Packet, Unfit
from redrush.dependency import Unanswered
from redrush.gate.device import NO_WAY, device_of
from redrush.gate.group.asked import Asked
from redrush.gate.group.counter import Counter, NotPaid, Unpaid
from redrush.gate.group.finding import may_be_paid
from redrush.gate.group.routes import PacketRoutes
from redrush.gate.group.telling import Telling
from redrush.gate.group.wishes import Wishes
from redrush.gate.rush.group import GroupPackets
from redrush.http import answers
from redrush.http.route import Route, RouteFor, Waiter
from redrush.ports.bill_book import BillState, KeptBill
from redrush.ports.packets import Booked, PerhapsPaid, Stage
from redrush.ports.provider import Device

LISTED_MAX: Final = 200
"""Packets in a sender's overview: the last ones."""

GiveBack = Callable[[Packet], Awaitable[int]]
"""Ends a packet for good, and returns what went back to who paid, in minor units. Raises what stores raise."""


class CounterRoutes(PacketRoutes):
    """See the module. Whoever has these has the gates' too."""

    def __init__(
        self,
        terms: GroupTerms,
        keys: KeyRing,
        group: GroupPackets,
        telling: Telling,
        counter: Counter,
        give_back: GiveBack,
        now_us: Callable[[], int],
    ) -> None:
        """`keys` are those that words are hashed with."""
        super().__init__(group, telling)
        self.terms = terms
        self._wishes = Wishes(telling.currency, terms, keys, now_us)
        self._counter = counter
        self._give_back = give_back

    def amend(self, terms: GroupTerms) -> None:
        """Let these terms hold for packets that are created from now on."""
        self.terms = self._wishes.terms = terms

    def exact(self) -> list[tuple[bytes, bytes, Asked]]:
        """Return methods, paths and routes of what is asked for at one path."""
        return [
            (b"POST", b"/packets", Asked(self._create)),
            (b"GET", b"/packets", Asked(self._later(self._overview))),
            (b"GET", b"/packets/terms", Asked(self._later(self._limits))),
        ]

    def below(self) -> list[tuple[bytes, bytes, RouteFor]]:
        """Return methods, patterns of paths, and what returns the route of a packet."""
        return [
            *super().below(),
            (b"DELETE", b"/packets/{}", self.end),
            (b"POST", b"/packets/{}/pay", self.pay),
        ]

    # -- by a packet's id

    def end(self, packet: bytes) -> Route | None:
        """Return the route of `DELETE /v1/packets/{id}`."""
        return self._of(packet, self._later_of(self._end))

    def pay(self, packet: bytes) -> Route | None:
        """Return the route of `POST /v1/packets/{id}/pay`."""
        return self._of(packet, self._paid)

    def _paid(self, waiter: Waiter, user: str, packet: str, fields: Mapping[str, Any]) -> bytes | None:
        device = device_of(waiter, fields)
        return NO_WAY if device is None else self._late.promise(waiter, self._pay(user, packet, device))

    def _later(self, run: Callable[[str], Coroutine[Any, Any, bytes]]) -> Callable[..., bytes | None]:
        return lambda waiter, user, _fields: self._late.promise(waiter, run(user))

    # -- creating and paying

    def _create(self, waiter: Waiter, user: str, fields: Mapping[str, Any]) -> bytes | None:
        if (device := device_of(waiter, fields)) is None:
            return NO_WAY
        try:
            packet = self._wishes.packet({name: said for name, said in fields.items() if name != "how"}, user)
        except Unfit as unfit:
            return answers.problem(400, f"{unfit.field}: {unfit}", field=unfit.field)
        if not self._counter.can_be_paid(packet):
            return answers.problem(503, f"{self.terms.pay} takes no money here now; ask again", "Retry-After: 5\r\n")
        return self._late.promise(waiter, self._created(packet, device))

    async def _created(self, packet: Packet, device: Device) -> bytes:
        booked = await self._counter.create(packet)
        if isinstance(booked, Unanswered):
            return answers.QUERIES_BUSY
        known = booked.packet
        if known.id == packet.id:
            at_once = self._counter.pays_at_once(known)
            return self._unpaid(known, None if at_once else await self._counter.charge(known, device))
        if not _alike(known, packet):
            return answers.problem(409, f'the request "{packet.request}" has created another packet', id=known.id)
        return self._answer(await self._told_of(packet.sender, booked))

    def _unpaid(self, packet: Packet, bill: KeptBill | None) -> bytes:
        """Return the answer to whoever has a packet to pay; `bill` is the provider's."""
        how = self._how_to_pay(packet)
        if bill is not None:
            how |= {"payment": bill.state, "with": bill.detail}
        return self._answer({"id": packet.id, "state": "unpaid", "pay": how})

    def _how_to_pay(self, packet: Packet) -> dict[str, Any]:
        return {
            "from": self.terms.pay,
            "amount": self._text(packet.total_minor),
            "currency": self.telling.currency,
            "at": f"/v1/packets/{packet.id}/pay",
        }

    async def _pay(self, user: str, packet: str, device: Device) -> bytes:
        booked = await self._counter.find(packet)
        if booked is None or booked.packet.sender != user or booked.packet.sponsored:
            return answers.NOT_FOUND
        if booked.stage is Stage.OVER:
            return self._answer(await self._told_of(user, booked))
        if not self._counter.pays_at_once(booked.packet) and booked.stage is Stage.UNPAID:
            bill = await self._counter.charge(booked.packet, device)
            if bill.state is not BillState.DONE:
                return self._unpaid(booked.packet, bill)
        paid = await self._counter.pay(booked.packet)
        if isinstance(paid, Unanswered):
            return answers.QUERIES_BUSY
        if isinstance(paid, NotPaid):
            return self._not_paid(booked.packet, paid)
        return self._answer(await self._told_of(user, Booked(paid, Stage.OPEN)))

    def _not_paid(self, packet: Packet, paid: NotPaid) -> bytes:
        available = self._text(paid.available_minor)
        why = {
            Unpaid.SHORT: f"the balance is {available}, as far as it is recorded; what was won in the last seconds may "
            "not be in it yet",
            Unpaid.DAY: f"of what a sender may give a day {available} is left",
            Unpaid.CANCELLED: "it was cancelled",
        }[paid.why]
        fields: dict[str, Any] = {"id": packet.id, "state": "unpaid", "pay": self._how_to_pay(packet)}
        return answers.problem(409, why, reason=paid.why.value, available=available, **fields)

    # -- telling

    async def _look(self, user: str, packet: str) -> bytes:
        try:
            if (told := await self.told(user, packet)) is not None:
                return told
        except PerhapsPaid:
            if (booked := await self._counter.find(packet)) is None:
                raise  # shared by a winner, perhaps: the book hears of that later
        else:
            booked = await self._counter.find(packet)
        if booked is not None and booked.packet.sender == user:
            return self._answer(self._told_of_unpaid(booked))
        if booked is not None and may_be_paid(booked):
            raise PerhapsPaid(packet)
        return answers.NOT_FOUND  # others are told of what is paid alone

    async def _told_of(self, user: str, booked: Booked) -> dict[str, Any]:
        live = None
        with suppress(PerhapsPaid):
            live = await self.looked_at(booked.packet.id)
        return self._told_of_unpaid(booked) if live is None else self.telling.of_live(user, live)

    def _told_of_unpaid(self, booked: Booked) -> dict[str, Any]:
        packet = booked.packet
        state = "cancelled" if booked.stage is Stage.OVER else "unpaid"
        pay = {} if booked.stage is Stage.OVER else {"pay": self._how_to_pay(packet)}
        return self.telling.terms_of(packet, state) | self.telling.for_sender(packet) | pay

    async def _overview(self, user: str) -> bytes:
        booked = await self._counter.of_sender(user, LISTED_MAX)
        return self._answer({"packets": [await self._told_of(user, one) for one in booked]})

    async def _limits(self, user: str) -> bytes:
        """Tell what a packet may be here, and what the user could pay now."""
        terms = self.terms
        balance_minor, left_minor = await self._counter.may_give(user)
        return self._answer(
            {
                "kinds": list(terms.kinds),
                "count_max": terms.count_max,
                "share_min": self._text(1),
                "share_max": self._text(terms.share_minor_max),
                "sender_day_max": self._text(terms.sender_day_minor_max),
                "sender_day_left": self._text(max(0, left_minor)),
                "expires_s": terms.expires_us // 1_000_000,
                "pay": terms.pay,
                "balance": self._text(balance_minor),
                "currency": self.telling.currency,
                "followers": terms.followers is not None,
            }
        )

    # -- ending

    async def _end(self, user: str, packet: str) -> bytes:
        booked = await self._counter.find(packet)
        if booked is None or booked.packet.sender != user:
            return answers.NOT_FOUND
        live = None
        with suppress(PerhapsPaid):
            live = await self.group.wake(packet)
        if live is None:
            cancelled = await self._counter.cancel(booked.packet)
            if not cancelled:
                return answers.problem(409, "this packet is being paid at this moment; ask again", id=packet)
            return self._answer(self._told_of_unpaid(Booked(booked.packet, Stage.OVER)))
        returned_minor = await self._give_back(live.packet)
        live.ended = True
        if not self.group.is_known(live):
            await self.group.look(live)
        told = self.telling.of_live(user, live)
        return self._answer(told | {"returned": self._text(returned_minor)})

    # -- words

    def _text(self, minor: int) -> str:
        return self.telling.text(minor)

    def _answer(self, fields: Mapping[str, Any]) -> bytes:
        return self.telling.answer(fields)


def _alike(one: Packet, other: Packet) -> bool:
    """Whether two packets of one request say the same; of words only whether there is one can be compared."""
    return all(
        getattr(one, field) == getattr(other, field)
        for field in ("kind", "total_minor", "count", "greeting", "named", "whom")
    ) and (one.word is None) == (other.word is None)
