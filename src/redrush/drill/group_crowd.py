"""People around group packets: senders, friends who follow a link, password guessers, and some who ask again and again.

Each is a task with a connection of its own, as a phone has one. What they were told is kept as it came, for the
auditor: nobody here decides whether it was right.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from redrush.drill.answers import Answer, read_answer

AT_ONCE_MAX: Final = 128
"""People who are under way at once."""
WAIT_MAX_S: Final = 60.0
"""For a packet to be paid."""
LOOK_S: Final = 0.05
WORD: Final = "芝麻开门"


class Crowd(msgspec.Struct, frozen=True, kw_only=True):
    """How many people of each kind. Everybody has a ticket, in this order: senders, then friends."""

    senders: int
    packets_each: int
    count: int
    """Shares of a packet."""
    friends_each: int
    """Who follow a packet's link: more than there are shares."""
    guessers: int
    """Who try words at each packet that has one."""
    total: str


class Told(msgspec.Struct, frozen=True):
    """A grant as somebody was told of it."""

    user: str
    packet: str
    grant: str
    amount: str


class Seen(msgspec.Struct):
    """What the crowd was told, all of it."""

    created: dict[str, str] = {}
    """By packet, its sender."""
    paid: int = 0
    worded: set[str] = set()
    granted: list[Told] = []
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    guessed: list[Told] = []
    """Grants to those who did not know the word."""
    unlike: int = 0
    """Repeats that were answered with another grant."""
    ended: dict[str, str] = {}
    """By packet that its sender has ended, what went back."""
    waits_s: list[float] = []
    """From asking to the answer, of first grabs."""
    asked_s: list[float] = []
    """When these were asked, from the beginning."""
    errors: int = 0


class Phone:
    """A connection of one person. Asks one thing at a time."""

    def __init__(self, address: tuple[str, int], ticket: str, place: int = 0) -> None:
        """`place` tells whose network it is in: everybody seems to come through a proxy."""
        self._from = f"10.{place >> 16 & 255}.{place >> 8 & 255}.{place & 255}"
        self._address = address
        self._ticket = ticket
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, **fields: Any) -> tuple[int, Any]:
        """Return status and fields of the answer; a connection that broke is made again, once."""
        body = json.dumps(fields).encode() if fields else b""
        head = (
            f"{method} /v1{path} HTTP/1.1\r\nHost: demo\r\nAuthorization: Bearer {self._ticket}\r\n"
            f"X-Forwarded-For: {self._from}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        for last in (False, True):
            try:
                answer = await self._exchange(head.encode("ascii") + body)
            except (OSError, EOFError):
                self.close()
                if last:
                    raise
                continue
            return answer.status, json.loads(answer.body)
        raise AssertionError("the second try returns, or raises")

    async def _exchange(self, request: bytes) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(request)
        received = b""
        while (answer := read_answer(received)) is None:
            more = await reader.read(65_536)
            if not more:
                raise EOFError
            received += more
        return answer

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class People:
    """The crowd of one event. `play` it once."""

    def __init__(self, crowd: Crowd, address: tuple[str, int], tickets: Sequence[tuple[str, str]], seed: int) -> None:
        self.seen = Seen()
        self._crowd = crowd
        self._address = address
        self._tickets = tickets
        self._lots = random.Random(seed)  # noqa: S311 - a simulation
        self._places = asyncio.Semaphore(AT_ONCE_MAX)
        self._begun_s = 0.0

    async def win(self, round_id: str) -> None:
        """Let every sender win in the round: that is what they send packets from."""
        await asyncio.gather(*(self._win(number, round_id) for number in range(self._crowd.senders)))

    async def _win(self, number: int, round_id: str) -> None:
        async with self._places:
            phone = self._phone(number)
            await phone.ask("POST", f"/rounds/{round_id}/grab")
            phone.close()

    async def play(self) -> Seen:
        """Send all packets, and grab them; return what was seen."""
        self._begun_s = asyncio.get_running_loop().time()
        packets = [number for number in range(self._crowd.senders) for _ in range(self._crowd.packets_each)]
        async with asyncio.TaskGroup() as everybody:
            for place, sender in enumerate(packets):
                everybody.create_task(self._around_one(place, sender))
        return self.seen

    def _phone(self, number: int) -> Phone:
        return Phone(self._address, self._tickets[number][1], number)

    async def _around_one(self, place: int, sender: int) -> None:
        """One packet, from creating to its end, with everybody who is around it."""
        async with self._places:
            packet = await self._sent(place, sender)
        if packet is None:
            return
        # Every fourth link reaches half as many as there are shares: what is left has to come back.
        come = self._crowd.friends_each if place % 4 else self._crowd.count // 2
        friends = self._lots.sample(range(self._crowd.senders, len(self._tickets)), come)
        guessers = self._lots.sample(range(self._crowd.senders, len(self._tickets)), self._crowd.guessers)
        word = WORD if packet in self.seen.worded else None
        async with asyncio.TaskGroup() as around:
            if word is not None:
                for number in set(guessers) - set(friends):
                    around.create_task(self._guess(number, packet))
            for number in friends:
                around.create_task(self._follow(number, packet, word))
        if place % 5 == 0:
            await self._end(sender, packet)

    async def _sent(self, place: int, sender: int) -> str | None:
        """Create a packet, every third with a word, and wait until it is open."""
        phone, user = self._phone(sender), self._tickets[sender][0]
        fields: dict[str, Any] = {"kind": "equal" if place % 4 == 3 else "lucky", "greeting": f"№ {place}"}
        if place % 3 == 0:
            fields["word"] = WORD
        try:
            wanted = {"total": self._crowd.total, "count": self._crowd.count, "request": f"r{place}", **fields}
            status, told = await phone.ask("POST", "/packets", **wanted)
            if status != 200 or told["state"] != "unpaid":
                self.seen.errors += 1
                return None
            packet = str(told["id"])
            _, again = await phone.ask("POST", "/packets", **wanted)  # as a client does that lost the answer
            self.seen.unlike += again["id"] != packet
            self.seen.created[packet] = user
            if "word" in fields:
                self.seen.worded.add(packet)
            async with asyncio.timeout(WAIT_MAX_S):
                while (await phone.ask("GET", f"/packets/{packet}"))[1]["state"] == "unpaid":
                    await asyncio.sleep(LOOK_S)
            self.seen.paid += 1
        except (OSError, EOFError, TimeoutError):
            self.seen.errors += 1
            return None
        finally:
            phone.close()
        return packet

    async def _follow(self, number: int, packet: str, word: str | None) -> None:
        """Grab a packet whose link one was sent; ask again afterwards, as people do."""
        async with self._places:
            phone, loop = self._phone(number), asyncio.get_running_loop()
            fields = {} if word is None else {"word": word}
            began_s = loop.time()
            first = await self._grab(phone, number, packet, fields)
            self.seen.waits_s.append(loop.time() - began_s)
            self.seen.asked_s.append(began_s - self._begun_s)
            if first is not None:
                again = await self._grab(phone, number, packet, fields)
                self.seen.unlike += again is None or again.grant != first.grant
                self.seen.granted.append(first)
            phone.close()

    async def _guess(self, number: int, packet: str) -> None:
        """Try words that everybody tries, until one is told to stop."""
        async with self._places:
            phone = self._phone(number)
            for guess in ("1234", "8888", "恭喜发财", "红包来了", "password", "芝麻关门", "open", "qwer"):
                told = await self._grab(phone, number, packet, {"word": guess})
                if told is not None:
                    self.seen.guessed.append(told)
            phone.close()

    async def _grab(self, phone: Phone, number: int, packet: str, fields: dict[str, str]) -> Told | None:
        try:
            status, told = await phone.ask("POST", f"/packets/{packet}/grab", **fields)
        except (OSError, EOFError):
            self.seen.errors += 1
            return None
        if status != 200:
            self.seen.outcomes[f"status {status}"] += 1
            return None
        self.seen.outcomes[told["outcome"]] += 1
        if told["outcome"] != "granted":
            return None
        return Told(self._tickets[number][0], packet, told["grant"]["id"], told["grant"]["amount"])

    async def _end(self, sender: int, packet: str) -> None:
        async with self._places:
            phone = self._phone(sender)
            status, told = await phone.ask("DELETE", f"/packets/{packet}")
            if status == 200:
                self.seen.ended[packet] = told["returned"]
            phone.close()
