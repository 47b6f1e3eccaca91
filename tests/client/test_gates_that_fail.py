"""Forty people beside one live gate, whose first gate is dead, hangs, refuses, is slow, or is overloaded: each has a
final answer soon, and gates that all fail get no storm."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from redrush.client.participant import READ_SOON_S, Participant, Result
from redrush.client.policy import GATE_DEADLINE_S, Showing
from redrush.core.load.client_policy import ClientPolicy
from redrush.http import answers
from redrush.processes.loopback import free_port
from tests.client.gates import serving, told
from tests.client.test_participant import SWIFT, after_policy
from tests.patience import OwnTime

PEOPLE: Final = 40
BUSY_S: Final = 3.0
"""What a machine with other work may add."""
POLICY: Final = msgspec.structs.replace(ClientPolicy(), come_back_ms=2_000)
FULL: Final = answers.problem(503, "this gate is full", "Retry-After: 1\r\n", elsewhere=True)
BROKEN: Final = answers.problem(503, "no set answers", "Retry-After: 1\r\n")
INTERVAL_S: Final = POLICY.interval_ms / 1e3
BACKOFF_S: Final = POLICY.backoff_first_ms / 1e3
COME_BACK_S: Final = 1.5 * POLICY.come_back_ms / 1e3


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def _hangs_at_claims(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A process that was stopped after it had told the policy."""
    await _answer_reads(reader, writer, 60.0)


async def _slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers all, each after a time that nobody would wait."""
    await _answer_reads(reader, writer, 60.0, reads_s=5.0)


async def _answer_reads(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, claims_s: float, reads_s: float = 0.0
) -> None:
    say = after_policy(lambda _: FULL, POLICY)
    try:
        while True:
            method, path, _ = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[0].split(" ")
            await asyncio.sleep(claims_s if method == "POST" else reads_s)
            writer.write(say(method, path) or b"")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


@asynccontextmanager
async def listening(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]) -> AsyncIterator[str]:
    connections: set[asyncio.Task[None]] = set()

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with contextlib.suppress(asyncio.CancelledError):  # the test is over, and a callback would log it
            await serve(reader, writer)  # type: ignore[misc]  # each of them is a coroutine

    server = await asyncio.start_server(joined, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _rush(gates: list[str], tickets: list[str]) -> tuple[list[Result], float]:
    """Let everybody grab at once; return what they got, and how long the last one waited, but for a core."""
    waited = OwnTime()

    async def one(ticket: str) -> Result:
        async with Participant(gates, ticket) as participant:
            return await participant.grab("r1")

    results = await asyncio.gather(*map(one, tickets))
    return list(results), waited.passed_s


async def _beside(live: str, tickets: list[str]) -> dict[str, tuple[list[Result], float, float]]:
    """Return results, how long it took, and how long it may take, by what is wrong with the first gates."""
    dead = f"http://127.0.0.1:{free_port()}"
    async with (
        listening(_silent) as silent,
        listening(_slow) as slow,
        listening(_hangs_at_claims) as stopped,
        told(lambda *_: BROKEN) as refuses,
        told(lambda *_: FULL) as full,
        told(after_policy(lambda _: None, POLICY)) as drops,
        told(after_policy(lambda _: FULL, POLICY)) as full_at_claims,
        told(after_policy(lambda _: BROKEN, POLICY)) as broken_at_claims,
        told(lambda *_: b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\n<html") as proxy,
    ):
        cases = {
            "dead": ([dead], 0.0),
            "silent": ([silent], READ_SOON_S),
            "slow": ([slow], READ_SOON_S),
            "refuses": ([refuses.url], 0.0),
            "overloaded": ([full.url], 0.0),
            "a proxy without gates": ([proxy.url], 0.0),
            "two that are dead, one silent": ([dead, silent, dead + "/"], 2 * READ_SOON_S),
            "stopped amid the claim": ([stopped], GATE_DEADLINE_S + BACKOFF_S),
            "drops the claim": ([drops.url], BACKOFF_S),
            "overloaded at the claim": ([full_at_claims.url], INTERVAL_S + COME_BACK_S),
            "refuses the claim": ([broken_at_claims.url], INTERVAL_S + COME_BACK_S),
        }
        ran = await asyncio.gather(*(_rush([*gates, live], tickets) for gates, _ in cases.values()))
        return {
            what: (results, took_s, at_most_s)
            for (what, (_, at_most_s)), (results, took_s) in zip(cases.items(), ran, strict=True)
        }


def test_forty_people_beside_one_live_gate_all_get_a_final_answer_soon(tmp_path: Path) -> None:
    client = "throttle_k = 2.0\n"
    with serving(tmp_path, 0, client, [f"u{number}" for number in range(PEOPLE)]) as (url, _, tickets):
        found = asyncio.run(_beside(url, tickets))
    for what, (results, took_s, at_most_s) in found.items():
        assert [result.showing for result in results] == [Showing.DECIDED] * PEOPLE, what
        assert took_s < at_most_s + BUSY_S, f"{what}: {took_s:.1f} s"


@pytest.mark.parametrize("answer", [None, FULL, BROKEN], ids=["drop", "elsewhere", "refuse"])
def test_gates_that_all_fail_are_asked_no_more_often_than_one_alone_but_for_one_move(answer: bytes | None) -> None:
    async def rush() -> tuple[int, list[Result]]:
        async with (
            told(after_policy(lambda _: answer)) as one,
            told(after_policy(lambda _: answer)) as two,
            told(after_policy(lambda _: answer)) as three,
        ):
            gates = [one, two, three]
            people = [Participant([gate.url for gate in gates], "ticket") for _ in range(PEOPLE)]

            async def grab(participant: Participant) -> Result:
                async with participant:
                    return await participant.grab("r1")

            results = await asyncio.gather(*map(grab, people))
            return sum(len(gate.claims_s) for gate in gates), list(results)

    claims, results = asyncio.run(rush())
    assert {result.showing for result in results} == {Showing.GIVEN_UP}
    assert claims <= PEOPLE * (SWIFT.attempts_max + 1)


async def test_a_gate_that_failed_is_not_asked_again_by_the_next_grab() -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    async with (
        told(after_policy(lambda _: None)) as bad,
        told(after_policy(lambda _: answers.json_answer({"outcome": "empty"}))) as good,
        Participant([dead, bad.url, good.url], "ticket") as participant,
    ):
        for _ in range(5):
            assert (await participant.grab("r1")).showing is Showing.DECIDED
        assert len(bad.claims_s) <= 1
        assert len(good.claims_s) == 5
