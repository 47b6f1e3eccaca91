"""What a campaign says of its page: name, colours, picture, sounds, texts. All is optional, nothing of it sealed."""

from collections.abc import Mapping
from typing import Final

import msgspec

LANGUAGES: Final = ("zh", "en")
"""Languages that the page speaks."""

COLOURS: Final = ("red", "red-deep", "red-dark", "gold", "gold-deep", "sky-top", "sky-mid", "sky-low", "hill-far",
                  "hill-near", "cloud", "ink", "ink-soft", "paper", "paper-line", "card", "link", "edge")  # fmt: skip
"""Names of the colours of page.css that a campaign may choose."""

PACKET_COLOURS: Final = frozenset({"red", "red-deep", "red-dark", "gold", "gold-deep"})
"""Those of the packet itself, which are the same by day and by night unless a campaign says otherwise."""

MOMENTS: Final = ("opening", "won", "missed")
"""When there is something to be heard: a round opens, something was won, or it was not."""

TUNE: Final = "tune"
"""The page's own sound of a moment, which browsers make by themselves."""

Texts = Mapping[str, str]
"""One text by language."""


class PageTerms(msgspec.Struct, frozen=True, kw_only=True):
    """See the module."""

    language: str | None = None
    """The language that people see who have chosen none; None: that of their browser."""
    title: Texts = {}
    """The event's name by language; without it the campaign's name."""
    greeting: Texts = {}
    """What stands above an amount that was won."""
    rules: Texts = {}
    """What is said before the rules that are made of the campaign; a line is a paragraph."""
    login: str | None = None
    """The address of the login that sends people back with a ticket; None: they have links of their own. In it
    `{page}` stands for the page's own address, escaped."""
    renew: str | None = None
    """The address that gives whoever has logged in a new ticket, asked by POST with the cookies of that site; None:
    tickets last as long as they last."""
    offline: bool = True
    """Whether browsers may keep the page for people without a network; False: what they have kept goes away."""
    colours: Mapping[str, str] = {}
    """By name, of `COLOURS`."""
    dark: Mapping[str, str] = {}
    """Those for people who like it dark; those of the packet are as by day."""
    texts: Mapping[str, Texts] = {}
    """By language, texts of the page that are other ones than ours: see `script/words.js`."""
    names: Mapping[str, str] = {}
    """What rounds are called, by their ids."""
    picture: str | None = None
    """Over the sky, as a data: address; None: ours."""
    sounds: Mapping[str, str] = {}
    """By moment, of `MOMENTS`: `TUNE`, or a file as a data: address. Without any the page is silent."""
