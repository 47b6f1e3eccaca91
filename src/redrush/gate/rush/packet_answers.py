"""Answers about packets between people, as bytes: what they begin with is put together every second."""

from collections.abc import Callable, Sequence

from redrush.core.rush.group import Packet
from redrush.core.rush.instants import http_date
from redrush.core.rush.outcomes import Outcome
from redrush.gate.group.guesses import RETRY_S
from redrush.gate.rush.granted import NEW, REPEAT, Fronts
from redrush.gate.rush.packet_grants import PacketGrantWriter
from redrush.http import answers
from redrush.ports.store import Claimed


class PacketAnswers:
    """The answers of one campaign's packets. `renew` them every second."""

    def __init__(self, grants: PacketGrantWriter, now_us: Callable[[], int]) -> None:
        self._write = grants.write
        self._now_us = now_us
        self._said: dict[Outcome, bytes] = {}
        """Answers that say just an outcome, of this second."""
        self.renew()

    def renew(self) -> None:
        """Let answers carry the date of now."""
        self._said.clear()
        self.head = f"Date: {http_date(self._now_us())}\r\nCache-Control: no-store\r\n"
        """The header lines of an answer."""
        self._fronts = Fronts(answers.head_before_length(200, headers=self.head))

    def granted(self, pot: str, amounts: Sequence[int], user: str, claimed: Claimed) -> bytes:
        """Return the answer that carries a grant of the packet with this pot, and these amounts by slot."""
        grant = self._write(pot, user, claimed.slot, amounts[claimed.slot], claimed.at_us)
        ending = REPEAT if claimed.repeat else NEW
        return f"{self._fronts[len(grant) + len(ending)]}{grant}{ending}".encode("ascii")

    def grant(self, packet: Packet, user: str, claimed: Claimed) -> str:
        """Return the grant as JSON."""
        return self._write(packet.pot, user, claimed.slot, packet.amounts[claimed.slot], claimed.at_us)

    def said(self, outcome: Outcome) -> bytes:
        """Return the answer that says just this."""
        answer = self._said.get(outcome)
        if answer is None:
            more = {"retry_after_s": RETRY_S} if outcome is Outcome.LIMIT else {}
            answer = self._said[outcome] = answers.json_answer({"outcome": outcome, **more}, self.head)
        return answer
