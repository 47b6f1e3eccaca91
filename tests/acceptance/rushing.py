"""People who ask one after the other on connections of their own, and how long the slowest hundredth of them waited."""

import asyncio
import time
from collections.abc import Iterable, Sequence

from tests.gate.world import Answer, read_answer, request

Errand = tuple[str, Iterable[str]]
"""Where the people of a connection claim, and their tickets."""


def slowest_hundredth_ms(took_s: Sequence[float]) -> float:
    return sorted(took_s)[int(len(took_s) * 0.99)] * 1e3


async def p99_ms(port: int, errands: Sequence[Errand], *, until_s: float = float("inf")) -> tuple[float, list[Answer]]:
    """Do as `asked` does; return the slowest hundredth of the times, in ms, and the answers."""
    took_s, answers = await asked(port, errands, until_s=until_s)
    return slowest_hundredth_ms(took_s), answers


async def asked(
    port: int, errands: Sequence[Errand], *, until_s: float = float("inf")
) -> tuple[list[float], list[Answer]]:
    """Let each connection ask with its tickets, one after the other, and nobody after this instant of the monotonic
    clock; return the times to the answers, in seconds, and these."""
    took_s: list[float] = []
    answers: list[Answer] = []

    async def ask(path: str, tickets: Iterable[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for ticket in tickets:
            if time.monotonic() > until_s:
                break
            began_s = time.perf_counter()
            writer.write(request("POST", f"{path}/grab", ticket))
            received = b""
            while (found := read_answer(received)) is None:
                more = await reader.read(65_536)
                assert more, received
                received += more
            took_s.append(time.perf_counter() - began_s)
            answers.append(found[0])
        writer.close()

    await asyncio.gather(*(ask(*errand) for errand in errands))
    return took_s, answers
