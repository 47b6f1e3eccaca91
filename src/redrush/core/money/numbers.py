"""The number of a bill: derived from what it pays for, so that every retry of anything is the same bill.

Providers want letters and digits only, at most 32, and our ids have dashes and may be longer. A number that was drawn
would be another one after a crash, or after a book that was lost, and the money would move twice.
"""

import base64
import hashlib
from typing import Final

NUMBER_SIGNS: Final = 24
"""As many as 120 bits of a hash take: of 10^12 bills no two have one number, but with a chance of 10^-12."""


def bill_number(kind: str, source: str, attempt: int = 1) -> str:
    """Return the number of the `attempt`-th bill (from 1) for `source`, such as a grant's id: 24 signs of 0-9A-V.

    `kind` keeps a refund and what it refunds apart. A further attempt is another bill, and may be made only when the
    one before has ended for good without moving anything.
    """
    # The lengths say where each part ends: no two sources can be written alike.
    text = f"{len(kind)}:{kind}{len(source)}:{source}{attempt}"
    digest = hashlib.blake2b(text.encode(), digest_size=NUMBER_SIGNS * 5 // 8).digest()
    return base64.b32hexencode(digest).decode("ascii")
