"""What of a line outlives the process: how far it is (`line-ROUND.json`), and who stands in it (`line-ROUND.tsv`).

The list has a line for each place that was given, `place, tab, user`, in the order in which they were given. It is
appended to a few times a second, and the kernel has it then: a process that is killed loses what came in the last fifth
of a second, and these people still have their passes. It is not fsynced; a machine that loses its power loses some
seconds of it. Nothing but counting, and answering a second request alike, rests on it; what was won rests on the store.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from redrush.control.data_dir import DataDir
from redrush.control.durable_file import write_durably
from redrush.core.identity.user_ids import escaped, unescaped
from redrush.core.rush.serving import Kept
from redrush.errors import ConfigError
from redrush.named_file import open_named

VERSION = 1


class LineFiles:
    """The files of the lines of one event. Every call blocks; they raise ConfigError for what cannot be read."""

    def __init__(self, data_dir: DataDir) -> None:
        self._data_dir = data_dir

    def load(self, round_id: str) -> Kept | None:
        """Return how far the line of the round was; None if it never began."""
        path = self._data_dir.line(round_id)
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=Kept)
        except FileNotFoundError:
            return None
        except OSError as fault:
            raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from fault
        except ValueError as fault:
            raise ConfigError(
                f"{path}: does not say how far the line of the round is: {fault}; without the file the line begins "
                "anew, and everybody keeps their place"
            ) from fault
        if kept.version != VERSION:
            raise ConfigError(f"{path}: has version {kept.version}; this redrush reads version {VERSION}")
        return kept

    def keep(self, round_id: str, kept: Kept) -> None:
        """Write down how far the line is. Raises OSError."""
        write_durably(self._data_dir.line(round_id), msgspec.json.encode(kept))

    def append(self, round_id: str, given: Iterable[tuple[int, str]]) -> None:
        """Write down who has got which place. Raises OSError."""
        with self._data_dir.line_list(round_id).open("a", encoding="ascii") as file:
            file.writelines(f"{place}\t{escaped(user)}\n" for place, user in given)

    def given(self, round_id: str) -> Iterator[tuple[int, str]]:
        """Yield places with their users, in the order in which they were given; nothing if nobody has joined."""
        path = self._data_dir.line_list(round_id)
        if path.exists():
            yield from read_list(path)


def read_list(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the places and users of a list; it may be a pipe. ConfigError if it cannot be read."""
    try:
        with open_named(path, or_pipe=True) as file:
            for number, line in enumerate(file, 1):
                place, tab, user = line.rstrip(b"\n").partition(b"\t")
                if not line.endswith(b"\n"):
                    return  # its writer was killed
                if not tab or not place.isdigit() or not user.isascii():
                    raise ConfigError(f"{path}:{number}: is not a place, a tab, and a user")
                yield int(place), unescaped(user.decode("ascii"))
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from fault
