"""Group packets as they are grabbed: each is a pot of its own, small, and gone from memory when nobody asks.

A packet sleeps until somebody asks for it: then it is found, in the book of this process or by the note of its pot in
a set that gates share, and it is *live*: one object and one pot of a lane. The last that woke stay live, up to
LIVE_MAX. From then on a grab is a claim like any other: losers are answered from memory, whoever may win is parked in
the lane of the packet's set, and a batch holds claims on as many packets as asked.

Where gates share a set, this one does not know who has won at others. While a packet is open that costs nothing:
whoever is not known asks the set. Once it is over the set is *looked* at for all of its winners, once: when nothing is
left in the pot nothing changes any more, and everybody is answered from memory. Between the deadline and the taking of
the rest, a second, it is looked at again every LOOKED_US.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, cast

import msgspec

from redrush.core.identity.tickets import KeyRing
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.group import POT_PREFIX, For, Packet, is_word
from redrush.core.rush.outcomes import Outcome
from redrush.dependency import Unanswered
from redrush.gate.group.guesses import Guesses
from redrush.gate.group.together import AT_ONCE_MAX, WAITING_MAX, Together, Told
from redrush.gate.lanes import AskedPot, Parked
from redrush.gate.queries import LateAnswers
from redrush.gate.round_counts import RoundCounts
from redrush.gate.rush.live_packet import LivePacket
from redrush.gate.rush.packet_answers import PacketAnswers
from redrush.gate.rush.packet_grants import PacketGrantWriter
from redrush.gate.rush.packet_homes import PacketHome, home_among, place_of
from redrush.http import answers
from redrush.http.route import Waiter
from redrush.ports.audience import Followers
from redrush.ports.packets import BookFailed
from redrush.ports.store import Claimed, ClaimResult, History, PotState, StoreUnavailable

LIVE_MAX: Final = 131_072
"""Packets that are live at a gate, 600 bytes each; beyond it those that woke longest ago sleep again."""

LATE_MAX: Final = 4_096
"""Batches at once with grabs that found nothing left, and wait to hear why."""

LOOKED_US: Final = 200_000
"""How old what is known of winners at other gates may be."""


class Found(msgspec.Struct, frozen=True, gc=False):
    """A packet that is paid, and how much of it is left."""

    packet: Packet
    state: PotState


class _Losers:
    """Claimants of one batch that found nothing left, as one who waits to hear why."""

    __slots__ = ("_waiters",)

    address = b""

    def __init__(self, waiters: Sequence[Waiter]) -> None:
        self._waiters = waiters

    @property
    def waiting(self) -> bool:
        """Whether an answer would still be sent to any of them."""
        return any(waiter.waiting for waiter in self._waiters)

    def send(self, answer: bytes) -> None:
        """Send it to all of them."""
        for waiter in self._waiters:
            waiter.send(answer)


Find = Callable[[PacketHome, Sequence[str]], Awaitable[Sequence[Found | BookFailed | None]]]
"""Finds packets of a home by their ids; None: there is none such, or it is not paid; BookFailed: it cannot be read, or
may be paid (PerhapsPaid). Raises BookFailed and what stores raise."""

Woken = LivePacket | BookFailed | None
"""A packet that was to be woken; None: there is none such, or it is not paid; BookFailed: it cannot be read."""


class GroupPackets:
    """All packets of a campaign, at one gate. Not thread-safe: it lives on the event loop."""

    def __init__(
        self,
        campaign: Campaign,
        receipts: KeyRing,
        homes: Sequence[PacketHome],
        find: Find,
        followers: Followers | None,
        now_us: Callable[[], int],
    ) -> None:
        """`homes` are the sets that packets are at home in, in an order that never changes."""
        self.counts = RoundCounts()
        self.wrong_words = 0
        self.limited = 0
        self.now_us = now_us
        self.clock_in_doubt = False
        self.guesses = Guesses(lambda: now_us() / 1e6)
        self.late = LateAnswers(LATE_MAX, lambda _fault: answers.SET_AWAY)
        """Answers to grabs that found nothing left, until it is known why."""
        self.live: dict[str, LivePacket] = {}
        """By the names of their pots: a grab then meets one text of a packet's name, and not two."""
        self.grants = PacketGrantWriter(campaign, receipts)
        self._receipts = receipts
        self._homes = tuple(homes)
        self._waking = [
            Together[str, Woken](partial(self._wake_each, home), at_once_max=AT_ONCE_MAX, waiting_max=WAITING_MAX)
            for home in homes
        ]
        """By home: what happens to a set costs the packets of the others nothing."""
        self._histories: dict[str, History] = {}
        self._find = find
        self._closed = False
        """Whether nothing is to stay live any more."""
        self._followers = followers
        self.answers = PacketAnswers(self.grants, now_us)

    # -- packets

    def home_of(self, packet: str) -> PacketHome:
        """Return the set that a packet is at home in."""
        return home_among(self._homes, packet)

    async def wake(self, packet: str) -> LivePacket | None:
        """Return the packet, live; None if there is none such, or it is not paid. Raises BookFailed and what stores
        raise."""
        live = self.live.get(POT_PREFIX + packet)
        if live is not None:
            return live
        woken = await self._waking[place_of(packet, len(self._waking))].do(packet)
        if isinstance(woken, Unanswered):
            raise _too_many()
        if isinstance(woken, BookFailed):
            raise woken
        return woken

    def wake_for(self, packet: str, asking: Told[Woken]) -> None:
        """Wake the packet for somebody who hears of it without a task of their own, and of what `wake` raises."""
        waking = self._waking[place_of(packet, len(self._waking))]
        if waking.full:
            asking.set_exception(_too_many())
        else:
            waking.add(packet, asking)

    async def _wake_each(self, home: PacketHome, packets: Sequence[str]) -> list[Woken]:
        woken: dict[str, Woken] = {packet: self.live.get(POT_PREFIX + packet) for packet in packets}
        asleep = [packet for packet, live in woken.items() if live is None]
        for packet, found in zip(asleep, await self._find(home, asleep) if asleep else (), strict=True):
            # Perhaps it was woken by somebody else meanwhile.
            live = self.live.get(POT_PREFIX + packet)
            woken[packet] = live or (self._woken(home, found) if isinstance(found, Found) else found)
        return [woken[packet] for packet in packets]

    def _woken(self, home: PacketHome, found: Found) -> LivePacket:
        packet, store = found.packet, home.store
        watched = store.watch(packet.pot)
        live = LivePacket(
            watched.pot, home.lane, self, watched.known, store.knows_all, packet.amounts, packet.closes_us,
            packet.word is None and not packet.named and packet.whom is For.EVERYBODY, packet, home,
        )  # fmt: skip
        self._saw(live, found.state)
        while len(self.live) >= LIVE_MAX:
            self._let_sleep(next(iter(self.live)))
        if self._closed:
            store.forget(live.id)
        else:
            self.live[live.id] = live
        return live

    def _saw(self, live: LivePacket, state: PotState) -> None:
        live.sold_out = state.claimed_ever >= live.packet.count
        live.ended = not state.left and not live.sold_out

    def _let_sleep(self, pot: str) -> None:
        self.live.pop(pot).home.store.forget(pot)

    def close(self) -> None:
        """Let all packets go, also those that are about to wake. What is parked is decided all the same."""
        self._closed = True
        for pot in list(self.live):
            self._let_sleep(pot)

    def renew(self) -> None:
        """Let answers carry this second's date, and know nothing more of the packets of a set that was made anew. Every
        second."""
        self.answers.renew()
        for home in self._homes:
            try:
                history = home.store.history()
            except StoreUnavailable:
                continue
            if self._histories.setdefault(home.lane.set, history) != history:
                self._histories[home.lane.set] = history
                for pot in [name for name, live in self.live.items() if live.home is home]:
                    self._let_sleep(pot)

    def is_known(self, live: LivePacket, *, winners: bool = False) -> bool:
        """Whether a grab of the packet can be answered by what is known here; `winners`: and who has what of it."""
        if live.complete:
            return True
        now_us = self.now_us()
        return not (winners or live.over(now_us)) or 0 <= now_us - live.looked_us < LOOKED_US

    async def look(self, live: LivePacket) -> None:
        """Learn who has which share, from the set; all who ask meanwhile wait for one answer. Raises what stores raise;
        where the set does not have the packet any more it sleeps."""
        if live.looking is None:
            live.looking = asyncio.create_task(self._look(live))
        await asyncio.shield(live.looking)

    async def _look(self, live: LivePacket) -> None:
        pot, store, began_us = live.id, live.home.store, self.now_us()
        try:
            state = await store.state(pot)
            granted = await store.granted(pot)
        except KeyError as fault:  # the set may have been made anew between the two
            if self.live.get(pot) is live:
                self._let_sleep(pot)
            raise StoreUnavailable(f"the set of packet {live.packet.id} does not have it") from fault
        finally:
            live.looking = None  # what it came to leads back to the packet
        if self.live.get(pot) is not live:
            live.known = granted  # it sleeps since, so its store keeps nothing for it any more
        self._saw(live, state)
        live.looked_us = began_us
        live.complete = not state.left

    def ended(self, packet: str) -> None:
        """What was left of the packet went back: nobody gets anything of it any more."""
        live = self.live.get(POT_PREFIX + packet)
        if live is not None:
            live.ended = True

    # -- grabs

    def grab(self, live: LivePacket, waiter: Waiter, user: str, word: str | None, *, may: bool = True) -> bytes | None:
        """Answer a grab of a packet that `is_known` at once, or park it (None).

        The order of the checks is the order of certainty: what a user has stays theirs; then time; then whether they
        `may`, as far as somebody else knows it, and by what the packet says; then whether anything is left."""
        lane = live.lane
        known = live.known.get(user)
        if known is not None:
            if lane.undecided(live, user):
                return lane.park(waiter, user, live, self.now_us())
            self.counts.repeat += 1
            return self.answers.granted(live.id, live.amounts, user, known)
        now_us = self.now_us()
        if self.clock_in_doubt:
            return self.forbidden(now_us)
        if live.ended or now_us >= live.closes_us:  # as `closed` says
            return self._lost(live, now_us)
        if not live.for_all:
            packet = live.packet
            if not may or (packet.named and user not in packet.named):
                self.counts.not_eligible += 1
                return self.answers.said(Outcome.NOT_ELIGIBLE)
            if packet.word is not None and (refused := self._wrong(packet, waiter, user, word)) is not None:
                return refused
        if live.sold_out:
            return self._lost(live, now_us)
        if lane.valve.shedding and (refusal := lane.valve.refuses(user)) is not None:
            return refusal
        return lane.park(waiter, user, live, now_us)

    def _wrong(self, packet: Packet, waiter: Waiter, user: str, word: str | None) -> bytes | None:
        """Return why the word does not let the user in; None: it does."""
        address = waiter.address
        if not self.guesses.may_guess(user, address, packet.id):
            self.limited += 1
            return self.answers.said(Outcome.LIMIT)
        assert packet.word is not None
        if word is not None and is_word(word, packet.id, self._receipts, packet.word):
            return None
        self.wrong_words += 1
        if word is not None:
            self.guesses.was_wrong(user, address, packet.id)
        return self.answers.said(Outcome.WRONG_WORD)

    def may(self, live: LivePacket, user: str) -> bool | None:
        """Return whether the user may grab, as far as somebody else knows it; None: they have to be asked."""
        if live.for_all:
            return True
        packet = live.packet
        if packet.whom is not For.FOLLOWERS or user in live.known:
            return True
        return False if self._followers is None else self._followers.knows(packet.sender, user)

    async def ask_whether(self, live: LivePacket, user: str) -> bool:
        """Return whether the user follows the sender. Raises RedrushError if that cannot be found out."""
        assert self._followers is not None
        return await self._followers.follows(live.packet.sender, user)

    def winners(self, live: LivePacket) -> Mapping[str, Claimed]:
        """Return who has which share, as far as it is known here, and durable."""
        undecided = live.lane.undecided
        return {user: claimed for user, claimed in live.known.items() if not undecided(live, user)}

    def _lost(self, live: LivePacket, now_us: int) -> bytes:
        """Return what is said of a packet to whoever gets nothing of it: all winners are known here."""
        if live.closed(now_us):
            self.counts.closed += 1
            return self.answers.said(Outcome.CLOSED)
        self.counts.empty += 1
        return self.answers.said(Outcome.EMPTY)

    # -- the desk of their lanes

    @property
    def refills(self) -> int:
        """Nothing is ever given to a packet."""
        return 0

    def grants_at(self, pots: Sequence[AskedPot], now_us: int) -> tuple[int | None, int]:
        """See `redrush.gate.lanes.Desk`. Whoever is parked came before the deadline."""
        if self.clock_in_doubt:
            return None, len(pots)
        closes_us = [live.closes_us for live in cast("Sequence[LivePacket]", pots)]
        if now_us < min(closes_us):
            return now_us, len(pots)
        instants = [min(now_us, instant_us - 1) for instant_us in closes_us]
        return instants[0], next((place for place, at_us in enumerate(instants) if at_us != instants[0]), len(pots))

    def forbidden(self, now_us: int) -> bytes:
        """See `redrush.gate.lanes.Desk`."""
        self.counts.clock_in_doubt += 1
        return answers.CLOCK_IN_DOUBT

    def answered(self, claims: Sequence[Parked], results: Sequence[ClaimResult], refills: int) -> None:
        """See `redrush.gate.lanes.Desk`."""
        counts, granted, now_us = self.counts, self.answers.granted, self.now_us()
        counts.batches += 1
        new = 0
        unsure: dict[LivePacket, list[Waiter]] = {}
        theirs = cast("Sequence[tuple[str, Waiter, LivePacket, str]]", claims)
        for (user, waiter, live, _), result in zip(theirs, results, strict=True):
            if isinstance(result, Claimed):
                if result.repeat:
                    counts.repeat += 1
                else:
                    new += 1
                waiter.send(granted(live.id, live.amounts, user, result))
            elif live.complete:
                live.sold_out |= not live.closed(now_us)
                waiter.send(self._lost(live, now_us))
            else:
                unsure.setdefault(live, []).append(waiter)
        counts.granted += new
        for live, waiters in unsure.items():  # the sender may have ended it elsewhere
            live.looked_us = 0
            losers = _Losers(waiters)
            if (refusal := self.late.promise(losers, self._tell_lost(live, waiters))) is not None:
                losers.send(refusal)

    async def _tell_lost(self, live: LivePacket, waiters: Sequence[Waiter]) -> None:
        await self.look(live)
        for waiter in waiters:
            waiter.send(self._lost(live, self.now_us()))


def _too_many() -> BookFailed:
    return BookFailed("too many packets are looked for at once")
