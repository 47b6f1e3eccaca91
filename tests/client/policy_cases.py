"""One table of what the client policy decides, for both who follow it: the Python machine and that of the page.

A case is a policy, the numbers that chance gives, and calls in order, each with what it must return. The table is
policy_cases.json; `python -m tests.client.policy_cases` writes it anew, by the Python machine, when the policy is meant
to decide otherwise: then read what changed.
"""

import json
import random
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.client.policy import Asking, Gates
from redrush.core.load.client_policy import ClientPolicy
from redrush.core.rush.outcomes import Outcome

TABLE: Final = Path(__file__).with_name("policy_cases.json")
CASES: Final = 60
CALLS: Final = 24
SEED: Final = 20270206


def chance(draws: list[float]) -> Callable[[], float]:
    """Return the numbers one after the other, for ever."""
    numbers = cycle(draws)
    return lambda: next(numbers)


def told(step: Any) -> list[Any] | None:
    """Return a step as the table has it: the pause in microseconds, what to show, and whether at another gate."""
    if step is None:
        return None
    pause = None if step.pause_s is None else round(step.pause_s * 1e6)
    return [pause, str(step.showing), step.elsewhere]


def run(case: dict[str, Any]) -> list[Any]:
    """Return what the Python machine says to the calls of a case."""
    draw = chance(case["draws"])
    if "gates" in case:
        gates = Gates(case["gates"], draw)
        return [_of_gates(gates, *call) for call in case["calls"]]
    asking = Asking(msgspec.convert(case["policy"], ClientPolicy), draw)
    return [_of_asking(asking, *call) for call in case["calls"]]


def _of_gates(gates: Gates, name: str, now_s: float, spoke: bool) -> Any:
    if name == "failed":
        gates.failed(now_s, spoke=spoke)
    elif name == "answered":
        gates.answered()
    return [gates.at, gates.another(now_s)]


def _of_asking(asking: Asking, name: str, given: Any) -> Any:
    if name == "begin":
        return told(asking.begin(given))
    if name == "sending":
        return told(asking.sending(given))
    if name == "answered":
        outcome, advice = Outcome(given["outcome"]), {key: given[key] for key in given if key != "outcome"}
        return told(asking.answered(outcome, **advice))
    if name == "refused":
        return told(asking.refused(given["status"], **{key: given[key] for key in given if key != "status"}))
    return told(asking.failed(**given))


def _made() -> Iterator[dict[str, Any]]:
    source = random.Random(SEED)
    for number in range(CASES):
        draws = [round(source.random(), 3) for _ in range(source.randint(3, 17))]
        if number % 6 == 5:
            calls = [
                [
                    source.choice(["failed", "failed", "answered", "look"]),
                    round(at * source.uniform(1, 9), 3),
                    source.random() < 0.5,
                ]
                for at in range(CALLS)
            ]
            yield {"draws": draws, "gates": source.randint(1, 4), "calls": calls}
            continue
        policy = {
            "start_window_ms": source.choice([1_000, 200, 5_000]),
            "interval_ms": source.choice([1_000, 2_500]),
            "backoff_first_ms": 500,
            "backoff_max_ms": source.choice([8_000, 900]),
            "come_back_ms": 10_000,
            "retry_share": source.choice([0.1, 1.0, 0.0]),
            "throttle_k": source.choice([2.0, 1.0, 100.0]),
            "throttle_window_ms": source.choice([10_000, 1]),
            "attempts_max": source.choice([4, 20]),
        }
        yield {"draws": draws, "policy": policy, "calls": list(_calls(source))}


def _calls(source: random.Random) -> Iterator[list[Any]]:
    yield ["begin", source.choice([-2.0, 0.0, 7.25])]
    now_s = 0.0
    for _ in range(CALLS):
        now_s = round(now_s + source.uniform(0.1, 4), 3)
        yield ["sending", now_s]
        what = source.choice(["answered", "answered", "refused", "failed"])
        maybe = source.random() < 0.5
        if what == "answered":
            outcome = source.choice(["missed", "missed", "not_open", "empty", "granted", "closed"])
            yield [
                what,
                {
                    "outcome": outcome,
                    "interval_ms": 4_000 if maybe else None,
                    "opens_in_s": 3.5 if outcome == "not_open" else None,
                },
            ]
        elif what == "refused":
            yield [
                what,
                {
                    "status": source.choice([429, 500, 503, 503, 408, 401, 404]),
                    "retry_after_s": source.choice([None, 2.0]),
                    "interval_ms": source.choice([None, 3_000]),
                    "elsewhere": maybe,
                    "another": source.random() < 0.3,
                },
            ]
        else:
            yield [what, {"reached": maybe, "another": source.random() < 0.3}]


def _write() -> None:
    cases = [{**case, "says": run(case)} for case in _made()]
    TABLE.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")


if __name__ == "__main__":
    _write()
