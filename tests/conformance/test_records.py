"""What every adapter of `redrush.ports.records` must do. A new adapter joins by one entry in `ADAPTERS`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from redrush.core.money.ledger import GrantRule, HoldRule, Posting
from redrush.core.rush.campaign import Slots
from redrush.ports.records import (
    Balance,
    Change,
    GrantRun,
    Posted,
    RecordedGrant,
    Records,
    RecordsConflict,
    RecordsFailed,
    ScatteredGrants,
    Totals,
)
from redrush.ports.store import Confirmed, Given, Grant, Opened, Released, Scattered
from redrush.records.postgres import PostgresRecords
from redrush.records.sqlite import SqliteRecords
from tests.conftest import Databases

Opener = Callable[[], Records]
"""Opens the same records each time: what an earlier one kept, the next one finds."""


def sqlite_records(request: pytest.FixtureRequest) -> Opener:
    directory: Path = request.getfixturevalue("tmp_path")
    return lambda: SqliteRecords.open_path(directory / "records.db")


def postgres_records(request: pytest.FixtureRequest) -> Opener:
    databases: Databases = request.getfixturevalue("databases")
    dsn = databases.fresh()
    return lambda: PostgresRecords(dsn, "s1")


ADAPTERS: dict[str, Callable[[pytest.FixtureRequest], Opener]] = {
    "sqlite": sqlite_records,
    "postgres": postgres_records,
}


@pytest.fixture(params=list(ADAPTERS.values()), ids=list(ADAPTERS))
def opener(request: pytest.FixtureRequest) -> Opener:
    adapter: Callable[[pytest.FixtureRequest], Opener] = request.param
    return adapter(request)


@pytest.fixture
def records(opener: Opener) -> Iterator[Records]:
    opened = opener()
    yield opened
    opened.close()


def funding(seq: int, round_id: str = "r1", amount_minor: int = 1000) -> Posted:
    posting = Posting(f"fund:{round_id}", "sponsor", f"round:{round_id}", amount_minor, 5)
    return Posted(record=Opened(seq, round_id, Slots(0, 50)), campaign="c", postings=(posting,))


def unposted(seq: int) -> Posted:
    return Posted(record=Opened(seq, "$returned", Slots(0, 0)), campaign="c", postings=())


def run(
    seq: int, first_slot: int, users: Sequence[str], amounts_minor: Sequence[int], round_id: str = "r1"
) -> GrantRun:
    return GrantRun(
        seq=seq,
        campaign="c",
        pot=round_id,
        first_slot=first_slot,
        at_us=seq * 10,
        users=users,
        amounts_minor=amounts_minor,
        rule=GrantRule(f"grant:c-{round_id}-", f"round:{round_id}", "user:"),
    )


def everything(records: Records, users: Sequence[str] = ("ann", "bob", "cy")) -> tuple[object, ...]:
    accounts = ("sponsor", "round:r1", "round:r2", "transit", *(f"user:{user}" for user in users))
    return (
        records.cursor(),
        records.totals(),
        [records.balance("c", account) for account in accounts],
        [records.grants_of(user) for user in users],
    )


def test_new_records_are_empty(records: Records) -> None:
    assert records.cursor() == 0
    assert records.totals() == Totals(0, 0, 0, 0, 0)
    assert records.grants_of("ann") == []
    assert records.balance("c", "user:ann") == Balance(0, 0)


def test_a_run_is_granted_posted_and_added_up(records: Records) -> None:
    assert records.apply([funding(1), run(2, 7, ["ann", "bob"], [30, 12])]) == 2
    assert records.cursor() == 2
    assert records.grants_of("bob") == [RecordedGrant(8, "r1", "bob", 12, 20, "c")]
    assert records.balance("c", "user:ann") == Balance(0, 30)
    assert records.balance("c", "round:r1") == Balance(42, 1000)
    assert records.balance("c", "round:r1").net_minor == 958
    assert records.balance("c", "sponsor").net_minor == -1000
    assert records.totals() == Totals(2, 42, 3, 1042, 1042)


def test_a_user_owns_the_sum_of_the_grants_of_all_rounds(records: Records) -> None:
    records.apply([run(1, 0, ["ann", "bob"], [5, 6]), run(2, 9, ["ann"], [7], "r2"), run(4, 2, ["cy"], [1])])
    records.apply([run(5, 3, ["ann"], [2], "r3")])
    assert [grant.slot for grant in records.grants_of("ann")] == [0, 3, 9]
    assert records.balance("c", "user:ann") == Balance(0, 14)


def test_user_ids_come_back_as_they_were(records: Records) -> None:
    odd = ["张伟", 'a"b\\c', "ann\nbob", "0", "null", "🧧", " ", "user:ann", "1e3"]
    records.apply([run(1, 0, odd, list(range(1, len(odd) + 1)))])
    for slot, user in enumerate(odd):
        assert records.grants_of(user) == [RecordedGrant(slot, "r1", user, slot + 1, 10, "c")]
        assert records.balance("c", f"user:{user}") == Balance(0, slot + 1)


def test_amounts_up_to_the_largest_stay_exact(records: Records) -> None:
    records.apply([run(1, 0, ["ann", "bob"], [10**15, 10**15 - 1])])
    assert records.balance("c", "user:ann") == Balance(0, 10**15)
    assert records.totals().granted_minor == 2 * 10**15 - 1


def test_a_change_at_or_below_the_cursor_is_skipped(records: Records) -> None:
    changes: list[Change] = [funding(1), run(2, 0, ["ann"], [10])]
    records.apply(changes)
    before = everything(records)
    assert records.apply(changes) == 2
    assert everything(records) == before
    assert records.apply([*changes, run(3, 1, ["bob"], [20])]) == 3
    assert records.totals().grants == 2


def test_a_record_without_postings_moves_the_cursor(records: Records) -> None:
    assert records.apply([unposted(9)]) == 9
    assert records.cursor() == 9
    assert records.totals().postings == 0


def test_nothing_to_apply_changes_nothing(records: Records) -> None:
    records.apply([funding(1)])
    assert records.apply([]) == 1


@pytest.mark.parametrize("seqs", [(2, 1), (1, 1)])
def test_changes_out_of_order_are_a_programming_error(records: Records, seqs: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="order"):
        records.apply([unposted(seq) for seq in seqs])
    assert records.cursor() == 0


@pytest.mark.parametrize(
    "contradiction",
    [
        run(4, 0, ["cy"], [10]),
        run(4, 1, ["bob"], [20]),
        funding(4),
        run(4, 5, ["cy"], [0]),
        run(4, 5, ["cy"], [-3]),
        Posted(
            record=Given(4, "$returned", (Slots(40, 1),), "x"),
            campaign="c",
            postings=(Posting("give:x", "transit", "sponsor", 0, None),),
        ),
    ],
    ids=["slot again", "same grant under another seq", "posting again", "worth nothing", "negative", "empty posting"],
)
def test_a_contradiction_is_refused_with_its_whole_batch(records: Records, contradiction: Change) -> None:
    records.apply([funding(1), run(2, 0, ["ann", "bob"], [10, 20])])
    before = everything(records)
    with pytest.raises(RecordsConflict):
        records.apply([run(3, 2, ["cy"], [30]), contradiction])
    assert everything(records) == before
    records.apply([run(3, 2, ["cy"], [30])])
    assert records.balance("c", "user:cy") == Balance(0, 30)


def test_everything_is_found_again_after_closing(opener: Opener) -> None:
    first = opener()
    first.apply([funding(1), run(2, 0, ["ann", "bob"], [10, 20])])
    before = everything(first)
    first.close()
    second = opener()
    assert everything(second) == before
    second.close()


def test_two_recorders_of_one_log_record_it_once(opener: Opener) -> None:
    one, other = opener(), opener()
    changes: list[Change] = [funding(1), run(2, 0, ["ann"], [10]), run(3, 1, ["bob"], [20])]
    one.apply(changes[:2])
    other.apply(changes)
    one.apply(changes)
    assert everything(one) == everything(other)
    assert one.totals() == Totals(2, 30, 3, 1030, 1030)
    one.close()
    other.close()


def test_closed_records_fail(records: Records) -> None:
    records.close()
    with pytest.raises(RecordsFailed):
        records.cursor()
    with pytest.raises(RecordsFailed):
        records.apply([funding(1)])


def scattered(seq: int, *grants: Grant, worth: int = 10) -> ScatteredGrants:
    rules = {grant.pot: GrantRule(f"grant:c-{grant.pot}-", f"round:{grant.pot}", "user:") for grant in grants}
    holds = [
        HoldRule("c", grant.pot).held(grant.slot, grant.number, worth, seq * 10) for grant in grants if grant.number
    ]
    return ScatteredGrants(
        record=Scattered(seq, grants, seq * 10),
        campaign="c",
        amounts_minor=[worth] * len(grants),
        rules=rules,
        postings=tuple(holds),
    )


def confirmed(seq: int, hold: Grant, worth: int = 10) -> Posted:
    posting = HoldRule("c", hold.pot).confirmed(hold.slot, hold.number, hold.user, worth, seq * 10)
    return Posted(record=Confirmed(seq, (hold,), seq * 10), campaign="c", postings=(posting,))


def released(seq: int, hold: Grant, worth: int = 10) -> Posted:
    posting = HoldRule("c", hold.pot).released(hold.slot, hold.number, worth, seq * 10)
    return Posted(record=Released(seq, (hold,), seq * 10), campaign="c", postings=(posting,))


def test_single_grants_of_many_pots_are_recorded_as_runs_are(records: Records) -> None:
    odd = Grant("p2", 'a"\\\tb', 7, "again\n")
    records.apply([scattered(1, Grant("p1", "ann", 0), odd, Grant("p1", "bob", 1)), run(2, 2, ["cy"], [10], "p1")])
    assert records.grants_of(odd.user) == [RecordedGrant(7, "p2", odd.user, 10, 10, "c")]
    assert records.balance("c", "round:p1") == Balance(30, 0)
    assert records.balance("c", "user:bob") == Balance(0, 10)
    assert records.totals() == Totals(4, 40, 4, 40, 40)


def test_a_user_may_have_several_slots_of_a_pot_by_requests_of_their_own(records: Records) -> None:
    records.apply([scattered(1, Grant("p1", "ann", 0, "a"), Grant("p1", "ann", 1, "b"))])
    assert [grant.slot for grant in records.grants_of("ann")] == [0, 1]
    assert records.balance("c", "user:ann") == Balance(0, 20)


HOLD = Grant("p1", "ann", 3, "", 1, 5_000)


def test_what_is_held_is_promised_and_nobodys_until_it_is_confirmed(records: Records) -> None:
    records.apply([scattered(1, HOLD)])
    assert records.grants_of("ann") == [RecordedGrant(3, "p1", "ann", 10, 10, "c", 5_000)]
    assert [records.balance("c", account).net_minor for account in ("round:p1", "held:p1", "user:ann")] == [-10, 10, 0]
    records.apply([confirmed(2, HOLD)])
    assert records.grants_of("ann") == [RecordedGrant(3, "p1", "ann", 10, 10, "c", None)]
    assert [records.balance("c", account).net_minor for account in ("round:p1", "held:p1", "user:ann")] == [-10, 0, 10]
    assert records.totals() == Totals(1, 10, 2, 20, 20)


def test_a_released_slot_is_recorded_for_whoever_has_it_next_within_one_batch_too(records: Records) -> None:
    again = Grant("p1", "bob", 3, "", 2, 6_000)
    records.apply([scattered(1, HOLD), released(2, HOLD), scattered(3, again), confirmed(4, again)])
    assert records.grants_of("ann") == []
    assert records.grants_of("bob") == [RecordedGrant(3, "p1", "bob", 10, 30, "c", None)]
    accounts = ("round:p1", "held:p1", "user:ann", "user:bob")
    assert [records.balance("c", account).net_minor for account in accounts] == [-10, 0, 0, 10]
    assert records.totals().grants == 1


@pytest.mark.parametrize("end", [confirmed, released])
def test_the_end_of_a_hold_that_is_not_recorded_is_refused_with_its_whole_batch(
    records: Records, end: Callable[[int, Grant], Posted]
) -> None:
    records.apply([scattered(1, HOLD)])
    before = everything(records)
    for other in (Grant("p1", "ann", 3, "", 2, 5_000), Grant("p9", "ann", 3, "", 1, 5_000)):
        with pytest.raises(RecordsConflict, match="hold"):
            records.apply([run(2, 9, ["cy"], [1]), end(3, other)])
    assert everything(records) == before


def test_holds_are_found_by_their_deadline_until_they_end(records: Records) -> None:
    holds = [Grant("p1", f"u{slot}", slot, "x" * slot, slot + 1, 5_000 - slot) for slot in range(4)]
    records.apply([scattered(1, *holds, Grant("p2", "ann", 0))])
    assert records.holds_due("c", 4_996, 0, 10) == []
    assert records.holds_due("c", 4_999, 0, 10) == [holds[3], holds[2], holds[1]]
    assert records.holds_due("c", 9_999, 1, 2) == [holds[2], holds[1]]
    assert records.holds_due("other", 9_999, 0, 10) == []
    records.apply([confirmed(2, holds[3]), released(3, holds[1])])
    assert records.holds_due("c", 9_999, 0, 10) == [holds[2], holds[0]]


def moneyless_run(seq: int, first_slot: int, users: Sequence[str], holds: Sequence[str | None]) -> GrantRun:
    return GrantRun(
        seq=seq,
        campaign="c",
        pot="r1",
        first_slot=first_slot,
        at_us=seq * 10,
        users=users,
        amounts_minor=[0 if held else 7 for held in holds],
        holds=holds,
        rule=GrantRule("grant:c-r1-", "round:r1", "user:"),
    )


def test_what_holds_no_money_is_granted_without_a_posting(records: Records) -> None:
    odd = "item:A\t1\\N"
    records.apply([moneyless_run(1, 0, ["ann", "bo\tb", "cy"], ["code:4", odd, None])])
    assert records.grants_of("ann") == [RecordedGrant(0, "r1", "ann", 0, 10, "c", None, "code:4")]
    assert records.grants_of("bo\tb") == [RecordedGrant(1, "r1", "bo\tb", 0, 10, "c", None, odd)]
    assert records.grants_of("cy") == [RecordedGrant(2, "r1", "cy", 7, 10, "c")]
    assert records.balance("c", "user:ann") == Balance(0, 0)
    assert records.totals() == Totals(3, 7, 1, 7, 7)


def test_a_hold_of_what_is_no_money_is_confirmed_or_released_without_a_posting(records: Records) -> None:
    one, other = (Grant("r1", user, slot, "", slot + 1, 99) for slot, user in enumerate(("ann", "bob")))
    rule = GrantRule("grant:c-r1-", "round:r1", "user:")
    records.apply(
        [
            ScatteredGrants(
                record=Scattered(1, (one, other), 10),
                campaign="c",
                amounts_minor=[0, 0],
                holds=["unit", "unit"],
                rules={"r1": rule},
                postings=(),
            )
        ]
    )
    assert records.grants_of("ann") == [RecordedGrant(0, "r1", "ann", 0, 10, "c", 99, "unit")]
    records.apply(
        [
            Posted(record=Confirmed(2, (one,), 20), campaign="c", postings=()),
            Posted(record=Released(3, (other,), 30), campaign="c", postings=()),
        ]
    )
    assert records.grants_of("ann") == [RecordedGrant(0, "r1", "ann", 0, 10, "c", None, "unit")]
    assert records.grants_of("bob") == []
    assert records.totals() == Totals(1, 0, 0, 0, 0)
