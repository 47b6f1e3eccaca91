"""What a participant may ask of their money: what is left, to have it paid, and what became of that.

Each is an operation as the sites serve them: fields and a user in, a status and fields out.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from redrush.core.money.currency import format_amount, parse_amount
from redrush.core.money.payout_terms import PayoutTerms
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.instants import rfc3339
from redrush.errors import RedrushError
from redrush.ports.bill_book import BillConflict, KeptBill, NewBill, NotCovered
from redrush.ports.cashier import Cashier
from redrush.settle.paying.payments import Payments

KEY_SIGNS_MAX: Final = 64
TO_SIGNS_MAX: Final = 128
PAYOUTS_SHOWN_MAX: Final = 100

Answered = tuple[int, dict[str, Any]]


class Purse:
    """Of one campaign. `recorded_seq` says up to which record of the log wins count; of several logs, how many do."""

    def __init__(
        self,
        payments: Payments,
        campaign: Campaign,
        terms: PayoutTerms | None,
        recorded_seq: Callable[[], Awaitable[int]],
    ) -> None:
        self._payments: Payments = payments
        self._cashier: Cashier = payments
        self._campaign = campaign
        self._terms = terms
        self._recorded_seq = recorded_seq

    def amend(self, campaign: Campaign, terms: PayoutTerms | None) -> None:
        """Pay out by these terms from the next call on."""
        self._campaign = campaign
        self._terms = terms

    async def balance(self, fields: Mapping[str, Any], user: str) -> Answered:
        """`GET /v1/balance`."""
        try:
            seq = await self._recorded_seq()  # before it is read, so that no win is missing that it promises
            owned = await self._cashier.owned(self._campaign.id, user)
        except RedrushError:
            return AWAY
        return 200, {
            "campaign": self._campaign.id,
            "currency": self._campaign.currency,
            "available": self._amount(owned.available_minor),
            "waiting": self._amount(owned.waiting_minor),
            "paid": self._amount(owned.paid_minor),
            "recorded_to": seq,
            "payout": None if self._terms is None else str(self._terms.policy),
        }

    async def payouts(self, fields: Mapping[str, Any], user: str) -> Answered:
        """`GET /v1/payouts`."""
        try:
            bills = await self._payments.payouts_of(user)
        except RedrushError:
            return AWAY
        ours = [self._shown(bill) for bill in bills if bill.campaign == self._campaign.id]
        return 200, {"payouts": ours[-PAYOUTS_SHOWN_MAX:]}

    async def pay_out(self, fields: Mapping[str, Any], user: str) -> Answered:
        """`POST /v1/payouts`: `amount` (all that is left by default), `key` (the same key, the same payout), `to`."""
        terms = self._terms
        if terms is None or not self._payments.can_pay(terms.provider):
            return 409, {"detail": "this campaign pays nobody out here; what you have won stays yours"}
        wrong = _wrong(fields, self._campaign.currency)
        if wrong is not None:
            return 400, {"detail": wrong}
        try:
            return await self._make(fields, user, terms)
        except NotCovered as refused:
            left = self._amount(max(0, refused.available_minor))
            return 409, {"detail": f"the balance is {left} {self._campaign.currency}", "available": left}
        except BillConflict:
            return 409, {"detail": "this key was used for a payout of another amount"}
        except RedrushError:
            return AWAY

    async def _make(self, fields: Mapping[str, Any], user: str, terms: PayoutTerms) -> Answered:
        granted_minor = await self._payments.granted(self._campaign.id, user)
        before = await self._payments.payouts_of(user)
        # Without a key two calls at once are one payout: both count the same ones before them.
        source = f"{self._campaign.id}/{user}/{fields.get('key', f'#{len(before)}')}"
        known = next((bill for bill in before if bill.source == source), None)
        if known is not None and "amount" not in fields:
            return 200, self._shown(known)
        if "amount" in fields:
            amount_minor = parse_amount(fields["amount"], self._campaign.currency)
        else:
            amount_minor = (await self._cashier.owned(self._campaign.id, user)).available_minor
        provider = self._payments.tellers[terms.provider].provider.terms
        if amount_minor < max(1, provider.min_minor):
            least = self._amount(max(1, provider.min_minor))
            return 409, {"detail": f"at least {least} {self._campaign.currency} can be paid out"}
        bill = NewBill(
            kind="payout", source=source, campaign=self._campaign.id, user=user, provider=terms.provider,
            currency=self._campaign.currency, amount_minor=min(amount_minor, provider.max_minor),
            subject=self._campaign.name, to=self._receiver(fields, user),
            covered_minor=granted_minor, held=terms.approve,
        )  # fmt: skip
        kept = await self._payments.make(bill)
        return 200, self._shown(kept)

    def _receiver(self, fields: Mapping[str, Any], user: str) -> str:
        """Return who gets it, as it stands in the book: hidden, where that is another than the user's id."""
        named: str = fields.get("to", user)
        return user if named == user else self._payments.veil.hide(named)

    def _shown(self, bill: KeptBill) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "payout": bill.number,
            "amount": self._amount(bill.amount_minor),
            "currency": bill.currency,
            "state": SAID[str(bill.state)],
            "made_at": rfc3339(bill.made_us),
        }
        if bill.state == "confirming":
            shown["package"] = bill.detail
            if bill.expires_us is not None:
                shown["confirm_until"] = rfc3339(bill.expires_us)
        if bill.done_us is not None:
            shown["paid_at"] = rfc3339(bill.done_us)
        return shown

    def _amount(self, amount_minor: int) -> str:
        return format_amount(amount_minor, self._campaign.currency)


AWAY: Final[Answered] = (
    503,
    {
        "detail": "the books cannot be read now; your money is safe, ask again in some seconds",
        "headers": "Retry-After: 5\r\n",
    },
)

SAID: Final = {
    "new": "waiting", "asked": "waiting", "pending": "waiting", "held": "waiting", "confirming": "confirm",
    "done": "paid", "paid_late": "paid", "failed": "returned", "cancelled": "returned",
}  # fmt: skip
"""What a winner is told of each state: nothing is final but `paid` and `returned`, which is back in the balance."""


def _wrong(fields: Mapping[str, Any], currency: str) -> str | None:
    """Return what is wrong with the fields of a payout."""
    for name, most in (("amount", 32), ("key", KEY_SIGNS_MAX), ("to", TO_SIGNS_MAX)):
        value = fields.get(name)
        if value is not None and not (isinstance(value, str) and 0 < len(value) <= most and value.isprintable()):
            return f'"{name}" is a text of 1 to {most} signs'
    if not set(fields) <= {"amount", "key", "to"}:
        return 'a payout has "amount", "key" and "to", and nothing else'
    if "amount" in fields:
        try:
            parse_amount(fields["amount"], currency)
        except ValueError as fault:
            return str(fault)
    if "#" in fields.get("key", "")[:1]:
        return 'a "key" does not begin with #'
    return None
