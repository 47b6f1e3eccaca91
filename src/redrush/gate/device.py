"""What somebody pays with, as a request says it: its body what their device can show, its connection where they are."""

from collections.abc import Mapping
from typing import Any, Final

from redrush.core.money.way_to_pay import How
from redrush.http import answers
from redrush.http.client_address import text_of
from redrush.http.route import Waiter
from redrush.ports.provider import Device

NO_WAY: Final = answers.problem(400, '"how" is "qr", "jsapi" or "redirect", or is left out', field="how")
_WAYS: Final[Mapping[str, How]] = {"qr": "qr", "jsapi": "jsapi", "redirect": "redirect"}


def device_of(waiter: Waiter, fields: Mapping[str, Any]) -> Device | None:
    """Return the device of whoever asks to pay; None if `how` is no way that there is."""
    how = fields.get("how", "qr")
    way = _WAYS.get(how) if isinstance(how, str) else None
    return None if way is None else Device(way, text_of(waiter.address))
