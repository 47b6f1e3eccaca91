"""A public document: the same for everybody, made when somebody asks for it, and sent as every client can read it."""

import gzip
import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

import msgspec

from redrush.http import answers
from redrush.http.route import Fitting, Fixed, Waiter, names

_REFUSED_GZIP: Final = re.compile(rb"(?:^|,)\s*(?:x-)?gzip\s*;\s*q=0(?:\.0*)?\s*(?:,|$)", re.IGNORECASE)
_TAKES_GZIP: Final = re.compile(rb"(?:^|,)\s*(?:(?:x-)?gzip|\*)\s*(?:;|,|$)", re.IGNORECASE)


class Made(msgspec.Struct, frozen=True):
    """A document: its body, its type, and further header lines, each ended with CRLF."""

    body: bytes
    content_type: str
    headers: str


class _Answers(msgspec.Struct, frozen=True):
    etag: bytes
    plain: Fixed
    gzipped: Fixed
    not_modified: Fixed


class Document(Fitting):
    """A route. What it has made is kept until `forget`, as bytes that need nothing more than to be sent."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._made: _Answers | None = None

    def forget(self) -> None:
        """Make it anew for the next one who asks."""
        self._made = None

    def serve(self, waiter: Waiter, user: str) -> bytes:
        """Return the document as it is."""
        return self._answers().plain.serve(waiter, user)

    def fitting(self, if_none_match: bytes, accept_encoding: bytes) -> Fixed:
        """See `Fitting`."""
        made = self._answers()
        if if_none_match and names(if_none_match, made.etag):
            return made.not_modified
        takes = _TAKES_GZIP.search(accept_encoding) and not _REFUSED_GZIP.search(accept_encoding)
        return made.gzipped if takes else made.plain

    def _answers(self) -> _Answers:
        if self._made is None:
            made = self._make()
            etag = b'"%b"' % blake2b(made.body, digest_size=12).hexdigest().encode("ascii")
            lines = f"ETag: {etag.decode('ascii')}\r\nVary: Accept-Encoding\r\n{made.headers}"
            zipped = gzip.compress(made.body, mtime=0)
            coded = f"Content-Encoding: gzip\r\n{lines}"
            self._made = _Answers(
                etag,
                Fixed(answers.answer(200, made.body, made.content_type, lines)),
                Fixed(answers.answer(200, zipped, made.content_type, coded)),
                Fixed(answers.not_modified(lines)),
            )
        return self._made
