"""Slots as runs of consecutive ones: put together, and with holes."""

from collections.abc import Iterable, Sequence

from redrush.core.rush.campaign import Slots


def runs_of(slots: Sequence[int]) -> tuple[Slots, ...]:
    """Return the slots as runs, in their order."""
    runs: list[Slots] = []
    for slot in slots:
        if runs and runs[-1].end == slot:
            runs[-1] = Slots(runs[-1].first, runs[-1].count + 1)
        else:
            runs.append(Slots(slot, 1))
    return tuple(runs)


def without(runs: Iterable[Slots], gone: Iterable[Slots]) -> list[Slots]:
    """Return the runs without the slots of others, each of which lies in one or several of them."""
    kept = list(runs)
    for hole in gone:
        cut: list[Slots] = []
        for run in kept:
            before = Slots(run.first, min(run.end, hole.first) - run.first)
            after = Slots(max(run.first, hole.end), run.end - max(run.first, hole.end))
            if hole.first >= run.end or hole.end <= run.first:
                cut.append(run)
            else:
                cut += [part for part in (before, after) if part.count > 0]
        kept = cut
    return kept
