"""What drills have in common: an event of plain rounds, and a crowd that plays a schedule on it while others look."""

import time
import urllib.request
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from redrush.core.load.client_policy import ClientPolicy
from redrush.drill.crowd import CrowdPlan, CrowdResult
from redrush.drill.crowd_process import CrowdProcess
from redrush.drill.rehearsal import HOST, Rehearsal, RehearsalFailed

SEED: Final = 20270206
LEAD_S: Final = 2.0
LEAD_PER_PERSON_S: Final = 5e-6
"""For the crowd's process to start, take over its plan, and connect."""
TAIL_S: Final = 60.0
"""After the last planned claim: far beyond the last come-back of the last person."""
LOOK_S: Final = 0.1
FILES_KEPT: Final = 256
"""Descriptors that a drill needs besides its connections."""

NOT_JUDGED: Final = "In this short form rates and times are shown, not judged."

Look = Callable[[float], None]
"""Called some times a second, with the seconds on the crowd's axis, while a crowd plays."""


def plain_event(name: str, packets: int, rounds: Sequence[str] = ("r1",), tables: str = "") -> str:
    """Return a campaign file whose rounds are open for an hour from now, each with `packets` packets of 1.00 and one
    more, so that nobody hears that it is empty. `tables` are further ones, as written."""
    many = packets + 1
    text = "".join(
        f'[[round]]\nid = "{round_id}"\nopens = "now"\nlasts = "1h"\nkind = "equal"\ntotal = "{many}.00"\n'
        f"packets = {many}\n"
        for round_id in rounds
    )
    one_address = '[limits]\nconnections_per_address_max = "off"\n'  # the crowd comes from this machine
    return f'[campaign]\nid = "drill"\nname = "{name}"\ncurrency = "CNY"\n{text}{one_address}{tables}'


def user_names(first: int, end: int) -> list[str]:
    """Return the ids of users `first` … `end` − 1, as drills number them."""
    return [f"u{number:07}" for number in range(first, end)]


def served_policy(event: Rehearsal) -> ClientPolicy:
    """Return the client policy as participants get it. Raises OSError or msgspec.DecodeError."""
    url = f"http://{HOST}:{event.port}/v1/policy"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return msgspec.json.decode(answer.read(), type=ClientPolicy)


def starting_us(people: int) -> int:
    """Return the zero of a schedule that begins as soon as a crowd of `people` can be ready, µs since the epoch."""
    return int((time.time() + LEAD_S + LEAD_PER_PERSON_S * people) * 1e6)


def play_crowd(event: Rehearsal, plan: CrowdPlan, core: int | None, look: Look) -> CrowdResult:
    """Let a crowd play its plan in a process of its own, and return what it saw.

    Raises RehearsalFailed if it is not done `TAIL_S` after its last planned claim, ServerFailed if the server dies.
    """
    ends_s = plan.starts_us / 1e6 + float(plan.schedule.times_s[-1]) + TAIL_S
    with CrowdProcess(plan, core) as crowd:
        while time.time() < ends_s:
            news = crowd.next_report(LOOK_S)
            event.server.check()
            if isinstance(news, CrowdResult):
                return news
            look(time.time() - plan.starts_us / 1e6)
    raise RehearsalFailed(f"the crowd was not done {TAIL_S:g} s after its last planned claim")
