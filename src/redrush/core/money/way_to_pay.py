"""How whoever pays can be shown what to pay by."""

from typing import Literal

How = Literal["qr", "jsapi", "redirect", "form"]
"""A code for another device, what the script of an app's browser needs, where to go, or a form."""
