"""Reading a request's body: the one place that knows how a decoder refuses, for every port.

msgspec refuses in several ways: what is no JSON, a number that no float holds (1e999), bytes that are no UTF-8, a depth
that the stack does not hold. A body is decoded whole at once, so what passes here is refused by no later look at it.
"""

from typing import Any, Final

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoders raise for a body from outside, msgspec's and the standard library's."""

_decoder = msgspec.json.Decoder(dict[str, Any])


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return the fields of a body that is one JSON object, an empty one for none; None if it is not."""
    if not body:
        return {}
    try:
        return _decoder.decode(body)
    except UNREADABLE:
        return None
