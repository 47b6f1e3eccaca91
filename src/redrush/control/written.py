"""The campaign file as it was written when the event was prepared or amended last, with its comments: for a copy.

Nothing rests on it. What is sealed and what is open of an event are kept apart (`redrush.control.event`); this is what
a person would look for who wants the same again, and the file itself may be on another machine, or gone.
"""

from typing import Final

import msgspec

from redrush.config import CampaignFile, WrittenFile
from redrush.control.data_dir import DataDir
from redrush.control.durable_file import write_durably
from redrush.control.json_file import load_json
from redrush.errors import ConfigError

VERSION: Final = 1


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    written: WrittenFile | None


def keep_written(file: CampaignFile, data_dir: DataDir) -> None:
    """Keep the text of the campaign file, over what was there. ConfigError if the disk refuses."""
    if file.written is None:
        return
    content = msgspec.json.encode(_Kept(version=VERSION, written=file.written))
    try:
        write_durably(data_dir.written, content)
    except OSError as fault:
        raise ConfigError(f"{data_dir.written}: cannot be written: {fault.strerror}") from fault


def load_written(data_dir: DataDir) -> WrittenFile | None:
    """Return what was kept last; None where an earlier release has prepared the event. ConfigError if it is not whole,
    or of a later release."""
    nothing = _Kept(version=VERSION, written=None)
    found = load_json(data_dir.written, _Kept, nothing, "the text of a campaign file")
    if found.version == VERSION:
        return found.written
    raise ConfigError(f"{data_dir.written}: has version {found.version}; this redrush reads version {VERSION}")
