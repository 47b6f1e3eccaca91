"""A new identity for a journal."""

import secrets
from typing import Final

from redrush.ports.journal import Identity

JOURNAL_ID_BYTES: Final = 8


def new_identity(generation: int = 1) -> Identity:
    """Return the identity of a journal that nobody has seen."""
    return Identity(journal=secrets.token_hex(JOURNAL_ID_BYTES), generation=generation)
