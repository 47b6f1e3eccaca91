"""How a gate of a stack asks the control role."""

from collections.abc import Callable
from typing import Any

from redrush.errors import RedrushError
from redrush.http.ask import ControlAddress, ControlUnreachable, ask


class Asking:
    """Asks the control role of the deployment, and tells when it cannot be asked, or will not."""

    def __init__(self, address: ControlAddress, token: str, on_fault: Callable[[RedrushError], None]) -> None:
        """`address` and `token` are those of the control role."""
        self._address = address
        self._token = token
        self._on_fault = on_fault

    async def ask(
        self, method: str, path: str, fields: dict[str, Any] | None, max_s: float, does: str
    ) -> dict[str, Any] | None:
        """Return what it answers; None if it cannot be asked, or does not what it `does`, in words."""
        try:
            answered = await ask(self._address, self._token, method, path, fields, max_s)
            if answered.status != 200:
                said = answered.fields.get("detail")
                raise ControlUnreachable(f"the control role does not {does}: {answered.status}, {said}")
        except ControlUnreachable as fault:
            self._on_fault(fault)
            return None
        return answered.fields
