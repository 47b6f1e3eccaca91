"""The order of a line, computed again after the event: from the key of its places, and the list of who stood in it.

Nothing of a gate is used here but the function that draws a place, which is published: whoever has the key and the list
finds the same order, with a dozen lines of their own (docs/how-to/waiting-room.md has them).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from redrush.control.data_dir import DataDir
from redrush.control.line_files import LineFiles, read_list
from redrush.control.sealing import load_sealed
from redrush.core.rush.line import START, Order, commitment, drawn_place, in_order, line_key
from redrush.errors import ConfigError

PROBLEMS_MAX = 20
"""Problems that are told one by one."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found about a list."""

    people: int
    early: int
    """Those of them whose place was drawn."""
    problems: list[str]
    """The first of them, a sentence each; none if every place is right."""
    wrong: int


def line_of(data_dir: DataDir, round_id: str | None) -> tuple[str, bytes, Order]:
    """Return the round of the directory that has a line, with the key and the order of its places. ConfigError if there
    is none, or several and none is named."""
    sealed = load_sealed(data_dir)
    lines = {round_.id: round_.line for round_ in sealed.campaign.rounds if round_.line is not None}
    if not lines:
        raise ConfigError(f"{data_dir.root}: no round of the campaign has a line ([round.line] in its file)")
    if round_id is None and len(lines) == 1:
        round_id = next(iter(lines))
    if round_id is None or round_id not in lines:
        raise ConfigError(f"{data_dir.root}: say which line with --round: {', '.join(lines)}")
    return round_id, line_key(sealed.seed, round_id), lines[round_id].order


def order_of(data_dir: DataDir, round_id: str) -> list[tuple[str, int]]:
    """Return users with their places, in the order in which they go in; each user's last place counts. ConfigError for
    a list that cannot be read."""
    return in_order([(user, place) for user, place in _last(LineFiles(data_dir).given(round_id)).items()])


def verify(given: Iterable[tuple[int, str]], key: bytes, where: str) -> Verdict:
    """Return whether every drawn place of a list is that of its user, and the others are in order of coming; `where` is
    the list's name, for sentences."""
    people: set[str] = set()
    problems: list[str] = []
    early = wrong = last = 0
    for number, (place, user) in enumerate(given, 1):
        people.add(user)
        problem = None
        if place < START:
            early += 1
            if (drawn := drawn_place(key, user)) != place:
                problem = f'{where}:{number}: the place of "{user}" is {place}, and the key draws {drawn}'
        elif place <= last:
            problem = f'{where}:{number}: "{user}" came later than who stands before, and has an earlier place, {place}'
        last = place if place >= START else last
        if problem is not None:
            wrong += 1
            problems += [problem][: PROBLEMS_MAX - len(problems)]
    return Verdict(people=len(people), early=early, problems=problems, wrong=wrong)


def published_key(text: str, promised: str | None) -> bytes:
    """Return the key that was published as hex. ConfigError if it is none, or not the one that was promised: the
    commitment that the state of the round told before."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != len(line_key(b"", "")):
        raise ConfigError(f'--key: "{text[:80]}" is not a key: the state of the round tells it, 64 hex digits')
    if promised is not None and commitment(key) != promised:
        raise ConfigError(f"--commitment: the key is another one than was promised: that of it is {commitment(key)}")
    return key


def published_list(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the places and users of a list. ConfigError if it cannot be read."""
    if not path.exists():
        raise ConfigError(f"{path}: is not there; it is the line-ROUND.tsv of the event's directory")
    yield from read_list(path)


def _last(given: Iterable[tuple[int, str]]) -> dict[str, int]:
    return {user: place for place, user in given}
