"""What every store asks of a pot's terms, and how they are said."""

from typing import Final

from redrush.core.rush.campaign import RETURNED_POT, Pot, Slots
from redrush.ports.store import NotedTerms, PotTerms

HOLD_US_MAX: Final = 366 * 86_400 * 1_000_000
"""A hold ends within a year."""

NOTE_BYTES_MAX: Final = 1 << 18
"""Of a pot's note: a thousand people by name are in it, however long their names are."""


def terms_of(pot: Pot, share: Slots) -> PotTerms:
    """Return the terms on which a set opens its share of a pot of the campaign."""
    return PotTerms(pot.id, share, pot.limit_per_user, pot.hold_us)


def returned_pot() -> PotTerms:
    """Return the terms of the pot that leftover goes to on its way back to the sponsor."""
    return PotTerms(RETURNED_POT, Slots(0, 0))


def check_terms(terms: PotTerms, slot_max: int) -> None:
    """Raise ValueError for terms that cannot be; slots end at `slot_max`."""
    slots = terms.slots
    if slots.first < 0 or slots.count < 0 or slots.end > slot_max:
        raise ValueError(f"pot {terms.pot!r}: {slots} is not a run of slots up to {slot_max}")
    if terms.limit_per_user < 1:
        raise ValueError(f"pot {terms.pot!r}: a limit of {terms.limit_per_user} per user lets nobody claim")
    if terms.hold_us is not None and not 0 < terms.hold_us <= HOLD_US_MAX:
        raise ValueError(f"pot {terms.pot!r}: a hold of {terms.hold_us} us is none; up to {HOLD_US_MAX} can be")
    if len(note_of(terms).encode()) > NOTE_BYTES_MAX:
        raise ValueError(f"pot {terms.pot!r}: a note has up to {NOTE_BYTES_MAX:,} bytes, not {len(note_of(terms)):,}")


def note_of(terms: PotTerms) -> str:
    """Return the note that the pot is opened with; "": none."""
    return terms.note if isinstance(terms, NotedTerms) else ""


def are_alike(terms: PotTerms, others: PotTerms) -> bool:
    """Whether a pot with the one terms is what the others ask for, whatever its note says."""
    if terms == others:
        return True
    return (terms.pot, terms.slots, terms.limit_per_user, terms.hold_us) == (
        others.pot,
        others.slots,
        others.limit_per_user,
        others.hold_us,
    )


def said_of(terms: PotTerms) -> str:
    """Return the terms in words, without the pot's name; of the usual ones only the slots."""
    words = [str(terms.slots)]
    if terms.limit_per_user != 1:
        words.append(f"a limit of {terms.limit_per_user} per user")
    if terms.hold_us is not None:
        words.append(f"holds of {terms.hold_us} us")
    return ", ".join(words)
