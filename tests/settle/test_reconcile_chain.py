"""The fingerprint that reconciliation derives is the one that the engine continues, and whatever differs is told."""

from collections.abc import Sequence

from redrush.core.rush.campaign import Slots
from redrush.ports.log_rows import Row, chain_over, granted_row, row_of, users_text
from redrush.ports.store import Given, Granted, LogRecord, Opened, Taken
from redrush.settle.reconcile.chain import LogEnd, Mark, check_losses, followed
from redrush.settle.reconcile.report import Problems

LOG: tuple[LogRecord, ...] = (
    Opened(1, "r1", Slots(0, 10)),
    Granted(2, "r1", 0, ("a/b", 'q"', "名\x7f"), 1_800_000_000_000_000),
    Taken(3, "r1", (Slots(8, 2),), "t1"),
    Given(4, "r1", (Slots(8, 2),), "t1"),
)


def _rows(records: Sequence[LogRecord]) -> list[Row]:
    return [
        granted_row(record, users_text(record.users)) if isinstance(record, Granted) else row_of(record)
        for record in records
    ]


def _told(rows: Sequence[Row], *marks: Mark) -> list[str]:
    problems = Problems()
    assert list(followed("s1", rows, marks, problems)) == list(rows)
    return problems.told


def test_a_log_that_is_as_it_was_noted_is_fine() -> None:
    marks = [Mark(seq, chain_over("", LOG[:seq]), "somebody") for seq in range(len(LOG) + 1)]
    assert _told(_rows(LOG), *marks) == []


def test_a_log_that_was_cut_or_changed_is_told() -> None:
    end = Mark(4, chain_over("", LOG), "the recorder")
    cut = _told(_rows(LOG[:3]), end)
    assert cut == ["set s1: its log ends at record 3, and the recorder noted it up to record 4"]
    other = (LOG[0], Granted(2, "r1", 0, ("a", "b", "c"), 1), *LOG[2:])
    changed = _told(_rows(other), end)
    assert changed == ["set s1: its log up to record 4 is not the one that the recorder noted"]


def test_what_a_set_went_on_without_is_told_until_as_much_was_honoured() -> None:
    problems = Problems()
    check_losses("s1", LogEnd(4, "", 5, 5), problems)
    assert not problems.told
    check_losses("s1", LogEnd(4, "", 5, 3, written_off=2), problems)
    assert not problems.count
    check_losses("s1", LogEnd(4, "", 5, 4), problems)
    assert "went on without 5 grants that were acknowledged, 4 of them" in problems.told[0]


def test_what_nobody_knows_of_is_told_until_an_operator_says_that_winners_were_heard() -> None:
    problems = Problems()
    check_losses("s1", LogEnd(4, "", 0, 0, True), problems)
    assert problems.count == 1
    assert "`redrush set honour --none --why …`" in problems.told[0]
