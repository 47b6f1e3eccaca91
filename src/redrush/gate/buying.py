"""What buyers ask about units that are held for them: the routes below `/v1/holds` and `/v1/orders`.

A gate asks no provider: whoever settles the sale does, behind `redrush.ports.buying`, and answers when it knows.
"""

from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import partial
from typing import Any, Final

from redrush.errors import RedrushError
from redrush.gate.device import NO_WAY, device_of
from redrush.gate.group.asked import Asked
from redrush.gate.queries import LateAnswers
from redrush.http import answers
from redrush.http.route import Route, RouteFor, Waiter
from redrush.ports.buying import Buying, Told, Wish

BUYERS_MAX: Final = 1_024
"""Wishes of buyers under way at once: each may wait for a provider."""

AWAY: Final = answers.problem(
    503, "this cannot be found out or written down now; nothing was lost, ask again", "Retry-After: 1\r\n"
)
NOT_TEXT: Final = answers.problem(400, '"address" must be a text, or be left out')


class BuyingRoutes:
    """See the module. One for each campaign that sells."""

    def __init__(self, buying: Buying, failed: Callable[[RedrushError], None]) -> None:
        """`failed` hears of faults; whoever asked is told to come again."""
        self._buying = buying
        self._failed = failed
        self._late = LateAnswers(BUYERS_MAX, self._away)

    def exact(self) -> Iterator[tuple[bytes, bytes, Asked]]:
        """Yield method, path behind `/v1` and route of what has no open segments."""
        yield b"GET", b"/orders", Asked(self._orders)

    def below(self) -> Iterator[tuple[bytes, bytes, RouteFor]]:
        """Yield method, pattern behind `/v1`, and what makes a route of the grant that is named."""
        yield b"POST", b"/holds/{}/pay", partial(self._route, self._buying.pay)
        yield b"DELETE", b"/holds/{}", partial(self._route, self._give_back)
        yield b"PUT", b"/orders/{}", partial(self._route, self._buying.send_to)

    async def _give_back(self, user: str, grant: str, _wish: Wish) -> Told:
        return await self._buying.give_back(user, grant)

    def _route(self, do: Callable[[str, str, Wish], Coroutine[Any, Any, Told]], grant: bytes) -> Route:
        def run(waiter: Waiter, user: str, fields: Mapping[str, Any]) -> bytes | None:
            address = fields.get("address")
            if address is not None and not isinstance(address, str):
                return NOT_TEXT
            if (device := device_of(waiter, fields)) is None:
                return NO_WAY
            named = grant.decode("ascii", "replace")
            return self._late.promise(waiter, _answered(do(user, named, Wish(address, device))))

        return Asked(run)

    def _orders(self, waiter: Waiter, user: str, _fields: Mapping[str, Any]) -> bytes | None:
        return self._late.promise(waiter, self._listed(user))

    async def _listed(self, user: str) -> bytes:
        return answers.json_answer({"orders": await self._buying.orders_of(user)})

    def _away(self, fault: RedrushError) -> bytes:
        self._failed(fault)
        return AWAY


async def _answered(told: Coroutine[Any, Any, Told]) -> bytes:
    said = await told
    retry = "" if said.retry_after_s is None else f"Retry-After: {said.retry_after_s}\r\n"
    if said.status < 400:
        return answers.json_answer(said.fields, f"Cache-Control: no-store\r\n{retry}")
    return answers.problem(said.status, said.detail, retry, **said.fields)
