"""What people look up of one event while it runs: pages of grants, and one user's story, with its records."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Self

import msgspec

from redrush.config import DeploymentFile
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event
from redrush.control.keys import load_keys
from redrush.core.identity.receipts import ReceiptSigner
from redrush.core.money.currency import format_amount
from redrush.core.money.ledger import SPONSOR, TRANSIT, held_account, pot_account
from redrush.core.rush.campaign import grant_id
from redrush.core.rush.instants import rfc3339
from redrush.ports.bill_book import ACCOUNTS_MAX
from redrush.ports.grant_pages import PAGE_MAX, GrantPages, GrantShown, LedgerPage, LedgerPart, PostingShown
from redrush.ports.records import Balance
from redrush.records.sqlite.looking import SqlitePages

SLOT_MAX: Final = 1 << 62
"""No database has a greater number."""
SLOT_DIGITS_MAX: Final = 18
USERS: Final = "user:*"
"""All accounts of users together."""


class GrantTold(msgspec.Struct, frozen=True, kw_only=True):
    """A grant, for people."""

    grant: str
    pot: str
    slot: int
    user: str
    amount: str
    currency: str
    holds: str | None
    granted_at: str
    until: str | None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to a grant, with the raw record of it."""

    at: str | None
    what: str
    about: str
    raw: dict[str, object]


class PostingTold(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the ledger, for people."""

    id: str
    debit_account: str
    credit_account: str
    amount: str
    currency: str
    at: str | None

    @classmethod
    def of(cls, one: PostingShown, currency: str) -> "PostingTold":
        """Return it."""
        return cls(
            id=one.id,
            debit_account=one.debit_account,
            credit_account=one.credit_account,
            amount=format_amount(one.amount_minor, currency),
            currency=currency,
            at=None if one.at_us is None else rfc3339(one.at_us),
        )


class AccountTold(msgspec.Struct, frozen=True, kw_only=True):
    """An account, with what went out of it and came into it in all, as text with all places of the currency."""

    book: Literal["records", "bills"]
    """What was won stands in the records, and what left or came from elsewhere in the bill book."""
    account: str
    debits: str | None = None
    credits: str | None = None
    """None: of a sum of many accounts only the balance is known."""
    balance: str
    currency: str

    @classmethod
    def of(cls, book: Literal["records", "bills"], name: str, out_minor: int, in_minor: int, currency: str) -> Self:
        """Return it."""
        return cls(
            book=book,
            account=name,
            debits=format_amount(out_minor, currency),
            credits=format_amount(in_minor, currency),
            balance=format_amount(in_minor - out_minor, currency),
            currency=currency,
        )


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one user: grants, with their receipts signed anew, and every posting that they made."""

    user: str
    grants: list[GrantTold]
    receipts: dict[str, str]
    steps: list[Step]
    bills: list[dict[str, Any]] = []
    """What went to the user's wallet, came from it, and was given back, where there are payments."""


class Lookup:
    """One campaign's records, to be looked at. Calls block, and come one at a time."""

    def __init__(self, data_dir: DataDir, deployment: DeploymentFile | None) -> None:
        """Reads what is sealed; connects to nothing yet. ConfigError where no campaign is."""
        event = load_event(data_dir)
        self._campaign = event.sealed.campaign
        self._data_dir = data_dir
        self._pages = _pages_of(data_dir, deployment, self._campaign.id)

    def page(self, pots: Sequence[str], after: str, limit: int) -> tuple[list[GrantTold], str | None]:
        """Return up to `limit` grants of these pots after a place, "" for the beginning, and the place to go on from;
        None: there are no more. RedrushError if the records do not answer in time. ValueError for what is no place."""
        found: list[GrantShown] = []
        pot, _, slot = after.rpartition(":")
        start = pots.index(pot) if pot else 0
        last = int(slot) if slot else -1
        if last > SLOT_MAX:
            raise ValueError(f"no pot has a slot {last}")
        for name in pots[start:]:
            found += self._pages.page(name, last, limit + 1 - len(found))
            last = -1
            if len(found) > limit:
                end = found[limit - 1]
                return [self._told(one) for one in found[:limit]], f"{end.pot}:{end.slot}"
        return [self._told(one) for one in found], None

    @property
    def campaign(self) -> str:
        """The id of the campaign."""
        return self._campaign.id

    def pots(self) -> list[str]:
        """Return the names of the campaign's pots, in order."""
        return [pot.id for pot in self._campaign.pots]

    def story(self, user: str) -> Story:
        """Return what became of a user. RedrushError if the records do not answer in time."""
        grants = self._pages.of_user(user, PAGE_MAX)
        ids = [f"{verb}:{self._id(one)}" for one in grants for verb in ("grant", "hold", "confirm", "release")]
        postings = self._pages.postings(user, ids)
        keys = load_keys(self._data_dir).receipts
        steps = [_granted(one) for one in grants] + [_posted(one) for one in postings]
        receipts = {}
        for one in grants:
            signer = ReceiptSigner(keys, self._campaign.id, one.pot, self._campaign.currency)
            receipts[self._id(one)] = (
                signer.sign(one.slot, one.amount_minor, one.user, one.at_us)
                if one.holds is None
                else signer.sign_holding(one.slot, one.holds, one.user, one.at_us)
            )
        return Story(
            user=user,
            grants=[self._told(one) for one in grants],
            receipts=receipts,
            steps=sorted(steps, key=lambda step: step.at or ""),
        )

    def user_of(self, grant: str) -> str | None:
        """Return whose a grant is, by its id; None if it is nobody's. RedrushError as `story`."""
        for pot in self.pots():
            prefix = f"{self._campaign.id}-{pot}-"
            slot = grant.removeprefix(prefix)
            if grant.startswith(prefix) and slot.isdecimal() and len(slot) <= SLOT_DIGITS_MAX:
                found = self._pages.page(pot, int(slot) - 1, 1)
                return found[0].user if found and found[0].slot == int(slot) else None
        return None

    def balances(self) -> list[AccountTold]:
        """Return what went through each account of the campaign that is no user's. RedrushError as `story`."""
        names = [SPONSOR, TRANSIT, *(account(pot) for pot in self.pots() for account in (pot_account, held_account))]
        found = self._pages.balances(names)
        return [
            AccountTold.of("records", name, out, into, self._campaign.currency) for name, (out, into) in found.items()
        ]

    def moved(self, accounts: Mapping[str, Balance]) -> list[AccountTold]:
        """Return the accounts of the campaign in the bill book, for people, and what its users have there in all."""
        currency = self._campaign.currency
        told = [
            AccountTold.of("bills", name, one.debits_minor, one.credits_minor, currency)
            for name, one in accounts.items()
        ]
        if not told or len(told) >= ACCOUNTS_MAX:
            return told
        users_minor = -sum(one.net_minor for one in accounts.values())  # all accounts together come to nought
        users = AccountTold(
            book="bills", account=USERS, balance=format_amount(users_minor, currency), currency=currency
        )
        return [*told, users]

    def ledger(self, part: LedgerPart, after: str, limit: int) -> tuple[list[PostingTold], str | None]:
        """Return up to `limit` postings of a part after an id, "" for the beginning, and the id to go on from; None:
        there are no more. Plain grants are in none of them: the list of grants has theirs. RedrushError as `story`."""
        return self.told(self._pages.ledger(part, after, limit))

    def told(self, found: LedgerPage) -> tuple[list[PostingTold], str | None]:
        """Return postings of the campaign, of whichever book, for people, and the id to go on from."""
        return [PostingTold.of(one, self._campaign.currency) for one in found.postings], found.following

    def granted(self) -> tuple[str, dict[str, int]]:
        """Return the campaign's currency, and what was granted of each pot in all, minor units, as far as that is
        recorded. Reads sums. RedrushError as `story`."""
        return self._campaign.currency, self._pages.granted(self.pots())

    def close(self) -> None:
        """Let go of the records."""
        self._pages.close()

    def _text(self, amount_minor: int) -> str:
        return format_amount(amount_minor, self._campaign.currency)

    def _id(self, one: GrantShown) -> str:
        return grant_id(self._campaign.id, one.pot, one.slot)

    def _told(self, one: GrantShown) -> GrantTold:
        return GrantTold(
            grant=self._id(one),
            pot=one.pot,
            slot=one.slot,
            user=one.user,
            amount=self._text(one.amount_minor),
            currency=self._campaign.currency,
            holds=one.holds,
            granted_at=rfc3339(one.at_us),
            until=None if one.until_us is None else rfc3339(one.until_us),
        )


def _pages_of(data_dir: DataDir, deployment: DeploymentFile | None, campaign: str) -> GrantPages:
    if deployment is None:
        return SqlitePages(data_dir.records, campaign)
    from redrush.records.postgres.looking import PostgresPages  # noqa: PLC0415 - one machine has no PostgreSQL client

    return PostgresPages(deployment.sets[0].records.read(), campaign)


def _granted(one: GrantShown) -> Step:
    raw: dict[str, object] = msgspec.to_builtins(one)
    return Step(at=rfc3339(one.at_us), what="granted", about=f"{one.pot} slot {one.slot}", raw=raw)


def _posted(one: PostingShown) -> Step:
    raw: dict[str, object] = msgspec.to_builtins(one)
    at = None if one.at_us is None else rfc3339(one.at_us)
    return Step(at=at, what="posted", about=f"{one.debit_account} → {one.credit_account}", raw=raw)
