import asyncio

import pytest

from redrush.core.identity.receipts import Receipt, verify_receipt
from redrush.core.identity.tickets import KeyRing
from redrush.core.money.ledger import LedgerFault
from redrush.core.rush.campaign import Slots
from redrush.core.rush.holding import Holds, Part, SlotTable, no_pots
from redrush.ports.store import Claim, LogRecord, PotTerms, claims_of
from redrush.settle.finding import find_user
from redrush.stores.memory import MemoryStore
from tests.settle.event import OPENS_US, campaign_of, open_pots

CAMPAIGN, AMOUNTS = campaign_of(4, 2)
KEYS = KeyRing("k1", {"k1": bytes(32)})


@pytest.fixture(scope="module")
def log() -> list[LogRecord]:
    async def fill() -> list[LogRecord]:
        store = MemoryStore()
        await open_pots(store, CAMPAIGN)
        await store.claim(claims_of("r1", ["bob", "alice", "Carol"]), OPENS_US + 7)
        await store.claim(claims_of("r2", ["alice"]), CAMPAIGN.rounds[1].opens_us)
        return await store.log(0, 100)

    return asyncio.run(fill())


def test_all_that_a_user_won_is_found_with_receipts_that_verify(log: list[LogRecord]) -> None:
    found = find_user(log, "alice", CAMPAIGN, AMOUNTS, KEYS, no_pots)
    assert [(grant.round, grant.slot, grant.amount) for grant in found.grants] == [("r1", 1, "0.02"), ("r2", 4, "0.05")]
    for grant in found.grants:
        receipt = verify_receipt(KEYS, grant.receipt)
        assert receipt is not None
        assert (receipt.user, receipt.slot, receipt.round) == ("alice", grant.slot, grant.round)
    assert "alice won 0.05 CNY in round r2" in found.lines()[3]


@pytest.mark.parametrize("asked", ["carol", " Carol", "Ｃarol"])
def test_an_id_that_only_looks_the_same_has_nothing_and_the_other_is_named(log: list[LogRecord], asked: str) -> None:
    found = find_user(log, asked, CAMPAIGN, AMOUNTS, KEYS, no_pots)
    assert (found.grants, found.similar, found.of) == ((), ("Carol",), 4)
    assert found.lines()[1].startswith('"Carol" has one')


def test_what_holds_no_money_is_told_and_stated_as_what_it_is() -> None:
    async def scenario() -> list[LogRecord]:
        store = MemoryStore()
        await open_pots(store, CAMPAIGN)
        await store.open([PotTerms("seats", Slots(0, 2), 2), PotTerms("packet:5f", Slots(0, 1))])
        await store.claim([Claim("r1", "alice"), Claim("seats", "alice"), Claim("packet:5f", "alice")], OPENS_US + 7)
        return await store.log(0, 100)

    log = asyncio.run(scenario())
    slots = SlotTable([0, *AMOUNTS[1:]], [Part(Slots(0, 1), Holds.CODE)])
    seats = SlotTable([0, 0], [Part(Slots(0, 2), Holds.ITEM, ("A-1", "A-2"))])
    shares = SlotTable([7], [])
    found = find_user(log, "alice", CAMPAIGN, slots, KEYS, {"seats": seats, "packet:5f": shares}.get)
    assert [(grant.round, grant.slot, grant.holds) for grant in found.grants] == [
        ("r1", 0, "code:0"),
        ("seats", 0, "item:A-1"),
        ("packet:5f", 0, None),
    ]
    assert [verify_receipt(KEYS, grant.receipt) for grant in found.grants] == [
        Receipt(CAMPAIGN.id, "r1", 0, 0, "", "alice", OPENS_US + 7, "code:0"),
        Receipt(CAMPAIGN.id, "seats", 0, 0, "", "alice", OPENS_US + 7, "item:A-1"),
        Receipt(CAMPAIGN.id, "packet:5f", 0, 7, "CNY", "alice", OPENS_US + 7, None),
    ]
    assert found.lines()[3].startswith("alice won item:A-1 in round seats at ")
    assert found.lines()[6].startswith("alice won 0.07 CNY in packet 5f at ")
    with pytest.raises(LedgerFault, match="seats"):
        find_user(log, "alice", CAMPAIGN, slots, KEYS, no_pots)


def test_nobody_is_named_for_a_user_who_has_nothing(log: list[LogRecord]) -> None:
    assert find_user(log, "dave", CAMPAIGN, AMOUNTS, KEYS, no_pots).lines() == [
        "dave has none of the 4 grants that were made"
    ]
