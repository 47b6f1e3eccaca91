"""The auditor of a waiting room finds what is wrong, and nothing where nothing is."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrush.drill.drills import play_drill
from redrush.drill.line_audit import AROUND, CLAIM, ENTER, JOIN, Heard, Public, audit_line

KEY = "5f" * 32
COMMITMENT = hashlib.blake2b(bytes.fromhex(KEY), person=b"redrush.line.key", digest_size=32).hexdigest()
OPENS_US = 1_800_000_000_000_000
PACE = 2
S = 1_000_000
DIED_US = OPENS_US - S // 2


def drawn(user: str) -> int:
    text = hashlib.blake2b(user.encode(), key=bytes.fromhex(KEY), person=b"redrush.line", digest_size=8).digest()
    return int.from_bytes(text, "big") >> 24


class Event:
    """Eight people at two a second, the first six in drawn order, who all go in and get a packet."""

    def __init__(self) -> None:
        early = sorted((f"u{number}" for number in range(6)), key=drawn)
        self.heard: list[Heard] = []
        self.rows: list[dict[str, Any]] = []
        places = {user: drawn(user) for user in early} | {f"late{n}": OPENS_US + n * S for n in range(2)}
        self.public = [Public(OPENS_US - S, -1, COMMITMENT, None)]
        for number, (user, place) in enumerate(places.items()):
            joined_us = OPENS_US - S if place < 1 << 40 else place
            in_us = OPENS_US + (number + 4) * S // PACE
            self.say(user, JOIN, joined_us, "in_line", place=place)
            self.say(user, ENTER, in_us, "admitted", place=place)
            self.say(user, CLAIM, in_us, "granted", grant={"id": f"g{number}"})
            self.rows.append({"grant": f"g{number}", "user": user, "slot": number})
            self.public.append(Public(in_us, place, COMMITMENT, None))
        self.public.append(Public(OPENS_US + 30 * S, OPENS_US + 10 * S, COMMITMENT, KEY))

    def say(self, user: str, what: str, at_us: int, outcome: str, status: int = 200, **more: Any) -> None:
        self.heard.append(
            Heard(
                user=user, what=what, sent_us=at_us - 9, asked_us=at_us - 9, heard_us=at_us + 9, status=status,
                outcome=outcome, **more,
            )
        )  # fmt: skip

    def change(self, of: str, **changes: Any) -> None:
        """Change the last answer of such an outcome."""
        at = max(number for number, one in enumerate(self.heard) if one.outcome == of)
        self.heard[at] = msgspec.structs.replace(self.heard[at], **changes)

    def broken(self) -> set[str]:
        verdicts = audit_line(self.heard, self.public, self.rows, OPENS_US, DIED_US, 8, PACE)
        return {one.name for one in verdicts if not one.holds}


def crowd(event: Event) -> None:
    for number in range(20):
        event.say(f"x{number}", ENTER, OPENS_US + 9 * S, "admitted", place=1)
        event.say(f"x{number}", CLAIM, OPENS_US + 9 * S, "empty")


def pushed(event: Event) -> None:
    event.say("late1", ENTER, OPENS_US + S, "admitted", place=OPENS_US + S)


PLANTED: dict[str, tuple[Callable[[Event], object], str]] = {
    "a grant that is not written down": (lambda event: event.rows.pop(), "lost"),
    "a slot twice": (lambda event: event.rows[0].update(slot=1), "oversold"),
    "a slot that there is not": (lambda event: event.rows[0].update(slot=8), "oversold"),
    "another key than was promised": (
        lambda event: event.public.append(Public(OPENS_US + 31 * S, OPENS_US + 10 * S, COMMITMENT, "00" * 32)),
        "the key",
    ),
    "a place that was not drawn": (lambda event: event.say("u9", JOIN, OPENS_US - S, "in_line", place=7), "places"),
    "a late comer among the drawn": (
        lambda event: event.say("u9", JOIN, OPENS_US + S, "in_line", place=drawn("u9")),
        "places",
    ),
    "an instant that is not theirs": (lambda event: event.change("in_line", place=OPENS_US + 7 * S), "places"),
    "two places for one": (lambda event: event.say("late1", JOIN, OPENS_US + 2 * S, "in_line", place=OPENS_US + 2 * S),
                           "places"),
    "in before their turn": (pushed, "turns"),
    "in before the opening": (lambda event: event.say("u0", ENTER, OPENS_US - S, "admitted", place=0), "turns"),
    "told to wait at their turn": (
        lambda event: event.say("u0", ENTER, OPENS_US + 20 * S, "waiting", place=5, serving=5),
        "turns",
    ),
    "a line that goes back": (
        lambda event: event.public.append(Public(OPENS_US + 31 * S, OPENS_US, COMMITMENT, KEY)),
        "never back",
    ),
    "a crowd at once": (crowd, "pace"),
    "a packet for who came around": (
        lambda event: event.say("x", AROUND, OPENS_US + S, "granted", grant={"id": "g1"}),
        "through the line",
    ),
    "a claim that is not sent to the line": (
        lambda event: event.say("x", AROUND, OPENS_US + S, "missed"),
        "through the line",
    ),
    "in, and never told an end": (lambda event: event.change("granted", outcome="missed"), "an end"),
}  # fmt: skip


def test_a_sound_line_is_found_sound() -> None:
    event = Event()
    event.public.insert(1, Public(DIED_US - 9, 1, COMMITMENT, None))  # a moment further than was written down
    event.say("x", AROUND, OPENS_US + S, "", status=409)
    event.say("u0", ENTER, OPENS_US, "waiting", place=drawn("u0"), serving=-1)
    assert event.broken() == set()


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_wrong_is_found(name: str) -> None:
    plant, found = PLANTED[name]
    event = Event()
    plant(event)
    assert found in event.broken()


@pytest.mark.soak
def test_the_drill_of_a_line_holds_over_a_kill_in_the_middle(tmp_path: Path) -> None:
    report = play_drill("line", tmp_path, lambda _line: None, short=True)
    assert report.passed, report.verdicts
    assert report.figures["let_in"]
