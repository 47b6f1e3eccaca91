"""Where the log of a set ended when a stack did: noted once nobody is left who could add to it.

Of a set that is lost later, be it with all of its files, it is known then that nobody was told more. It is noted for
the parts of every campaign alike: whose end nobody noted, of that nobody can say what is lost.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

from redrush.control.warden_notes import WardenNotes
from redrush.core.sets.address import Address
from redrush.errors import RedrushError
from redrush.ports.store import Known
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Access, Link, ReplyFault, pack
from redrush.stores.valkey.proof import read_held


async def note_end(set_id: str, addresses: Sequence[Address], keys: SetKeys, access: Access, notes: Path) -> None:
    """Note in the directory `notes` where the log ends at the primary. Every gate must have ended. Of a set that is not
    there, or cannot be read or noted, nothing is noted: then nobody knows."""
    for address in addresses:
        with contextlib.suppress(RedrushError, OSError):
            if (known := await _proven_end(address, keys, access)) is not None:
                await asyncio.to_thread(_note, notes, set_id, known)


async def _proven_end(address: Address, keys: SetKeys, access: Access) -> Known | None:
    """Return the end of the log at this server, None if it is not the primary, or was not compared."""
    link, _ = await Link.connect(address, access)
    try:
        (role,) = await link.call(pack(("ROLE",)))
        if isinstance(role, ReplyFault) or role[0] != b"master":
            return None
        held = await read_held(link, keys)
    finally:
        await link.close()
    return held.known if held.terms is not None and held.is_proven else None


def _note(directory: Path, set_id: str, known: Known) -> None:
    notes = WardenNotes.open_path(directory, set_id)
    try:
        notes.note_ended(known)
    finally:
        notes.close()
