"""What a bill with a provider means in the double entry: the rules of `redrush.ports.bill_book`, on plain values.

Money that a provider was asked to move is in an account of its own until it has moved: it is neither the user's to
spend again nor gone. A provider's clearing account says what its own book must say, less its sign.
"""

import msgspec

from redrush.core.money.ledger import Posting, user_account

SALES = "sales"
"""Where pay-ins go whose bill says nothing else."""


def clearing_account(provider: str) -> str:
    """Return the account of what the provider moved for us: what it paid out less what it took in."""
    return f"clearing:{provider}"


def fees_account(provider: str) -> str:
    """Return the account of what the provider kept for its work."""
    return f"fees:{provider}"


def waiting_account(kind: str, provider: str) -> str:
    """Return the account of payouts, or refunds, that were made and have not ended."""
    return f"{kind}s:{provider}"


class Billed(msgspec.Struct, frozen=True):
    """A bill, as far as its postings go. `account` is where a pay-in goes, and where its refunds come from."""

    kind: str
    provider: str
    user: str
    account: str
    source: str
    attempt: int
    amount_minor: int

    def made(self, at_us: int) -> tuple[Posting, ...]:
        """Return what follows from the making: what is to leave is set aside. Of a pay-in nothing follows."""
        return self._aside("", at_us)

    def revived(self, at_us: int) -> tuple[Posting, ...]:
        """Return what follows from one that had ended, and has moved the money after all: it is set aside again."""
        return self._aside(":late", at_us)

    def moved(self, fee_minor: int, at_us: int) -> tuple[Posting, ...]:
        """Return what follows from a provider that has moved the money, and kept a fee."""
        clearing = clearing_account(self.provider)
        if self.kind == "payin":
            parts = [self._posting(":done", clearing, self.account, self.amount_minor, at_us)]
        else:
            parts = [self._posting(":done", self._waiting, clearing, self.amount_minor, at_us)]
        return (*parts, *self.charged(fee_minor, at_us))

    def charged(self, fee_minor: int, at_us: int) -> tuple[Posting, ...]:
        """Return what follows from a fee that the provider has kept, or has given back with a refund: below 0 then."""
        fees, clearing = fees_account(self.provider), clearing_account(self.provider)
        debit, credit = (fees, clearing) if fee_minor > 0 else (clearing, fees)
        return (self._posting(":fee", debit, credit, abs(fee_minor), at_us),) if fee_minor else ()

    def ended(self, at_us: int) -> tuple[Posting, ...]:
        """Return what follows from one that has ended and moved nothing: what was set aside goes back."""
        if self.kind == "payin":
            return ()
        return (self._posting(":back", self._waiting, self._owner, self.amount_minor, at_us),)

    @property
    def _waiting(self) -> str:
        return waiting_account(self.kind, self.provider)

    @property
    def _owner(self) -> str:
        return user_account(self.user) if self.kind == "payout" else self.account

    def _aside(self, ending: str, at_us: int) -> tuple[Posting, ...]:
        if self.kind == "payin":
            return ()
        return (self._posting(ending, self._owner, self._waiting, self.amount_minor, at_us),)

    def _posting(self, ending: str, debit: str, credit: str, amount_minor: int, at_us: int) -> Posting:
        return Posting(f"{self.kind}:{self.source}#{self.attempt}{ending}", debit, credit, amount_minor, at_us)


def spent(user: str, account: str, source: str, amount_minor: int, at_us: int) -> Posting:
    """Return the posting of a user who pays for something with their balance."""
    return Posting(f"spend:{source}", user_account(user), account, amount_minor, at_us)


def credit_of(source: str) -> str:
    """Return the id of the posting of money that a user gets into their balance under this source."""
    return f"credit:{source}"


def credited(user: str, account: str, source: str, amount_minor: int, at_us: int) -> Posting:
    """Return the posting of money that a user gets into their balance, which is no win."""
    return Posting(credit_of(source), account, user_account(user), amount_minor, at_us)
