"""A rush that is a draw: plays of one round, from the ticket to the answer.

A miss is answered at once: it is a function of user and play number (`redrush.core.rush.draw`), and needs nobody's
memory. A hit asks the pot of its prize, under the number of the play, so that a play is granted once however often it
is repeated, by whichever gate; where the prize is gone, or the user has as many as one may, it falls to the prize that
is named for that, and else misses.

What is *released* (spread over the round, or at a pace) goes to whoever plays next, so there the answer depends on when
a play is made. A number counts for such a prize once: this gate remembers which numbers were played here, a bounded
time and for a bounded number of people, and the store which of them have won. Somebody who spreads the same number over
several gates, or over a restart, has as many tries for a slot that was released meanwhile, and no more; nothing goes
beyond its stock, or to one user beyond the limit, by that. Between several gates the count of what is granted lags by
up to a second, so a slot may then leave that much before its instant.
"""

from collections.abc import Container, Iterator, Sequence
from typing import Any

from redrush.core.rush.campaign import Round
from redrush.core.rush.draw import Lots, Window, window_at
from redrush.core.rush.instants import rfc3339
from redrush.core.rush.outcomes import Outcome
from redrush.dependency import Unanswered
from redrush.gate.knowledge.knowledge import Knowledge
from redrush.gate.lanes import Parked
from redrush.gate.pots import SetPot
from redrush.gate.queries import refused
from redrush.gate.rush.granted import GrantedAnswers
from redrush.gate.rush.plays import Play, PlayedHere, PlayRoutes
from redrush.gate.rush.rush import Floor, Rush
from redrush.gate.rush.stock import Stock, told_of
from redrush.http import answers
from redrush.http.route import Route, Waiter
from redrush.ports.store import EARLY, EMPTY, LATE, Claimed, ClaimResult


class Draw(Rush):
    """The route of `POST /v1/rounds/{round}/grab` for a draw, where no number is said: then it is the next one that was
    not played here."""

    __slots__ = ("_lots", "_misses", "_played", "_routes", "_stocks", "_told", "_window")

    def __init__(
        self,
        parts: Sequence[Knowledge],
        floor: Floor,
        granted: Sequence[GrantedAnswers],
        audience: Container[str] | None,
        lots: Lots,
        currency: str,
    ) -> None:
        """`parts` and `granted` are by prize, in order."""
        super().__init__(parts[0], floor, granted[0], audience, parts[1:])
        terms = lots.terms
        places = {prize.id: number for number, prize in enumerate(terms.prizes)}
        self._lots = lots
        self._stocks = [
            Stock(number, prize, parts[number], granted[number], lots, places.get(prize.otherwise or ""))
            for number, prize in enumerate(terms.prizes)
        ]
        self._played = PlayedHere()
        self._window = Window(1, 0, 0)
        self._misses: dict[int, bytes] = {}
        self._routes = PlayRoutes(self, self.play)
        self._told = told_of(terms, lots.commitment, currency)
        """What the public state of the round says of prizes and odds."""

    def reads(self, body: bytes) -> Route:
        """Return the route for a request with this body, which is a JSON object or nothing."""
        return self._routes.of(body)

    # -- the order of checks

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Play the next number that was not played here."""
        return self.play(waiter, user, None)

    def play(self, waiter: Waiter, user: str, play: int | None) -> bytes | None:
        """Answer a play at once, or park it (None). First time, then whether they may, then whether they may still;
        then what the play has won before, what is released, and last its lot."""
        now_us = self._now_us()
        if now_us < self._opens_us:
            return self._before_play(waiter, user, play, now_us)
        if now_us >= self._closes_us:
            return self._after_the_end(waiter, user, play)
        if self._audience is not None and user not in self._audience:
            self.counts.not_eligible += 1
            return self._not_eligible
        window = self._window
        if now_us >= window.until_us:
            window = self._turn(now_us)
        if play is None:
            play = self._played.following(user)
        if not window.first <= play <= window.last:
            self.counts.limit += 1
            return self._limit()
        number, by_release = self._lots.way(user, play)
        if number is None:
            self._played.note(user, play)
            self.counts.missed += 1
            return self._misses.get(play) or self._miss(play)
        asked = [way for way in self._along(number) if self._may_have(way, user)]
        if asked:
            return self._queries.answer(waiter, self._found_or_decided(waiter, user, play, asked))
        return self._decide(waiter, user, play, number, by_release)

    def _before_play(self, waiter: Waiter, user: str, play: int | None, now_us: int) -> bytes | None:
        if self._removed:
            return answers.NOT_FOUND
        if self._awake:
            return self._not_yet(now_us)
        self._wake()
        return self.play(waiter, user, play)

    def _decide(self, waiter: Waiter, user: str, play: int, number: int, by_release: bool) -> bytes | None:
        """Answer a play that has won nothing as far as is known, and leads to this prize."""
        now_us = self._now_us()
        is_first = self._played.note(user, play)
        if not by_release:
            return self._go_on(waiter, user, play, number, now_us)
        if self._played.is_under_way(user, play, now_us):
            return self._ask(Play(waiter, play, number), user, now_us)
        # A number is played once, whatever is released later.
        if not is_first or not self._stocks[number].in_play(now_us):
            return self._missed_play(play)
        self._stocks[number].sent(now_us)
        return self._ask(Play(waiter, play, number, self._played.sent(user, play, now_us)), user, now_us)

    def _go_on(self, waiter: Waiter, user: str, play: int, number: int | None, now_us: int) -> bytes | None:
        """Ask for this prize, or for the first that is left of what follows it."""
        number = self._left(number)
        if number is None:
            return self._missed_play(play)
        return self._ask(Play(waiter, play, number), user, now_us)

    def _missed_play(self, play: int) -> bytes:
        self.counts.missed += 1
        return self._misses.get(play) or self._miss(play)

    def _left(self, number: int | None) -> int | None:
        """Return the first prize from this one on, along what follows it, that is not known to be gone; None: none."""
        while number is not None and self._stocks[number].knows.sold_out:
            number = self._stocks[number].following
        return number

    def _ask(self, asking: Play, user: str, now_us: int) -> bytes | None:
        """Park the play, unless the set's valve refuses it."""
        pot = self._home_of(asking.number, user)
        valve = pot.lane.valve
        refusal = valve.refuses(user) if valve.shedding else None
        if refusal is None:
            refusal = pot.lane.park(asking, user, pot, now_us, str(asking.play))
        if refusal is not None and asking.unplayed is not None:
            asking.unplayed()
            self._stocks[asking.number].decided()
        return refusal

    def _home_of(self, number: int, user: str) -> SetPot:
        return self._stocks[number].knows.home(user)

    # -- what a play has won before

    def _along(self, number: int | None) -> Iterator[int]:
        """Yield this prize, and those that follow it."""
        while number is not None:
            yield number
            number = self._stocks[number].following

    def _may_have(self, number: int, user: str) -> bool:
        """Whether the user may have won the prize, so that the play must be looked up before anything else is said of
        it: what is gone now may be what it got."""
        knows = self._stocks[number].knows
        return knows.may_have(user) or (knows.sold_out and not knows.home(user).complete)

    async def _found_or_decided(self, waiter: Waiter, user: str, play: int, asked: Sequence[int]) -> bytes | None:
        found = await self._find(user, play, asked)
        if found is not None:
            return found
        number, by_release = self._lots.way(user, play)
        assert number is not None
        return self._decide(waiter, user, play, number, by_release)

    async def _find(self, user: str, play: int, numbers: Sequence[int]) -> bytes | None:
        """Return the answer to a play that has won one of these prizes; None: it has not."""
        for number in numbers:
            claimed = await self._queries.claimed_by(self._home_of(number, user), user, str(play))
            if isinstance(claimed, Unanswered):
                return refused(claimed)
            if claimed is not None:
                self._wake()
                self.counts.repeat += 1
                return self._stocks[number].granted.of_play(user, claimed, play, self._left_after(play))
        return None

    def _after_the_end(self, waiter: Waiter, user: str, play: int | None) -> bytes | None:
        """Answer a play after the close: whoever repeats one that has won is told so."""
        if play is not None:
            asked = [number for number in self._along(self._lots.way(user, play)[0]) if self._may_have(number, user)]
            if asked:
                return self._queries.answer(self._floor.times.asks(waiter), self._found_or_closed(user, play, asked))
        self.counts.closed += 1
        return self._closed

    async def _found_or_closed(self, user: str, play: int, asked: Sequence[int]) -> bytes:
        found = await self._find(user, play, asked)
        self.later += 1
        if found is not None:
            return found
        self.counts.closed += 1
        self._wake()
        return self._closed

    async def grants_of(self, user: str) -> list[str] | Unanswered:
        """See `Rush.grants_of`: every play that may have won each prize is looked up."""
        if self._now_us() >= self._window.until_us:
            self._turn(min(self._now_us(), self.round.closes_us - 1))
        grants = []
        for stock in self._stocks:
            home = self._home_of(stock.number, user)
            if home.complete and not stock.knows.may_have(user):
                continue
            for play in range(1, self._window.last + 1):
                if stock.number not in self._along(self._lots.way(user, play)[0]):
                    continue
                claimed = await self._queries.claimed_by(home, user, str(play))
                if isinstance(claimed, Unanswered):
                    return claimed
                if claimed is not None:
                    grants.append(stock.granted.writer.write(user, claimed.slot, claimed.at_us))
        return grants

    def public_fields(self, now_us: int) -> dict[str, Any]:
        """See `Rush.public_fields`: what promotion rules ask for, and the numbers that count."""
        terms, window = self._lots.terms, self._window_told(now_us)
        limits = {"per_user": terms.per_user, "per_day": terms.per_day}
        plays = {"first": window.first, "last": window.last} | {k: v for k, v in limits.items() if v is not None}
        return self._told | {"plays": plays}

    def state_fields(self, now_us: int) -> dict[str, Any]:
        """See `Rush.state_fields`: the numbers that count, and when others will, in ms."""
        window = self._window_told(now_us)
        plays = {"first": window.first, "last": window.last}
        if window.until_us < self.round.closes_us:
            plays["next"] = window.until_us // 1_000
        return {"plays": plays}

    def plays_of(self, user: str) -> dict[str, int] | None:
        """See `Rush.plays_of`: by what was played here in this window."""
        self._window_told(self._now_us())
        following = self._played.following(user)
        return {"next": following, "left": self._left_after(following - 1)}

    def _window_told(self, now_us: int) -> Window:
        """Return the window of an instant; before the opening the first one, after the close the last."""
        if now_us >= self._window.until_us:
            opens_us, closes_us = self.round.opens_us, self.round.closes_us
            self._turn(max(opens_us, min(now_us, closes_us - 1)))
        return self._window

    # -- the window, and prebuilt answers

    def _turn(self, now_us: int) -> Window:
        """Begin the window that it is now."""
        round_ = self.round
        self._window = window_at(self._lots.terms, round_.opens_us, round_.closes_us, now_us)
        self._played.begin(self._window.first)
        self._misses.clear()
        return self._window

    def _left_after(self, play: int) -> int:
        return max(0, self._window.last - play)

    def _miss(self, play: int) -> bytes:
        advised_ms = self.advised_ms
        advice = {} if advised_ms is None else {"interval_ms": advised_ms}
        fields = {"outcome": Outcome.MISSED, "play": play, "plays_left": self._left_after(play)}
        self._misses[play] = answer = answers.json_answer(fields | advice, self._head)
        return answer

    def _ask_again(self, play: int) -> bytes:
        """Return the answer to a play that hit a prize of which the user's set has none for the moment."""
        fields = {"outcome": Outcome.MISSED, "play": play, "plays_left": self._left_after(play), "ask_again": True}
        return answers.json_answer(fields, self._head)

    def _limit(self) -> bytes:
        window = self._window
        fields: dict[str, object] = {"outcome": Outcome.LIMIT, "plays": {"first": window.first, "last": window.last}}
        if window.until_us < self.round.closes_us:
            fields["next_plays_at"] = rfc3339(window.until_us)
        return answers.json_answer(fields, self._head)

    def _renew(self, now_us: int) -> None:
        super()._renew(now_us)
        self._misses.clear()
        for stock in self._stocks:
            stock.granted.renew(self._head)

    def _sleep(self) -> None:
        super()._sleep()
        self._misses.clear()
        for stock in self._stocks:
            stock.granted.forget()

    def amend(self, round_: Round) -> None:
        """See `Rush.amend`."""
        super().amend(round_)
        self._window = Window(1, 0, 0)
        for stock in self._stocks:
            stock.amended()

    # -- the desk of its lanes

    def answered(self, claims: Sequence[Parked], results: Sequence[ClaimResult], refills: int) -> None:
        """See `redrush.gate.lanes.Desk`."""
        self._wake()
        counts = self.counts
        counts.batches += 1
        is_current = refills == self.refills
        for (user, asking, pot, _), result in zip(claims, results, strict=True):
            assert isinstance(asking, Play)
            stock = self._stocks[asking.number]
            is_new = isinstance(result, Claimed) and not result.repeat
            if is_new:
                stock.knows.won(user)
            if asking.unplayed is not None:
                stock.decided()
                self._played.decided(user, asking.play)
            if isinstance(result, Claimed):
                counts.granted += is_new
                counts.repeat += not is_new
                asking.waiter.send(stock.granted.of_play(user, result, asking.play, self._left_after(asking.play)))
            elif result is EARLY or result is LATE:
                asking.send(self._not_yet(self._now_us()) if result is EARLY else self._late_at_the_set())
            else:
                if result is EMPTY:
                    stock.knows.nothing_left(pot, stock.knows.refills if is_current else -1, self._now_us())
                answer = self._without(stock, asking, user, is_gone=result is not EMPTY or stock.knows.sold_out)
                if answer is not None:
                    asking.waiter.send(answer)

    def _without(self, stock: Stock, asking: Play, user: str, *, is_gone: bool) -> bytes | None:
        """Go on with a play that did not get what it asked for: to what follows, or to a miss. None: it is parked."""
        if not is_gone:
            self.counts.missed += 1
            return self._ask_again(asking.play)
        return self._go_on(asking.waiter, user, asking.play, stock.following, self._now_us())
