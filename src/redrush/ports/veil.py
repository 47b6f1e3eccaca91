"""Hiding what says who somebody is, in books that need it for a while: addresses, names, ids at a provider."""

from typing import Protocol


class Veil(Protocol):
    """Makes a text unreadable for whoever has a book and not its key. What is "" stays so."""

    def hide(self, text: str) -> str:
        """Return what is written into a book. RedrushError if it cannot be hidden: then it must not be written."""

    def show(self, kept: str) -> str:
        """Return the text that was hidden; what was written before anything was hidden is returned as it is.
        RedrushError if it cannot be read."""


class NoVeil:
    """Hides nothing: of what is no person's."""

    def hide(self, text: str) -> str:
        """Return it."""
        return text

    def show(self, kept: str) -> str:
        """Return it."""
        return kept
