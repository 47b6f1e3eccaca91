"""Rounds of each kind, and what belongs to them, as the tests and the pictures have them."""

import io
import math
import struct
import wave
from typing import Final

from tests.browser.event import OPENS_S, QUICK, instant

SOUNDS: Final = '[page.sounds]\nopening = "tune"\nwon = "tune"\nmissed = "tune"\n'
"""The page's own sounds, for every moment."""
SHARE: Final = '[round.share]\ntotal = "3.00"\ncount = 3\n'
"""Stands behind a round whose winners share."""


def group(pay: str = "balance") -> str:
    """Return the tables of a campaign in which people send packets, as fast as they like, paid like this."""
    return f'{QUICK}[group]\npay = "{pay}"\n[limits]\nuser_per_second = "off"\n'


GROUP: Final = group()
"""Tables of one in which they send them from what they have won."""


def line(order: str = "fifo", pace: float = 200) -> str:
    """Return a waiting room, to stand behind a round."""
    return f'[round.line]\nopens = "10m"\norder = "{order}"\npace = {pace}\ngrace = "3m"\n'


def draw(
    odds: str = "1/1", *, name: str = "手机", count: int = 100, opens_s: float = OPENS_S, plays: str = "per_user = 3"
) -> str:
    """Return a draw of one prize, with three plays for everybody, or what `plays` says."""
    return (
        f'[[round]]\nid = "draw"\nkind = "draw"\nopens = {instant(opens_s)}\nlasts = "2h"\n'
        f'plays = {{ {plays} }}\n[[round.prize]]\nid = "phone"\nname = "{name}"\nholds = "goods"\n'
        f'count = {count}\nodds = "{odds}"\n'
    )


def sale(
    *,
    units: int = 1,
    price: str = "99.00",
    hold: str = "10m",
    return_every: str = "30s",
    secret: bool = True,
    shop: str | None = None,
    opens_s: float = OPENS_S,
) -> str:
    """Return a sale of one unit a person; `secret`: its path has a key that is told at the opening; `shop`: who hands
    the units over."""
    return (
        f'[[round]]\nid = "s"\nkind = "sale"\nopens = {instant(opens_s)}\nlasts = "2h"\nunits = {units}\n'
        f'price = "{price}"\nhold = "{hold}"\nreturn_every = "{return_every}"\n'
        + ("secret_url = true\n" if secret else "")
        + ("" if shop is None else f'shop = "{shop}"\n')
    )


def gong(seconds: float = 0.5) -> bytes:
    """Return a note as a WAV file."""
    rate, made = 8_000, io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        count = int(rate * seconds)
        file.writeframes(struct.pack(f"<{count}h", *(int(9_000 * math.sin(at / 3)) for at in range(count))))
    return made.getvalue()
