"""Receipts: every win as a signed statement in the winner's hand, redeemable even if a store is lost.

A receipt is ASCII text with fields between tildes, which URLs need not quote and no field contains, for a user's id is
escaped as in URLs where it is not plain (`redrush.core.identity.user_ids`):
`rr1~<key id>~<campaign>~<round>~<slot>~<amount in minor units>~<currency>~<user>~<granted at, µs>~<mac>`.
One for a slot that holds no money says what it holds instead (`redrush.core.rush.holding.text_of`), escaped likewise:
`rr2~<key id>~<campaign>~<pot>~<slot>~<what it holds>~<user>~<granted at, µs>~<mac>`.
The MAC is keyed BLAKE2b-128 over everything before it, so checking one needs the receipt keys and nothing else: no
store, no network. A public-key signature would let anybody check, at 30 µs a grant instead of 1; proof towards the
public is the commitment to the amounts, not the receipt.
"""

from hmac import compare_digest

import msgspec

from redrush.core.identity.tickets import KeyRing, keyed_mac, mac_state
from redrush.core.identity.user_ids import escaped, unescaped

_PERSON = b"redrush.receipt"
_MONEY = "rr1"
_NO_MONEY = "rr2"
_FIELDS = {_MONEY: 10, _NO_MONEY: 9}


class Receipt(msgspec.Struct, frozen=True):
    """What a receipt states: this user got this slot, worth `amount_minor`, at `at_us` (µs since the epoch).

    One that holds no money is worth 0 in no currency (""), and `holds` says what it holds; None for money.
    """

    campaign: str
    round: str
    slot: int
    amount_minor: int
    currency: str
    user: str
    at_us: int
    holds: str | None = None


class ReceiptSigner:
    """Signs the receipts of one pot, or of any; what does not change from one to the next is put together once."""

    def __init__(self, ring: KeyRing, campaign: str, pot: str, currency: str) -> None:
        """`pot`: the one whose slots are meant; "": any, and slots are named as `<pot>~<slot>`."""
        self._state = mac_state(ring.keys[ring.current], _PERSON)
        self._of_pot = f"~{ring.current}~{campaign}~{pot and f'{pot}~'}"
        self.front = f"{_MONEY}{self._of_pot}"
        """What each receipt for money begins with."""
        self._after_front = self._state.copy()
        self._after_front.update(self.front.encode())
        self._currency = f"~{currency}~"
        self._at_us = 0
        self._ending = "~0"

    def sign(self, slot: int | str, amount_minor: int, user: str, at_us: int) -> str:
        """Return the receipt for one grant of money."""
        return f"{self.front}{self.sign_after_front(slot, self.worth(amount_minor), user, at_us)}"

    def worth(self, amount_minor: int) -> str:
        """Return what receipts for this amount say of it."""
        return f"~{amount_minor}{self._currency}"

    def sign_after_front(self, slot: int | str, worth: str, user: str, at_us: int) -> str:
        """Return what follows the front in the receipt for a grant of this `worth`, for whoever writes many. A slot may
        come as its digits: who tells it too has these already."""
        if not user.encode().isalnum():  # ASCII letters and digits: most ids are, and this costs little
            user = escaped(user)
        if at_us != self._at_us:  # a batch has one instant
            self._at_us, self._ending = at_us, f"~{at_us}"
        body = f"{slot}{worth}{user}{self._ending}"
        mac = self._after_front.copy()  # as `keyed_mac` does: every grant is signed here
        mac.update(body.encode())
        return f"{body}~{mac.hexdigest()}"

    def sign_holding(self, slot: int, holds: str, user: str, at_us: int) -> str:
        """Return the receipt for the grant of a slot that holds no money but this."""
        body = f"{_NO_MONEY}{self._of_pot}{slot}~{escaped(holds)}~{escaped(user)}~{at_us}"
        return f"{body}~{keyed_mac(body.encode(), self._state)}"


def verify_receipt(ring: KeyRing, text: str) -> Receipt | None:
    """Return what the receipt states if its MAC is right, else None, whatever the text is."""
    body, _, mac = text.rpartition("~")
    fields = text.split("~")
    if len(fields) != _FIELDS.get(fields[0]) or not text.isascii():
        return None
    key = ring.keys.get(fields[1])
    if key is None or not compare_digest(keyed_mac(body.encode("ascii"), mac_state(key, _PERSON)), mac):
        return None
    if fields[0] == _NO_MONEY:
        _, _, campaign, pot, slot, holds, user, at_us, _ = fields
        return Receipt(campaign, pot, int(slot), 0, "", unescaped(user), int(at_us), unescaped(holds))
    _, _, campaign, round_id, slot, amount_minor, currency, user, at_us, _ = fields
    return Receipt(campaign, round_id, int(slot), int(amount_minor), currency, unescaped(user), int(at_us))
