"""Packets between people, for a program that sends or grabs them; and what winners open and share.

    async with Packets("https://hongbao.example", ticket) as packets:
        packet = await packets.send("10.00", 5, greeting="恭喜发财", word="芝麻开门")
        ...
        grabbed = await packets.grab(packet["id"], "芝麻开门")
        if grabbed["outcome"] == "granted":
            print(grabbed["grant"]["amount"])

What is answered is returned as it came; docs/openapi-participants.yaml says what is in it. Who is told to come back
comes back, a few times and not before the time that was named. A creation has a name of its own, so that asking again
after a lost answer creates nothing twice.
"""

import asyncio
import random
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final

import msgspec

from redrush.client.http import aiohttp
from redrush.errors import RedrushError

TRIES_MAX: Final = 4
"""Of one call, the first included."""
DEADLINE_S: Final = 8.0
RETRIED: Final = frozenset({429, 502, 503, 504})
RETRY_MAX_S: Final = 30.0
"""A longer `Retry-After` is not kept to: the call ends with its refusal."""
LOOK_S: Final = 0.2
OPEN_WITHIN_S: Final = 15.0

Fields = dict[str, Any]


class PacketRefused(RedrushError):
    """A call was refused. `status` and `fields` are the answer's; 0 and nothing if there was none."""

    def __init__(self, status: int, fields: Fields) -> None:
        super().__init__(str(fields.get("detail", "there was no answer")))
        self.status = status
        self.fields = fields


class Packets:
    """See the module. A context; `gate` is where participants are served, without `/v1`."""

    def __init__(self, gate: str, ticket: str, *, draw: random.Random | None = None) -> None:
        """`draw` spreads retries; one of the system's by default."""
        self._url = f"{gate.rstrip('/')}/v1"
        self._headers = {"Authorization": f"Bearer {ticket}"}
        self._draw = draw or random.SystemRandom()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Packets":
        timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def terms(self) -> Fields:
        """Return what a packet may be, and what could be paid now. Raises PacketRefused, as every call."""
        return await self._ask("GET", "/packets/terms")

    async def create(
        self,
        total: str,
        count: int,
        *,
        kind: str = "lucky",
        greeting: str = "",
        word: str | None = None,
        whom: str | Sequence[str] | None = None,
        request: str | None = None,
    ) -> Fields:
        """Create a packet, and return how it is paid. `whom`: "followers", or users; None: whoever has its id.

        `request` names the wish; the same name again is the same packet.
        """
        fields: Fields = {"kind": kind, "total": total, "count": count, "request": request or uuid.uuid4().hex}
        if greeting:
            fields["greeting"] = greeting
        if word is not None:
            fields["word"] = word
        if whom is not None:
            fields["for"] = whom if isinstance(whom, str) else list(whom)
        return await self._ask("POST", "/packets", fields)

    async def send(self, total: str, count: int, **more: Any) -> Fields:
        """Create a packet that is paid from the balance; return it once it is open. PacketRefused, with what is
        missing, if it cannot be paid."""
        packet = (await self.create(total, count, **more))["id"]
        deadline_s = asyncio.get_running_loop().time() + OPEN_WITHIN_S
        while (told := await self.look(packet))["state"] == "unpaid":
            if asyncio.get_running_loop().time() > deadline_s:
                return await self.pay(packet)
            await asyncio.sleep(LOOK_S)
        return told

    async def pay(self, packet: str) -> Fields:
        """Pay a packet that is not paid yet; return it, or how it can be paid."""
        return await self._ask("POST", f"/packets/{packet}/pay")

    async def look(self, packet: str) -> Fields:
        """Return a packet as the caller may see it."""
        return await self._ask("GET", f"/packets/{packet}")

    async def sent(self) -> list[Fields]:
        """Return the caller's packets, the last first."""
        packets: list[Fields] = (await self._ask("GET", "/packets"))["packets"]
        return packets

    async def grab(self, packet: str, word: str | None = None) -> Fields:
        """Grab a share; return the outcome, with the grant if there is one. It may be repeated without harm."""
        return await self._ask("POST", f"/packets/{packet}/grab", None if word is None else {"word": word})

    async def end(self, packet: str) -> Fields:
        """End a packet early; return it with what went back."""
        return await self._ask("DELETE", f"/packets/{packet}")

    async def open(self, grant: str) -> Fields:
        """Open what was won in a round whose winners share; return the grant with all that it holds."""
        opened: Fields = (await self._ask("POST", f"/grants/{grant}/open"))["grant"]
        return opened

    async def share(self, grant: str) -> Fields:
        """Share what was won: return the packet for friends, the same one each time."""
        return await self._ask("POST", f"/grants/{grant}/share")

    async def _ask(self, method: str, path: str, fields: Fields | None = None) -> Fields:
        status, answer, after_s = 0, Fields(), 0.0
        for number in range(TRIES_MAX):
            if number:
                await asyncio.sleep(after_s * (1 + self._draw.random() / 2))
            status, answer, after_s = await self._try(method, path, fields)
            if status not in RETRIED and status:
                break
            if after_s > RETRY_MAX_S:
                break
        if status != 200:
            raise PacketRefused(status, answer)
        return answer

    async def _try(self, method: str, path: str, fields: Fields | None) -> tuple[int, Fields, float]:
        """Return status, fields, and how long to wait before the next try; status 0 if there was no answer."""
        assert self._session is not None
        try:
            async with self._session.request(method, self._url + path, json=fields) as answer:
                body = await answer.read()
                after = answer.headers.get("Retry-After", "1")
                after_s = float(after) if after.isascii() and after.isdigit() else 1.0
                return answer.status, msgspec.json.decode(body, type=Fields), after_s
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError):
            return 0, {}, 1.0
