"""How many claims may wait for a store: as many as it decides within a bounded time, learned from its batches.

A level (`redrush.core.load.levels`) is set from what was seen in a tenth of a second. In that time a crowd that is ten
times too large parks hundreds of claims more than the store can decide, and everybody behind them waits. So a limit
stands behind the level that learns from every single batch:

- A batch that took longer than the bound was too large, if the store is not simply slow. The next one is made as small
  as fits the bound; nobody is refused yet.
- If that one takes its time too, it was no hiccup: from now on no more may wait than one batch takes.
- A batch that fits the bound lets the next one grow, at most to the double; at its full size the limit is gone.
- A batch that took its time because of its claims tells what would fit. None is more than twice that, also while nobody
  is refused: or the first moment of a wave becomes one batch, and all behind it wait for that.

Some stores are just slow: a disk that takes 50 ms to sync takes them for one claim as for a thousand, and smaller
batches would only strangle it. How long batches of a few claims take is therefore the least bound there is. If no such
batch was ever seen, slow ones shrink until they are that small, and tell: some tenths of a second, once.

Rejected: a fixed limit (right for one machine), a limit from claims per second (a calm store has never shown what it
can do), Vegas and gradient limits (they take the least time ever seen for the store's own, and drift under long load).
"""

from typing import Final

FEW: Final = 4
"""A batch of so few claims takes what the store takes at least, nearly."""

USUAL_SHARE: Final = 1 / 8
"""Weight of a new small batch in what they take usually."""

GROWN: Final = 2.0
"""A batch that took this many times as long as a few claims take was slow because of its claims."""

AHEAD: Final = 2
"""No batch is more than this many times as large as the last one lets fit the bound, whoever waits: the crowd of the
first moment of a wave becomes one batch otherwise, and that takes as long as the store is short of time."""

LONG_SHARE: Final = 0.7
"""Of its bound: what a batch takes at least that was made to fit it, before a store that is short of time."""

USUAL_SHARE_IN_DOUBT: Final = 1 / 2
"""The same when batches cannot become smaller: either the store has become slow for good, or it is sent a few at most
for nothing."""

BOUND_OF_USUAL: Final = 2.0
"""No bound is below twice what a batch of a few claims takes."""


class Room:
    """See the module. One per lane; pure. Times are microseconds."""

    __slots__ = ("_batch_claims_max", "_limited", "_suspected", "batch_max", "usual_us")

    def __init__(self, batch_claims_max: int) -> None:
        """No batch is ever larger than `batch_claims_max`."""
        self._batch_claims_max = batch_claims_max
        self._limited = False
        self._suspected = False
        self.batch_max = batch_claims_max
        """Claims that the next batch may have."""
        self.usual_us = 0.0
        """What a batch of a few claims takes; 0 before there was one."""

    @property
    def waiting_max(self) -> int | None:
        """Claims that may wait behind the batch under way; None: as many as there are places."""
        return self.batch_max if self._limited else None

    @property
    def suspected(self) -> bool:
        """Whether a batch was slow, and the next one has to tell whether that was a hiccup."""
        return self._suspected

    def learn(self, claims: int, took_us: int, bound_us: float, *, calm: bool, next_one: bool = True) -> None:
        """Learn that a batch of `claims` claims took `took_us`; `bound_us` is how long a batch should take at most.
        `calm`: nobody is refused by a level now, so few claims mean that few come. `next_one`: it began after the room
        was last suspected; one that was under way in the same hiccup is no second witness of it."""
        if claims <= FEW:
            share = USUAL_SHARE if self.batch_max > FEW else USUAL_SHARE_IN_DOUBT
            self.usual_us += (took_us - self.usual_us) * (share if self.usual_us else 1.0)
        bound_us = max(bound_us, BOUND_OF_USUAL * self.usual_us)
        self._suspect(claims, took_us / bound_us, next_one=next_one)
        if claims > FEW and took_us > GROWN * self.usual_us > 0:  # it grows with the claims, so it tells of larger ones
            self.batch_max = min(self.batch_max, max(FEW, AHEAD * int(claims * bound_us / took_us)))
        if took_us > bound_us:
            self.batch_max = max(FEW, min(self.batch_max, int(claims * bound_us / took_us)))
            return
        if claims >= self.batch_max // 2:
            fits = int(claims * bound_us / took_us) if took_us > 0 else 2 * self.batch_max
            self.batch_max = max(self.batch_max, min(fits, 2 * claims))
        elif calm:  # whether more would fit can only be found out by letting more in
            self.batch_max += self.batch_max // 4 + 1
        if self.batch_max >= self._batch_claims_max:
            self.batch_max = self._batch_claims_max
            self._limited = False

    def _suspect(self, claims: int, of_bound: float, *, next_one: bool) -> None:
        """Tell a store that is short of time from a hiccup, by the smaller batch that follows a slow one."""
        if not self._suspected:
            self._suspected = of_bound > 1
        elif not next_one:
            return
        elif of_bound < LONG_SHARE:
            self._suspected = False
        elif claims > FEW:  # a few claims may just take what the store takes at least
            self._limited = True
