"""The auditor of a draw finds each kind of wrong that is planted; and the drill is played, with its kill, in `soak`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redrush.drill.draw_audit import SealedDraw, Told, audit_draw
from redrush.drill.drills import play_drill

SEALED = {
    "seed": "07" * 32,
    "campaign": {
        "rounds": [
            {
                "id": "draw",
                "slots": [0, 60],
                "opens_us": 0,
                "closes_us": 60_000_000,
                "draw": {
                    "prizes": [
                        {"id": "red", "count": 50, "odds": [1, 2]},
                        {"id": "phone", "count": 5, "spread": True},
                        {"id": "cup", "count": 5},
                    ]
                },
            }
        ]
    },
}
Row = dict[str, Any]


def grant(prize: str, slot: int) -> dict[str, Any]:
    return {"id": f"c-draw.{prize}-{slot}", "prize": prize, "slot": slot}


def row(user: str, prize: str, slot: int, second: int = 59) -> Row:
    granted_at = f"1970-01-01T00:00:{second:02}.999999Z"
    return {"grant": f"c-draw.{prize}-{slot}", "user": user, "prize": prize, "slot": slot, "granted_at": granted_at}


@pytest.fixture(name="sealed")
def sealed_draw(tmp_path: Path) -> SealedDraw:
    (tmp_path / "campaign.json").write_text(json.dumps(SEALED))
    return SealedDraw(tmp_path, "draw")


def sound(sealed: SealedDraw) -> tuple[list[Told], list[Row]]:
    """Return answers to the first plays of twenty people, as they must be, and what is written down of them."""
    told, rows = [], []
    for number in range(20):
        user, slot = f"u{number}", number
        hit = sealed.prize_of(user, 1)
        told.append(Told(user, 1, 0, None if hit is None else grant(hit, slot)))
        if hit is not None:
            rows.append(row(user, hit, slot))
    return told, rows


def broken(sealed: SealedDraw, plant: Callable[[list[Told], list[Row]], None]) -> list[str]:
    told, rows = sound(sealed)
    plant(told, rows)
    return [one.name for one in audit_draw(told, rows, sealed) if not one.holds]


def test_a_sound_draw_is_found_sound(sealed: SealedDraw) -> None:
    assert broken(sealed, lambda _told, _rows: None) == []


Answers = list[Told]
Rows = list[Row]


def not_written(_told: Answers, rows: Rows) -> None:
    rows.pop()


def too_many(_told: Answers, rows: Rows) -> None:
    rows.extend(row(f"x{number}", "cup", 100 + number) for number in range(6))


def a_slot_twice(_told: Answers, rows: Rows) -> None:
    rows.append(rows[0] | {"grant": "another", "user": "x"})


def too_many_of_one(_told: Answers, rows: Rows) -> None:
    rows.extend(row("x", "cup", 100 + number) for number in range(2))


def two_prizes(told: Answers, rows: Rows) -> None:
    told += [Told(told[0].user, 9, 0, grant("cup", 70)), Told(told[0].user, 9, 0, grant("cup", 71))]
    rows += [row(told[0].user, "cup", 70), row("y", "cup", 71)]


def a_miss_that_won(told: Answers, rows: Rows) -> None:
    user = next(one.user for one in told if one.grant is None)
    told.append(Told(user, 1, 0, grant("red", 80)))
    rows.append(row(user, "red", 80))


def too_early(_told: Answers, rows: Rows) -> None:
    rows.append(row("x", "phone", 90, second=0))


PLANTED: dict[str, tuple[Callable[[Answers, Rows], None], str]] = {
    "a grant that is not written down": (not_written, "lost"),
    "more than the stock": (too_many, "oversold"),
    "a slot twice": (a_slot_twice, "oversold"),
    "more than a person may have": (too_many_of_one, "limits"),
    "a play with two prizes": (two_prizes, "one prize a play"),
    "a miss that was told a prize": (a_miss_that_won, "lots"),
    "a prize before its release": (too_early, "release"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_wrong_is_found(name: str, sealed: SealedDraw) -> None:
    plant, found = PLANTED[name]
    assert found in broken(sealed, plant)


@pytest.mark.soak
def test_the_drill_of_a_draw_holds_over_a_kill_in_the_middle(tmp_path: Path) -> None:
    report = play_drill("draw", tmp_path, lambda _line: None, short=True)
    assert report.passed, report.verdicts
    assert report.figures["plays_answered"]
