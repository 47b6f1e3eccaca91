"""Plays as a draw's gate handles them: how a request names one, one that is parked, and which were played here."""

import json
from collections.abc import Callable
from typing import Final

from redrush.gate.rush.stock import UNDECIDED_US
from redrush.http import answers
from redrush.http.route import Fixed, Route, StandIn, Waiter

PLAYERS_REMEMBERED_MAX: Final = 262_144
"""People of a round whose played numbers are remembered, some 40 MB; beyond it begins anew: a repeat is then told what
it comes to once more."""

BODIES_REMEMBERED_MAX: Final = 4_096
"""Bodies whose meaning is remembered: clients write a number in a few ways."""

NO_PLAY: Final = Fixed(answers.problem(400, '"play" must be the number of a play, from 1 on, or be left out'))


class Play(StandIn):
    """A play that is parked: whoever waits for it, its number, and for which prize it asks."""

    __slots__ = ("number", "play", "unplayed")

    def __init__(self, waiter: Waiter, play: int, number: int, unplayed: Callable[[], None] | None = None) -> None:
        """`unplayed`: what to do where nothing was decided, for a play of what is released."""
        super().__init__(waiter)
        self.play = play
        self.number = number
        self.unplayed = unplayed

    def send(self, answer: bytes) -> None:
        """See `redrush.http.route.Waiter`. It is a refusal: what was decided is told to the waiter itself."""
        if self.unplayed is not None:
            self.unplayed()
        self.waiter.send(answer)


class PlayedHere:
    """Which numbers of the window were played at this gate, and which of these are under way for a released slot."""

    __slots__ = ("_played", "_under_way", "first")

    def __init__(self) -> None:
        self.first = 1
        """The first number of the window."""
        self._played: dict[str, int] = {}
        """By user, a bit for each number of the window."""
        self._under_way: dict[tuple[str, int], int] = {}
        """When it was sent."""

    def begin(self, first: int) -> None:
        """Begin a window, with this first number."""
        if first != self.first:
            self.first = first
            self._played.clear()

    def following(self, user: str) -> int:
        """Return the least number that the user has not played here."""
        played = self._played.get(user, 0)
        return self.first + (~played & (played + 1)).bit_length() - 1

    def note(self, user: str, play: int) -> bool:
        """Remember that the number was played; return whether it is the first time."""
        played, bit = self._played.get(user, 0), 1 << max(0, play - self.first)
        if played & bit:
            return False
        if len(self._played) >= PLAYERS_REMEMBERED_MAX:
            self._played.clear()
        self._played[user] = played | bit
        return True

    def is_under_way(self, user: str, play: int, now_us: int) -> bool:
        """Whether the play was sent a moment ago and is not decided: however often it is asked, it is one."""
        return now_us - self._under_way.get((user, play), -UNDECIDED_US) < UNDECIDED_US

    def sent(self, user: str, play: int, now_us: int) -> Callable[[], None]:
        """The play is under way; return what to call if nothing is decided: the number has not been played then."""
        if len(self._under_way) >= PLAYERS_REMEMBERED_MAX:
            self._under_way.clear()
        self._under_way[user, play] = now_us
        first = self.first

        def unplayed() -> None:
            self.decided(user, play)
            if first == self.first and user in self._played:
                self._played[user] &= ~(1 << (play - first))

        return unplayed

    def decided(self, user: str, play: int) -> None:
        """The play is not under way any more."""
        self._under_way.pop((user, play), None)


class _Numbered:
    """The route of a play whose number the client has said."""

    __slots__ = ("_play", "_serve")

    def __init__(self, serve: Callable[[Waiter, str, int], bytes | None], play: int) -> None:
        self._serve = serve
        self._play = play

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Play this number."""
        return self._serve(waiter, user, self._play)


class PlayRoutes:
    """Which route a request's body asks for: a number's, or that of whoever says none."""

    __slots__ = ("_known", "_serve", "_unnumbered")

    def __init__(self, unnumbered: Route, serve: Callable[[Waiter, str, int], bytes | None]) -> None:
        self._unnumbered = unnumbered
        self._serve = serve
        self._known: dict[bytes, Route] = {}

    def of(self, body: bytes) -> Route:
        """Return the route for this body, which is a JSON object or nothing."""
        route = self._known.get(body)
        if route is None:
            route = self._read(body)
            if len(self._known) >= BODIES_REMEMBERED_MAX:
                self._known.clear()
            self._known[body] = route
        return route

    def _read(self, body: bytes) -> Route:
        play = json.loads(body).get("play") if body else None
        if play is None:
            return self._unnumbered
        return _Numbered(self._serve, play) if type(play) is int and play >= 1 else NO_PLAY
