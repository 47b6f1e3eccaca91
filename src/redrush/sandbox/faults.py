"""What the sandbox does wrong, and how often: a share of each occasion, drawn by a seed."""

import random
from collections import Counter
from typing import Final

CALLS: Final = {
    "request_lost": "the connection is cut before anything is done",
    "error_before": "500 before anything is done",
    "refused": "429 before anything is done",
    "refused_after": "429 with Retry-After: 1 before anything is done",
    "answer_lost": "it is done, and the connection is cut",
    "error_after": "it is done, and 500 is answered",
    "unsigned": "it is done, and the answer has no signature",
    "wrong_signature": "it is done, and the answer was changed after it was signed",
    "unknown_key": "it is done, and the answer is signed with a key that nobody knows",
    "drips": "it is done, and the answer comes byte by byte, one a second",
    "clock_off": "it is done, and the answer is dated ten minutes off",
}
NOTICES: Final = {
    "notice_never": "it is not sent",
    "notice_twice": "it is sent twice",
    "notice_20": "it is sent twenty times",
    "notice_late": "it is sent after 25 hours",
    "notice_early": "it is sent before the call is answered that it is about",
    "notices_swapped": "an older one, of a state that is over, comes after it",
    "notice_amount": "it says a minor unit more than is true",
    "notice_reserialised": "its body was written anew after it was signed",
    "notice_forged": "it is signed with a key that nobody knows",
    "notice_foreign": "it is for another merchant",
    "notice_probe": "a message with a wrong signature comes with it, to see whether anybody checks",
}
MONEY: Final = {
    "paid_during_close": "somebody pays just before it is closed",
    "paid_after_close": "somebody pays what was closed, and the money is taken: a notice says so, for nobody would ask",
    "transfer_fails": "a transfer that was accepted does not arrive",
    "slow": "a transfer or refund takes two seconds",
}
BILLS: Final = {
    "bill_missing": "one line of the daily bill is missing",
    "bill_extra": "one line too many is in the daily bill",
}
SHOP: Final = {
    "shop_refuses": "the shop refuses an order, for good",
    "shop_down": "the shop answers 503, and has nothing",
    "shop_answer_lost": "the shop has the order, and the connection is cut",
}
PEOPLE: Final = {
    "pays": "somebody pays what is open",
    "confirms": "the receiver confirms, and at the last moment in half of the cases",
}
ALL: Final = CALLS | NOTICES | MONEY | BILLS | SHOP | PEOPLE
"""What each is, by its name."""


class Faults:
    """How often what happens. Nothing, unless it is set."""

    def __init__(self, seed: int) -> None:
        self.shares = dict.fromkeys(ALL, 0.0)
        self.happened: Counter[str] = Counter()
        self._draw = random.Random(seed)  # noqa: S311 - a game that can be replayed

    def set(self, shares: dict[str, float]) -> None:
        """Let these happen so often from now on. ValueError for a name or a share that is none."""
        for name, share in shares.items():
            if name not in ALL:
                raise ValueError(f"there is no fault {name!r}; there are {', '.join(ALL)}")
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is a share from 0 to 1")
        self.shares |= shares

    def happens(self, name: str) -> bool:
        """Whether it happens this time."""
        share = self.shares[name]
        if share <= 0 or self._draw.random() >= share:
            return False
        self.happened[name] += 1
        return True

    def one_of(self, names: dict[str, str]) -> str | None:
        """Return which of these happens this time, one at the most."""
        return next((name for name in names if self.happens(name)), None)

    def uniform(self) -> float:
        """Return a number from 0 to 1."""
        return self._draw.random()
