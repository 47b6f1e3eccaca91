"""What is told of a packet: to others, to whoever has a share of it, to its sender."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from redrush.core.money.currency import format_amount
from redrush.core.rush.campaign import Kind
from redrush.core.rush.group import Packet, best_luck, coarsely
from redrush.core.rush.instants import rfc3339
from redrush.gate.rush.group import GroupPackets
from redrush.gate.rush.live_packet import LivePacket
from redrush.http import answers


class Telling:
    """Tells of the packets of a campaign, as fields of an answer."""

    def __init__(self, currency: str, group: GroupPackets, now_us: Callable[[], int]) -> None:
        self.currency = currency
        self._group = group
        self._now_us = now_us

    def of_live(self, user: str, live: LivePacket) -> dict[str, Any]:
        """Return what the user is told of a packet that is paid, by what is known here."""
        packet, winners = live.packet, self._group.winners(live)
        closed = live.closed(self._now_us())
        over = live.sold_out or closed or len(winners) >= packet.count
        state = ("closed" if closed and not live.sold_out else "empty") if over else "open"
        told = self.terms_of(packet, state) | {
            "left": coarsely(0 if over else packet.count - len(winners), packet.count),
            "expires_at": rfc3339(packet.closes_us),
        }
        if user in winners:
            told["grant"] = msgspec.Raw(self._group.answers.grant(packet, user, winners[user]).encode("ascii"))
        if over and packet.kind is not Kind.EQUAL:
            best = best_luck(packet.amounts, {winner: claimed.slot for winner, claimed in winners.items()})
            if best is not None:
                amount_minor = packet.amounts[winners[best].slot]
                told["best_luck"] = {"user": best, "amount": self.text(amount_minor)}
        if user == packet.sender:
            told |= self.for_sender(packet)
        if user == packet.sender or (over and user in winners):
            told["grants"] = [
                {
                    "user": winner,
                    "amount": self.text(packet.amounts[claimed.slot]),
                    "granted_at": rfc3339(claimed.at_us),
                }
                for winner, claimed in sorted(winners.items(), key=lambda one: (one[1].at_us, one[1].slot))
            ]
        return told

    def terms_of(self, packet: Packet, state: str) -> dict[str, Any]:
        """Return what everybody is told of a packet in this state."""
        return {
            "id": packet.id,
            "state": state,
            "from": packet.sender,
            "kind": packet.kind,
            "count": packet.count,
            "greeting": packet.greeting,
            "needs_word": packet.word is not None,
            "for": "named" if packet.named else packet.whom,
            "currency": self.currency,
        }

    def for_sender(self, packet: Packet) -> dict[str, Any]:
        """Return what its sender is told besides."""
        return {"total": self.text(packet.total_minor), "created_at": rfc3339(packet.created_us)}

    def text(self, minor: int) -> str:
        """Return an amount of minor units as people read it."""
        return format_amount(minor, self.currency)

    def answer(self, fields: Mapping[str, Any]) -> bytes:
        """Return the answer of these fields."""
        return answers.answer(200, msgspec.json.encode(fields), headers=self._group.answers.head)
