"""What participants can ask of group packets: the routes below `/v1/packets`, and the words of their answers."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

import msgspec

from redrush.core.identity.tickets import KeyRing
from redrush.core.money.currency import format_amount
from redrush.core.rush.campaign import Campaign, Kind
from redrush.core.rush.group import (
    GroupTerms,
    Packet,
    Unfit,
    best_luck,
    coarsely,
    is_packet_id,
)
from redrush.core.rush.instants import rfc3339
from redrush.dependency import Unanswered
from redrush.errors import RedrushError
from redrush.gate.group.asked import Asked, Parked
from redrush.gate.group.counter import PAID, Counter, NotPaid, Unpaid
from redrush.gate.group.wishes import Wishes
from redrush.gate.queries import LateAnswers
from redrush.gate.rush.group import GroupPackets, LivePacket
from redrush.http import answers
from redrush.http.route import Route, RouteFor, Waiter
from redrush.ports.bill_book import KeptBill
from redrush.ports.packets import Booked, Stage
from redrush.ports.store import StoreUnavailable

LATE_MAX: Final = 4_096
"""Requests about packets under way at once, that wait for the book or for who knows who follows whom."""

LISTED_MAX: Final = 200
"""Packets in a sender's overview: the last ones."""

AWAY: Final = answers.problem(
    503, "this cannot be found out or written down now; nothing was lost, ask again", "Retry-After: 1\r\n"
)

GiveBack = Callable[[Packet], Awaitable[int]]
"""Ends a packet for good, and returns what went back to who paid, in minor units. Raises what stores raise."""


class PacketRoutes:
    """See the module. One for each campaign that has a `[group]`."""

    def __init__(
        self,
        campaign: Campaign,
        terms: GroupTerms,
        keys: KeyRing,
        group: GroupPackets,
        counter: Counter,
        give_back: GiveBack,
        now_us: Callable[[], int],
    ) -> None:
        """`keys` are those that words are hashed with."""
        self.terms = terms
        self._currency = campaign.currency
        self._wishes = Wishes(campaign.currency, terms, keys, now_us)
        self._group = group
        self._counter = counter
        self._give_back = give_back
        self._now_us = now_us
        self._late = LateAnswers(LATE_MAX, told_of)
        self.creating = Asked(self._create)
        self.overview = Asked(self._later(self._overview))
        self.limits = Asked(self._later(self._limits))

    def amend(self, terms: GroupTerms) -> None:
        """Let these terms hold for packets that are created from now on."""
        self.terms = self._wishes.terms = terms

    def exact(self) -> list[tuple[bytes, bytes, Asked]]:
        """Return methods, paths and routes of what is asked for at one path."""
        return [
            (b"POST", b"/packets", self.creating),
            (b"GET", b"/packets", self.overview),
            (b"GET", b"/packets/terms", self.limits),
        ]

    def below(self) -> list[tuple[bytes, bytes, RouteFor]]:
        """Return methods, patterns of paths, and what returns the route of a packet."""
        return [
            (b"POST", b"/packets/{}/grab", self.grab),
            (b"GET", b"/packets/{}", self.look),
            (b"DELETE", b"/packets/{}", self.end),
            (b"POST", b"/packets/{}/pay", self.pay),
        ]

    # -- by a packet's id

    def grab(self, packet: bytes) -> Route | None:
        """Return the route of `POST /v1/packets/{id}/grab`."""
        return self._of(packet, self._grab)

    def look(self, packet: bytes) -> Route | None:
        """Return the route of `GET /v1/packets/{id}`."""
        return self._of(packet, self._later_of(self._look))

    def end(self, packet: bytes) -> Route | None:
        """Return the route of `DELETE /v1/packets/{id}`."""
        return self._of(packet, self._later_of(self._end))

    def pay(self, packet: bytes) -> Route | None:
        """Return the route of `POST /v1/packets/{id}/pay`."""
        return self._of(packet, self._later_of(self._pay))

    def _of(self, packet: bytes, run: Callable[..., bytes | None]) -> Asked | None:
        text = packet.decode("ascii", "replace")
        if not is_packet_id(text):
            return None
        return Asked(lambda waiter, user, fields: run(waiter, user, text, fields))

    def _later(self, run: Callable[[str], Coroutine[Any, Any, bytes]]) -> Callable[..., bytes | None]:
        return lambda waiter, user, _fields: self._late.promise(waiter, run(user))

    def _later_of(self, run: Callable[[str, str], Coroutine[Any, Any, bytes]]) -> Callable[..., bytes | None]:
        return lambda waiter, user, packet, _fields: self._late.promise(waiter, run(user, packet))

    # -- creating and paying

    def _create(self, waiter: Waiter, user: str, fields: Mapping[str, Any]) -> bytes | None:
        try:
            packet = self._wishes.packet(fields, user)
        except Unfit as unfit:
            return answers.problem(400, f"{unfit.field}: {unfit}", field=unfit.field)
        if not self._counter.can_be_paid(packet):
            return answers.problem(503, f"{self.terms.pay} takes no money here now; ask again", "Retry-After: 5\r\n")
        return self._late.promise(waiter, self._created(packet))

    async def _created(self, packet: Packet) -> bytes:
        booked = await self._counter.create(packet)
        if isinstance(booked, Unanswered):
            return answers.QUERIES_BUSY
        known = booked.packet
        if known.id == packet.id:
            return self._unpaid(known, None if self._counter.pays_at_once(known) else await self._counter.charge(known))
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
            "currency": self._currency,
            "at": f"/v1/packets/{packet.id}/pay",
        }

    async def _pay(self, user: str, packet: str) -> bytes:
        booked = await self._counter.find(packet)
        if booked is None or booked.packet.sender != user or booked.packet.sponsored:
            return answers.NOT_FOUND
        if booked.stage is Stage.OVER:
            return self._answer(await self._told_of(user, booked))
        if not self._counter.pays_at_once(booked.packet) and booked.stage is Stage.UNPAID:
            bill = await self._counter.charge(booked.packet)
            if bill.state not in PAID:
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
        live = await self._group.wake(packet)
        if live is not None:
            return self._answer(self._told_of_live(user, live))
        booked = await self._counter.find(packet)
        if booked is None or booked.packet.sender != user:
            return answers.NOT_FOUND  # others are told of what is paid alone
        return self._answer(self._told_of_unpaid(booked))

    async def told(self, user: str, packet: Packet) -> bytes:
        """Return what the user is told of a packet that is open. Raises BookFailed and what stores raise."""
        return self._answer(await self._told_of(user, Booked(packet, Stage.OPEN)))

    async def _told_of(self, user: str, booked: Booked) -> dict[str, Any]:
        live = await self._group.wake(booked.packet.id)
        return self._told_of_unpaid(booked) if live is None else self._told_of_live(user, live)

    def _told_of_unpaid(self, booked: Booked) -> dict[str, Any]:
        packet = booked.packet
        state = "cancelled" if booked.stage is Stage.OVER else "unpaid"
        pay = {} if booked.stage is Stage.OVER else {"pay": self._how_to_pay(packet)}
        return self._terms_of(packet, state) | self._for_sender(packet) | pay

    def _told_of_live(self, user: str, live: LivePacket) -> dict[str, Any]:
        packet, winners = live.packet, self._group.winners(live)
        closed = live.ended or self._now_us() >= packet.closes_us
        over = live.sold_out or closed or len(winners) >= packet.count
        state = ("closed" if closed and not live.sold_out else "empty") if over else "open"
        told = self._terms_of(packet, state) | {
            "left": coarsely(0 if over else packet.count - len(winners), packet.count),
            "expires_at": rfc3339(packet.closes_us),
        }
        if user in winners:
            told["grant"] = msgspec.Raw(self._group.grant(packet, user, winners[user]).encode("ascii"))
        if over and packet.kind is not Kind.EQUAL:
            best = best_luck(packet.amounts, {winner: claimed.slot for winner, claimed in winners.items()})
            if best is not None:
                amount_minor = packet.amounts[winners[best].slot]
                told["best_luck"] = {"user": best, "amount": self._text(amount_minor)}
        if user == packet.sender:
            told |= self._for_sender(packet)
        if user == packet.sender or (over and user in winners):
            told["grants"] = [
                {
                    "user": winner,
                    "amount": self._text(packet.amounts[claimed.slot]),
                    "granted_at": rfc3339(claimed.at_us),
                }
                for winner, claimed in sorted(winners.items(), key=lambda one: (one[1].at_us, one[1].slot))
            ]
        return told

    def _terms_of(self, packet: Packet, state: str) -> dict[str, Any]:
        return {
            "id": packet.id,
            "state": state,
            "from": packet.sender,
            "kind": packet.kind,
            "count": packet.count,
            "greeting": packet.greeting,
            "needs_word": packet.word is not None,
            "for": "named" if packet.named else packet.whom,
            "currency": self._currency,
        }

    def _for_sender(self, packet: Packet) -> dict[str, Any]:
        return {"total": self._text(packet.total_minor), "created_at": rfc3339(packet.created_us)}

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
                "currency": self._currency,
                "followers": terms.followers is not None,
            }
        )

    # -- ending

    async def _end(self, user: str, packet: str) -> bytes:
        booked = await self._counter.find(packet)
        if booked is None or booked.packet.sender != user:
            return answers.NOT_FOUND
        live = await self._group.wake(packet)
        if live is None:
            cancelled = await self._counter.cancel(booked.packet)
            if not cancelled:
                return answers.problem(409, "this packet is being paid at this moment; ask again", id=packet)
            return self._answer(self._told_of_unpaid(Booked(booked.packet, Stage.OVER)))
        returned_minor = await self._give_back(live.packet)
        live.ended = True
        told = self._told_of_live(user, live)
        return self._answer(told | {"returned": self._text(returned_minor)})

    # -- grabbing

    def _grab(self, waiter: Waiter, user: str, packet: str, fields: Mapping[str, Any]) -> bytes | None:
        word = fields.get("word")
        if word is not None and not isinstance(word, str):
            return answers.problem(400, "word: is text", field="word")
        live = self._group.live.get(packet)
        if live is not None and (may := self._group.may(live, user)) is not None:
            return self._group.grab(live, waiter, user, word, may=may)
        return self._late.promise(Parked(waiter), self._grab_later(waiter, user, packet, word))

    async def _grab_later(self, waiter: Waiter, user: str, packet: str, word: str | None) -> bytes:
        live = await self._group.wake(packet)
        if live is None:
            return answers.NOT_FOUND
        may = self._group.may(live, user)
        if may is None:
            may = await self._group.ask_whether(live, user)
        return self._group.grab(live, waiter, user, word, may=may) or b""

    # -- words

    def _text(self, minor: int) -> str:
        return format_amount(minor, self._currency)

    def _answer(self, fields: Mapping[str, Any]) -> bytes:
        return answers.answer(200, msgspec.json.encode(fields), headers=self._group.head())


def _alike(one: Packet, other: Packet) -> bool:
    """Whether two packets of one request say the same; of words only whether there is one can be compared."""
    return all(
        getattr(one, field) == getattr(other, field)
        for field in ("kind", "total_minor", "count", "greeting", "named", "whom")
    ) and (one.word is None) == (other.word is None)


def told_of(fault: RedrushError) -> bytes:
    """Return what whoever asked is told of a fault."""
    return answers.SET_AWAY if isinstance(fault, StoreUnavailable) else AWAY
