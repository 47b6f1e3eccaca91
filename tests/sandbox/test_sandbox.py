"""The sandbox over HTTP: each fault as it is described, and what its adapter takes it for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from redrush.http.fetch import Fetcher, TargetRefused, Unfetched, is_public
from redrush.http.small_server import Asked, Reply, SmallServer
from redrush.http.sockets import Reserved
from redrush.ports.provider import Absent, Accepted, Bill, Done, Forged, Notice, Probe, Rejected, Stale, Unknown
from redrush.providers.sandbox.bank import Bank
from redrush.providers.sandbox.remote import SECRET, TERMS, SandboxLink, SandboxNotices, SandboxPayOut
from redrush.sandbox.server import Sandbox
from tests.patience import PATIENCE_S

NOON_US = 1_800_000_000_000_000
HASTY = msgspec.structs.replace(TERMS, deadline_s=0.3)


class World(msgspec.Struct):
    sandbox: Sandbox
    pay_out: SandboxPayOut
    url: str
    heard: list[Notice | Forged | Stale | Probe]
    """What the receiver of notices made of each."""


@asynccontextmanager
async def world(*, calls_per_s_max: float | None = None) -> AsyncIterator[World]:
    heard: list[Notice | Forged | Stale | Probe] = []
    notices = SandboxNotices([SECRET])

    def now_us() -> int:
        return NOON_US

    async def receive(asked: Asked) -> Reply:
        said = notices.read(asked.headers, asked.body, now_us())
        heard.append(said)
        status, body = notices.answer("kept" if isinstance(said, Notice) else "refused")
        return Reply(status, body)

    receiver = SmallServer(receive)
    port = await receiver.serve(Reserved.at("127.0.0.1", 0))
    bank = Bank()
    sandbox = Sandbox(
        bank, now_us, seed=7, notify=f"http://127.0.0.1:{port}/notices", hour_s=0.0, calls_per_s_max=calls_per_s_max
    )
    url = f"http://127.0.0.1:{await sandbox.serve(Reserved.at('127.0.0.1', 0))}"
    link = SandboxLink(url, [SECRET], now_us, HASTY)
    try:
        yield World(sandbox, SandboxPayOut(link), url, heard)
    finally:
        link.close()
        await sandbox.stop()
        await receiver.stop()
        bank.close()


def bill(number: str = "N1") -> Bill:
    return Bill(number=number, amount_minor=888, currency="CNY", to="u1", subject="red packet")


def play(story: Callable[[World], Awaitable[None]], **options: float) -> None:
    async def run() -> None:
        async with world(**options) as one:
            await story(one)

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


DONE_FIRST = ["answer_lost", "error_after", "unsigned", "wrong_signature", "unknown_key", "drips", "clock_off"]


@pytest.mark.parametrize("fault", DONE_FIRST)
def test_what_was_done_and_cannot_be_believed_is_unknown_and_found_later(fault: str) -> None:
    async def story(one: World) -> None:
        one.sandbox.faults.set({fault: 1.0})
        assert isinstance(await one.pay_out.start(bill()), Unknown)
        one.sandbox.faults.set({fault: 0.0})
        assert isinstance(await one.pay_out.find("N1"), Done)

    play(story)


@pytest.mark.parametrize("fault", ["request_lost", "error_before"])
def test_what_was_not_done_and_not_answered_is_unknown_and_absent_later(fault: str) -> None:
    async def story(one: World) -> None:
        one.sandbox.faults.set({fault: 1.0})
        assert isinstance(await one.pay_out.start(bill()), Unknown)
        one.sandbox.faults.set({fault: 0.0})
        assert await one.pay_out.find("N1") == Absent()

    play(story)


def test_too_many_calls_are_turned_away_with_nothing_done() -> None:
    async def story(one: World) -> None:
        answers = [await one.pay_out.start(bill(f"N{number}")) for number in range(4)]
        assert [type(answer) for answer in answers] == [Accepted, Accepted, Rejected, Rejected]
        assert answers[3] == Rejected("too many calls", final=False, retry_after_s=1.0)
        assert [(one_.kind, one_.count) for one_ in one.sandbox.bank.sums()] == [("payout", 2)]

    play(story, calls_per_s_max=2.0)


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ("notice_twice", ["Notice", "Notice"]),
        ("notice_20", ["Notice"] * 20),
        ("notice_late", ["Notice"]),  # an hour lasts no time here
        ("notice_early", ["Notice"]),
        ("notices_swapped", ["Notice", "Notice"]),
        ("notice_amount", ["Notice"]),
        ("notice_probe", ["Probe", "Notice"]),
        ("notice_reserialised", ["Forged", "Notice"]),
        ("notice_forged", ["Forged", "Notice"]),
        ("notice_foreign", ["Forged", "Notice"]),
    ],
)
def test_notices_come_as_they_are_said_to(fault: str, kinds: list[str]) -> None:
    async def story(one: World) -> None:
        one.sandbox.faults.set({fault: 1.0})
        await one.pay_out.start(bill())
        if fault == "notice_early":
            assert one.heard, "before the answer"
        await until(lambda: len(one.heard) >= len(kinds))
        await asyncio.sleep(0)
        assert [type(said).__name__ for said in one.heard][: len(kinds)] == kinds
        first = next(said for said in one.heard if isinstance(said, Notice))
        assert first.amount_minor == (889 if fault == "notice_amount" else 888)

    play(story)


def test_a_notice_that_is_never_sent_is_never_heard() -> None:
    async def story(one: World) -> None:
        one.sandbox.faults.set({"notice_never": 1.0})
        await one.pay_out.start(bill("N1"))
        one.sandbox.faults.set({"notice_never": 0.0})
        await one.pay_out.start(bill("N2"))
        await until(lambda: bool(one.heard))
        assert [said.number for said in one.heard if isinstance(said, Notice)] == ["N2"]

    play(story)


def test_an_old_notice_that_is_sent_again_is_stale() -> None:
    async def story(one: World) -> None:
        captured: list[Asked] = []
        notices = SandboxNotices([SECRET])

        async def capture(asked: Asked) -> Reply:
            captured.append(asked)
            return Reply(204)

        listener = SmallServer(capture)
        port = await listener.serve(Reserved.at("127.0.0.1", 0))
        one.sandbox.notify = f"http://127.0.0.1:{port}/"
        await one.pay_out.start(bill())
        await until(lambda: bool(captured))
        await listener.stop()
        asked = captured[0]
        assert isinstance(notices.read(asked.headers, asked.body, NOON_US), Notice)
        assert isinstance(notices.read(asked.headers, asked.body, NOON_US + 301_000_000), Stale)
        assert isinstance(notices.read(asked.headers, asked.body, NOON_US - 301_000_000), Stale)
        assert isinstance(notices.read(asked.headers, asked.body + b" ", NOON_US), Forged)
        assert isinstance(notices.read({}, asked.body, NOON_US), Forged)

    play(story)


def test_faults_are_listed_and_set_over_http() -> None:
    async def story(one: World) -> None:
        people = Fetcher()
        listed = msgspec.json.decode((await people.fetch("GET", f"{one.url}/faults")).body)
        assert listed["answer_lost"]["share"] == 0.0
        answer = await people.fetch("PUT", f"{one.url}/faults", body=b'{"answer_lost": 0.25}')
        assert (answer.status, msgspec.json.decode(answer.body)) == (200, {"answer_lost": 0.25})
        wrong = await people.fetch("PUT", f"{one.url}/faults", body=b'{"nonsense": 1}')
        assert wrong.status == 400
        assert b"nonsense" in wrong.body
        for unreadable in (b"[" * 50_000, b'{"\xff": 1}', b"{"):
            assert (await people.fetch("PUT", f"{one.url}/faults", body=unreadable)).status == 400
        book = await people.fetch("GET", f"{one.url}/book")
        assert msgspec.json.decode(book.body)["bills"] == []
        people.close()

    play(story)


def test_addresses_in_private_networks_are_refused_where_that_is_asked_for() -> None:
    for private in (
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "::1", "fe80::1", "fd00::1",
        "::ffff:10.0.0.1", "64:ff9b::a00:1", "100.64.0.1", "224.0.0.1",
    ):  # fmt: skip
        assert not is_public(private), private
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1::1")

    async def story(one: World) -> None:
        guarded = Fetcher(public_only=True)
        for url in (one.url, one.url.replace("127.0.0.1", "localhost")):
            with pytest.raises(TargetRefused, match="private = true"):
                await guarded.fetch("GET", f"{url}/livez")
        with pytest.raises(Unfetched):
            await guarded.fetch("GET", "file:///etc/passwd")

    play(story)
