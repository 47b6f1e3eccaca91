"""Receipts that many winners show at once."""

import asyncio

import pytest

from redrush.core.identity.receipts import ReceiptSigner
from redrush.core.identity.tickets import KeyRing
from redrush.core.rush.campaign import Slots
from redrush.core.sets.division import Division, SetPlace
from redrush.ports.store import Claimed, Granted, PotTerms, StoreUnavailable, claims_of
from redrush.settle.honouring import LOOKED_UP_AT_ONCE, Honour, Honoured, Honouring
from redrush.stores.memory import MemoryStore
from tests.patience import PATIENCE_S
from tests.settle.event import campaign_of

AT_US = 1_800_000_000_000_000
KEYS = KeyRing(current="k", keys={"k": b"0" * 32})
COUNT = LOOKED_UP_AT_ONCE + 44


class Crowded(MemoryStore):
    """Answers nobody who looks a grant up before so many do."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for = LOOKED_UP_AT_ONCE
        self.enough = asyncio.Event()

    async def find(self, pot: str, user: str, request: str = "") -> Claimed | None:
        self.waited_for -= 1
        if not self.waited_for:
            self.enough.set()
        await self.enough.wait()
        return await super().find(pot, user, request)


async def test_receipts_are_looked_up_together_and_each_is_told_by_its_line() -> None:
    campaign, amounts = campaign_of(COUNT)
    signer = ReceiptSigner(KEYS, campaign.id, "r1", campaign.currency)
    store = Crowded()
    await store.open([PotTerms("r1", Slots(0, COUNT))])
    users = [f"u{number}" for number in range(COUNT)]
    # The last two were lost with the log; one of them shows it twice, in one breath.
    await store.claim(claims_of("r1", users[:-2]), AT_US)
    receipts = [signer.sign(slot, amounts[slot], user, AT_US) for slot, user in enumerate(users)]
    lines = ["", *receipts, receipts[-1], "no receipt"]
    entered: list[Granted] = []

    async def enter(set_id: str, grant: Granted) -> str | None:
        assert set_id == "s1"
        await store.claim(claims_of("r1", grant.users), AT_US)
        entered.append(grant)
        return None

    honouring = Honouring(campaign, amounts, KEYS, Division(campaign, [SetPlace("s1")]), {"s1": store}, enter)
    told: dict[int, Honoured] = {}
    async with asyncio.timeout(PATIENCE_S):
        await honouring.honour_all(lines, told.__setitem__)
    outcomes = [told[line].outcome for line in sorted(told)]
    assert sorted(told) == list(range(2, len(lines) + 1))
    assert outcomes == [Honour.KNOWN] * (COUNT - 2) + [Honour.ENTERED] * 2 + [Honour.KNOWN, Honour.NOT_OURS]
    assert [(grant.first_slot, grant.users) for grant in entered] == [
        (COUNT - 2, (users[-2],)),
        (COUNT - 1, (users[-1],)),
    ]


class PartlyAway(MemoryStore):
    """Cannot say what one user was granted."""

    async def find(self, pot: str, user: str, request: str = "") -> Claimed | None:
        if user == "u2":
            raise StoreUnavailable("it is away")
        return await super().find(pot, user, request)


async def test_whoever_shows_receipts_of_others_alone_has_not_let_the_winners_be_heard() -> None:
    campaign, amounts = campaign_of(2)
    ours = ReceiptSigner(KEYS, campaign.id, "r1", campaign.currency).sign(0, amounts[0], "u0", AT_US)
    foreign = ReceiptSigner(KEYS, "another", "r1", campaign.currency).sign(0, amounts[0], "u0", AT_US)
    store = MemoryStore()
    await store.open([PotTerms("r1", Slots(0, 2))])
    await store.claim(claims_of("r1", ["u0"]), AT_US)

    async def enter(_set_id: str, _grant: Granted) -> str | None:
        raise AssertionError("nothing was lost")

    honouring = Honouring(campaign, amounts, KEYS, Division(campaign, [SetPlace("s1")]), {"s1": store}, enter)
    told: dict[int, Honoured] = {}
    heard = [await honouring.honour_all(lines, told.__setitem__) for lines in ([foreign], [foreign, ours], [""])]
    assert heard == [False, True, True]
    assert [told[line].outcome for line in sorted(told)] == [Honour.NOT_OURS, Honour.KNOWN]


async def test_what_comes_before_a_set_that_is_away_is_told_and_what_comes_behind_it_is_not() -> None:
    campaign, amounts = campaign_of(4)
    signer = ReceiptSigner(KEYS, campaign.id, "r1", campaign.currency)
    store = PartlyAway()
    await store.open([PotTerms("r1", Slots(0, 4))])
    users = [f"u{number}" for number in range(4)]
    await store.claim(claims_of("r1", users), AT_US)
    receipts = [signer.sign(slot, amounts[slot], user, AT_US) for slot, user in enumerate(users)]

    async def enter(_set_id: str, _grant: Granted) -> str | None:
        raise AssertionError("nothing was lost")

    honouring = Honouring(campaign, amounts, KEYS, Division(campaign, [SetPlace("s1")]), {"s1": store}, enter)
    told: dict[int, Honoured] = {}
    with pytest.raises(StoreUnavailable, match="away"):
        await honouring.honour_all(receipts, told.__setitem__)
    assert [(line, told[line].outcome) for line in told] == [(1, Honour.KNOWN), (2, Honour.KNOWN)]
