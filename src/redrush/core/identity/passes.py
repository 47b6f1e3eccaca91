"""Passes (号牌): signed places in the line of a round, so that a gate knows a place without remembering it.

A pass is ASCII text, `rw1~<round>~<place>~<issued>~<expires>~<key id>.<mac>`. The place is `u` and the drawn number for
who came before the start, `n` and the instant in microseconds for who came later (`redrush.core.rush.line`), with an
`r` behind it for who stands there a second time, after coming too late. Instants are seconds since the epoch as hex.
The MAC is keyed BLAKE2b of the campaign, the text before the MAC, and the user, whom the pass itself does not name: it
is worth something beside the ticket of that user alone.
"""

import re
from enum import StrEnum
from hmac import compare_digest
from typing import Final

import msgspec

from redrush.core.identity.tickets import KeyRing, keyed_mac, mac_state
from redrush.core.identity.user_ids import escaped
from redrush.core.rush.line import START

_PERSON: Final = b"redrush.pass"
VERSION: Final = "rw1"
PASS_BYTES_MAX: Final = 160
"""No genuine pass is longer: version 3, round 32, place 18, instants 16 each, key id 16, MAC 32, and signs between."""

_FORM: Final = re.compile(
    r"rw1~(?P<round>[A-Za-z0-9_-]{1,32})~(?P<kind>[un])(?P<number>[0-9]{1,16})(?P<again>r?)~(?P<issued>[0-9a-f]{1,16})~"
    r"(?P<expires>[0-9a-f]{1,16})~(?P<key>[A-Za-z0-9_-]{1,16})\.(?P<mac>[0-9a-f]{32})",
    re.ASCII,
)


class Pass(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A place in the line of a round."""

    round: str
    place: int
    issued_s: int
    expires_s: int
    again: bool = False
    """Whether this is the second place of somebody who came too late."""


class Flaw(StrEnum):
    """Why a pass is none."""

    UNREADABLE = "unreadable"
    FORGED = "forged"
    """Of another campaign, round or user, or changed."""
    EXPIRED = "expired"


class Passes:
    """Signs and reads the passes of one campaign."""

    def __init__(self, ring: KeyRing, campaign: str) -> None:
        self._ring = ring
        self._campaign = campaign
        self._states = {key_id: mac_state(key, _PERSON) for key_id, key in ring.keys.items()}

    def sign(self, one: Pass, user: str) -> str:
        """Return the text of a pass for `user`."""
        kind, again = "u" if one.place < START else "n", "r" if one.again else ""
        text = f"{VERSION}~{one.round}~{kind}{one.place}{again}~{one.issued_s:x}~{one.expires_s:x}~{self._ring.current}"
        return f"{text}.{self._mac(self._ring.current, text, user)}"

    def read(self, text: str, round_id: str, user: str, now_s: int) -> Pass | Flaw:
        """Return what a pass for this round says, if it is one of `user`'s; else why it is none, whatever it is."""
        found = _FORM.fullmatch(text) if len(text) <= PASS_BYTES_MAX else None
        if found is None:
            return Flaw.UNREADABLE
        signed = text.rpartition(".")[0]
        if found["key"] not in self._states or found["round"] != round_id:
            return Flaw.FORGED
        if not compare_digest(self._mac(found["key"], signed, user), found["mac"]):
            return Flaw.FORGED
        if int(found["expires"], 16) <= now_s:
            return Flaw.EXPIRED
        return Pass(
            round=round_id,
            place=int(found["number"]),
            issued_s=int(found["issued"], 16),
            expires_s=int(found["expires"], 16),
            again=bool(found["again"]),
        )

    def _mac(self, key_id: str, text: str, user: str) -> str:
        return keyed_mac(f"{self._campaign}~{text}~{escaped(user)}".encode("ascii"), self._states[key_id])
