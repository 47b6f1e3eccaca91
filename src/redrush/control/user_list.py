"""Reading files of users: one id a line, tens of millions of them. Every list is read here, whoever it is for.

It is read in pieces, so that some ten megabytes are held at any time. A piece is checked as a whole; only one with
something else than ids in it is looked at line by line. What is no id is told with its line, all of it at the end of
the file, and the list is not used then. What is only doubtful (a header line, ids that stand twice, numbers as a
spreadsheet rounds them) is counted and told, and changes nothing: whoever is on the list is a user.
"""

import re
import unicodedata
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec

from redrush.core.identity.audience import AllowedAudience, Audience, Eligible
from redrush.core.identity.encodings import UTF8_MARK, encoding_around, other_encoding, saved_as
from redrush.core.identity.user_ids import NOT_SEEN, USER_BYTES_MAX, checked_user, shortened
from redrush.errors import ConfigError
from redrush.named_file import open_named

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PIECE_BYTES: Final = 1 << 20
LINE_BYTES_MAX: Final = 64 << 10
"""Far more than an id has; without a bound a file without line ends would be read into memory whole."""

TOLD_MAX: Final = 20
"""Lines that are told of one kind; of the others it is told how many there are."""

_SURELY_SHORT: Final = USER_BYTES_MAX // 4
"""A text of no more characters than this is never longer, in UTF-8, than an id may be."""

_LINE_ENDS: Final = re.compile("\r\n?")
_SCIENTIFIC: Final = re.compile(r"[0-9](?:\.[0-9]+)?[eE]\+?[0-9]{1,3}", re.ASCII)
_SCIENTIFIC_SOMEWHERE: Final = re.compile(r"[0-9][eE]\+?[0-9]", re.ASCII)
_COLUMNS: Final = re.compile('[,;"]')
_HEADERS: Final = frozenset({
    "id", "ids", "uid", "user", "users", "userid", "username", "openid", "unionid", "account", "name", "email", "mail",
    "phone", "mobile", "member", "memberid", "customerid", "用户", "用户id", "用户名", "用户编号", "账号", "帐号",
    "手机号", "手机", "姓名", "邮箱", "编号",
})  # fmt: skip


class Piece(msgspec.Struct, frozen=True):
    """Some whole lines, each an id in its normal form, or "" where it is blank."""

    first_line: int
    lines: list[str]


class Doubt(msgspec.Struct):
    """Something that may not be meant: on how many lines, and of the first of them number and text."""

    count: int = 0
    told: list[tuple[int, str]] = []

    def add(self, line: int, text: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.told) < TOLD_MAX:
            self.told.append((line, text))

    def where(self) -> str:
        """Return the lines, for a sentence; "" if only their number is known."""
        if not self.told:
            return ""
        lines = ", ".join(f'{line} "{shortened(text)}"' for line, text in self.told)
        more = self.count - len(self.told)
        return f": line{'s' * (self.count > 1)} {lines}{f' and {more:,} more' if more else ''}"


class Survey(msgspec.Struct):
    """What a list holds: `lines` with an id, of which `users` are different ones."""

    lines: int = 0
    users: int = 0
    repeated: Doubt = msgspec.field(default_factory=Doubt)
    alike: Doubt = msgspec.field(default_factory=Doubt)
    header: Doubt = msgspec.field(default_factory=Doubt)
    scientific: Doubt = msgspec.field(default_factory=Doubt)
    columns: Doubt = msgspec.field(default_factory=Doubt)

    def warnings(self) -> list[str]:
        """Return a sentence for each kind of doubt."""
        told = []
        if (found := self.header).count:
            told.append(f"the first line seems to be a heading, and counts as a user who may win{found.where()}")
        if (found := self.repeated).count:
            told.append(f"{_of(found, self.lines)} an id that stands there already; it counts once{found.where()}")
        if (found := self.scientific).count:
            told.append(
                f"{_ids(found)} written as spreadsheets round long numbers, and their last digits are lost"
                f"{found.where()}"
            )
        if (found := self.alike).count:
            told.append(
                f"{_ids(found)} the same as another one but for upper and lower case, and each is a user{found.where()}"
            )
        if (found := self.columns).count:
            told.append(
                f"{_ids(found)} written with commas, semicolons or quotes, like a table of several columns; the whole "
                f"line is the id{found.where()}"
            )
        return told


def _of(found: Doubt, lines: int) -> str:
    return f"{found.count:,} of {lines:,} lines {'has' if found.count == 1 else 'have'}"


def _ids(found: Doubt) -> str:
    return f"{found.count:,} id{'s are' if found.count > 1 else ' is'}"


class ListedUsers(msgspec.Struct, frozen=True):
    """A list that was read whole: what it holds, and `hash(user)` of each user, sorted, as signed 64-bit integers."""

    survey: Survey
    digests: "array[int]"


def read_users(path: Path, *, with_lines: bool = False, name: str | None = None) -> ListedUsers:
    """Return the users of the file. Ten million lines take some 6 s.

    `with_lines`: doubts about lines that belong together are told with these lines, for which a file with such doubts
    is read a second time. `name` stands for the file in errors. ConfigError if it cannot be read, or with every line
    that is no user id.
    """
    # numpy is imported only where a list is read: it costs a start 0.1 s.
    import numpy as np  # noqa: PLC0415

    survey = Survey()
    exact: list[NDArray[np.int64]] = []
    folded: list[NDArray[np.int64]] = []
    for piece in pieces_of(path, name):
        users = piece.lines if "" not in piece.lines else [line for line in piece.lines if line]
        digests = np.fromiter(map(hash, users), np.int64, len(users))
        exact.append(digests)
        folded.append(_folded_digests(users, digests))
        survey.lines += len(users)
        _look_at(survey, piece)
    sorted_digests = np.sort(np.concatenate([*exact, np.empty(0, np.int64)]))
    repeats = _repeats(sorted_digests)
    survey.repeated.count = len(repeats)
    survey.users = survey.lines - len(repeats)
    alike = _alike(exact, folded)
    survey.alike.count = len(alike)
    if with_lines and (len(repeats) or len(alike)):
        _find_lines(survey, path, name, repeats, alike)
    digests_ = array("q")
    digests_.frombytes(sorted_digests.tobytes())
    return ListedUsers(survey, digests_)


def _folded_digests(users: list[str], digests: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """Return the digests without upper and lower case; the very same array where there is none."""
    import numpy as np  # noqa: PLC0415

    text = "\n".join(users)
    lower = text.casefold()
    if lower == text:
        return digests
    return np.fromiter(map(hash, lower.split("\n")), np.int64, len(users)) if users else digests


def _alike(exact: "list[NDArray[np.int64]]", folded: "list[NDArray[np.int64]]") -> "NDArray[np.int64]":
    """Return, for each id beyond the first of those that are the same without case, what they are without it."""
    import numpy as np  # noqa: PLC0415

    if all(one is other for one, other in zip(exact, folded, strict=True)):
        return np.empty(0, np.int64)
    _, firsts = np.unique(np.concatenate(exact), return_index=True)
    return _repeats(np.sort(np.concatenate(folded)[firsts]))


def _repeats(digests: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """Return, of sorted digests, each one but the first of those that are the same."""
    later: NDArray[np.int64] = digests[1:][digests[1:] == digests[:-1]]
    return later


def _look_at(survey: Survey, piece: Piece) -> None:
    """Count the doubts that one line alone gives."""
    text = "\n".join(piece.lines)
    if piece.first_line == 1 and _is_header(piece.lines[0]):
        survey.header.add(1, piece.lines[0])
    for doubt, somewhere, whole in (
        (survey.scientific, _SCIENTIFIC_SOMEWHERE, _SCIENTIFIC.fullmatch),
        (survey.columns, _COLUMNS, _COLUMNS.search),
    ):
        if somewhere.search(text) is not None:
            for number, line in enumerate(piece.lines, start=piece.first_line):
                if whole(line) is not None:
                    doubt.add(number, line)


def _is_header(line: str) -> bool:
    words = re.split('[,;"]+', line.strip('"'))
    return re.sub("[_ .-]", "", words[0].casefold()) in _HEADERS


def _find_lines(
    survey: Survey, path: Path, name: str | None, repeats: "NDArray[np.int64]", alike: "NDArray[np.int64]"
) -> None:
    """Learn the first lines that repeat an id, and that are like another id but for case."""
    import numpy as np  # noqa: PLC0415

    repeated, like = survey.repeated, survey.alike
    met: set[str] = set()
    first_of: dict[str, str] = {}
    for piece in pieces_of(path, name):
        exact = np.fromiter(map(hash, piece.lines), np.int64, len(piece.lines))
        folded = np.fromiter(map(hash, map(str.casefold, piece.lines)), np.int64, len(piece.lines))
        for index in np.flatnonzero(np.isin(exact, repeats) | np.isin(folded, alike)).tolist():
            line, user = piece.first_line + index, piece.lines[index]
            if not user:
                continue
            if user in met:
                if len(repeated.told) < min(TOLD_MAX, repeated.count):
                    repeated.told.append((line, user))
                continue
            met.add(user)
            if first_of.setdefault(user.casefold(), user) != user and len(like.told) < min(TOLD_MAX, like.count):
                like.told.append((line, user))
        if len(repeated.told) == min(TOLD_MAX, repeated.count) and len(like.told) == min(TOLD_MAX, like.count):
            return


def pieces_of(path: Path, name: str | None = None) -> Iterator[Piece]:
    """Yield the lines of the file, some ten thousand at a time. White space around an id is no part of it.

    ConfigError if the file cannot be read, is not UTF-8, or, at its end, with every line that is no user id.
    """
    reading = _Reading(name or str(path))
    try:
        with open_named(path) as file:
            yield from reading.pieces(file)
    except OSError as fault:
        raise ConfigError(f"{reading.name}: cannot be read: {fault.strerror}") from fault


class _Reading:
    """One reading of one file."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._faults = Doubt()
        self._bytes_before = 0
        self._lines_before = 0

    def pieces(self, file: BinaryIO) -> Iterator[Piece]:
        beginning: bytes = file.peek(PIECE_BYTES)  # type: ignore[attr-defined]  # every file opened for bytes has it
        if (encoding := other_encoding(beginning)) is not None:
            raise ConfigError(f"{self.name}:1: is not UTF-8 text; {saved_as(encoding)}")
        if beginning.startswith(UTF8_MARK):
            self._bytes_before = len(file.read(len(UTF8_MARK)))
        rest = b""
        while more := file.read(PIECE_BYTES):
            data = rest + more
            # Behind a CR that ends the data a LF may come.
            end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1
            if end:
                yield self._piece(data[:end])
            rest = data[end:]
            if len(rest) > LINE_BYTES_MAX:
                self._faults.add(self._lines_before + 1, f"is no user id: longer than {LINE_BYTES_MAX} bytes")
                rest = b""
                break
        if rest:
            yield self._piece(rest)
        if self._faults.count:
            raise ConfigError(self._told())

    def _piece(self, data: bytes) -> Piece:
        """Return the ids of these whole lines; what is none counts as blank."""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as fault:
            line = self._lines_before + len(_lines(data[: fault.start].decode("utf-8") + "."))
            at = self._bytes_before + fault.start
            why = saved_as(encoding_around(data, fault.start))
            raise ConfigError(f"{self.name}:{line}: is not UTF-8 text (byte {at}); {why}") from None
        lines = _lines(text)
        together = "".join(lines)
        if (
            not together.isprintable()
            or " " in together
            or max(map(len, lines), default=0) > _SURELY_SHORT
            or not (together.isascii() or _is_plain(text, together))
        ):
            lines = [self._checked(number, line) for number, line in enumerate(lines, start=self._lines_before + 1)]
        piece = Piece(self._lines_before + 1, lines)
        self._bytes_before += len(data)
        self._lines_before += len(lines)
        return piece

    def _checked(self, number: int, line: str) -> str:
        line = line.strip()
        try:
            return checked_user(line) if line else ""
        except ValueError as fault:
            self._faults.add(number, str(fault))
            return ""

    def _told(self) -> str:
        faults = self._faults
        told = [f"{self.name}:{line}: {sentence}" for line, sentence in faults.told]
        if faults.count == 1:
            return told[0]
        more = faults.count - len(told)
        return "\n".join(
            [f"{self.name}: {faults.count:,} lines are no user ids:", *(f"  {line}" for line in told)]
            + [f"  and {more:,} more"] * bool(more)
        )


def _lines(text: str) -> list[str]:
    """Return the lines of whole lines: the end of the last one begins no other."""
    if "\r" in text:
        text = _LINE_ENDS.sub("\n", text)
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _is_plain(text: str, together: str) -> bool:
    # In the text as a whole a mark could not join the id of the line before it.
    return NOT_SEEN.search(together) is None and unicodedata.is_normalized("NFC", text)


def users_of(path: Path, name: str | None = None) -> Iterator[tuple[int, str]]:
    """Yield line and id of every line that has one. For a list that was read before: see `pieces_of` for errors."""
    for piece in pieces_of(path, name):
        for number, line in enumerate(piece.lines, start=piece.first_line):
            if line:
                yield number, line


def as_json(survey: Survey) -> dict[str, Any]:
    """Return the figures of a list for programs."""
    return {"users": survey.users, "lines": survey.lines, "repeated": survey.repeated.count}


def eligible_of(audience: Path | None, blocked: Path | None) -> "tuple[Eligible | None, Survey | None]":
    """Return who may win by these lists, None for everybody, and what was found in the first. ConfigError for a list
    that is not there, or cannot be read."""
    allowed, survey = None, None
    if audience is not None:
        users = read_users(audience)
        allowed, survey = Audience(users.digests), users.survey
    if blocked is None:
        return allowed, survey
    return AllowedAudience(allowed, Audience(read_users(blocked).digests)), survey
