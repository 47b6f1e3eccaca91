"""What the page is heard with: tunes of its own, which browsers make, or short files of the campaign.

Nothing of it is in the document: a file is fetched in calm, by whoever has touched the page and has sounds on, from an
address that names its content. Where it is not there in time, the page's own tune is heard.
"""

import base64
from collections.abc import Mapping
from hashlib import sha256, sha384
from typing import Any, Final

import msgspec

from redrush.page.terms import TUNE

ENDS: Final = {"audio/mpeg": "mp3", "audio/mp4": "m4a", "audio/wav": "wav"}
"""How the names of files end, by type: what every browser plays, those of telephones of some years ago, too."""

SOUND_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of a file: its name is of its content."""


class SoundFile(msgspec.Struct, frozen=True):
    """A file of a campaign: where it is on the page's site, its type, what is in it."""

    path: str
    content_type: str
    body: bytes


def sounds_told(campaign_id: str, sounds: Mapping[str, str]) -> dict[str, Any]:
    """Return what the page is told of its sounds, by moment: an address with what has to be there, or None, its own."""
    told: dict[str, Any] = {}
    for moment, sound in sounds.items():
        told[moment] = None
        if sound != TUNE:
            file = _file(campaign_id, sound)
            told[moment] = [file.path, f"sha384-{base64.b64encode(sha384(file.body).digest()).decode()}"]
    return told


def sound_files(campaign_id: str, sounds: Mapping[str, str]) -> dict[str, SoundFile]:
    """Return the files by their paths; `sounds` as in `redrush.page.terms.PageTerms`."""
    files = (_file(campaign_id, sound) for sound in sounds.values() if sound != TUNE)
    return {file.path: file for file in files}


def _file(campaign_id: str, address: str) -> SoundFile:
    content_type, _, coded = address.removeprefix("data:").partition(";base64,")
    body = base64.b64decode(coded)
    return SoundFile(f"/sounds/{campaign_id}/{sha256(body).hexdigest()[:16]}.{ENDS[content_type]}", content_type, body)
