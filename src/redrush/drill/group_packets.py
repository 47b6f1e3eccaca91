"""The drill `group-packets`: many packets at once, each with ten times as many friends as shares, and people who guess
words.

Senders win in a round and send what they have won. The auditor takes what the crowd was told, what the server exported
and what people own in the end, and shares no code with what made them: nobody twice in a packet, no packet beyond its
shares or its money, and what senders own, and gave, and got back is what they had won.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from redrush.drill.audit import Verdict
from redrush.drill.beside import quantile_over_time
from redrush.drill.cores import share_cores
from redrush.drill.drill_report import DrillReport
from redrush.drill.event_figures import conditions
from redrush.drill.group_crowd import AT_ONCE_MAX, Crowd, People, Phone, Seen
from redrush.drill.rehearsal import HOST, Rehearsal
from redrush.drill.stage import FILES_KEPT, NOT_JUDGED, SEED, user_names
from redrush.drill.time_plot import TimePlot
from redrush.processes.open_files import allow_files

EXPIRES_S: Final = 20
SETTLE_MAX_S: Final = 60.0
LATE_MAX_S: Final = 1.0
BUCKET_S: Final = 0.25
WON: Final = Decimal("100.00")
"""What every sender has to begin with."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How many, and whether times are judged."""

    crowd: Crowd = Crowd(senders=200, packets_each=5, count=10, friends_each=100, guessers=5, total="8.00")
    friends: int = 5_000
    expires_s: int = EXPIRES_S


SHORT: Final = Shape(
    crowd=Crowd(senders=12, packets_each=3, count=4, friends_each=40, guessers=2, total="6.00"),
    friends=60,
    expires_s=2,
)
"""The same in small, for `make test`."""


def group_packets(directory: Path, redrush: Sequence[str], short: bool, tell: Callable[[str], None]) -> DrillReport:
    """Play the drill; see the module."""
    shape, begun_s, cores = SHORT if short else Shape(), time.monotonic(), share_cores()
    crowd, people = shape.crowd, shape.crowd.senders + shape.friends
    allow_files(AT_ONCE_MAX + FILES_KEPT)
    conditions_ = conditions(directory, people, AT_ONCE_MAX, cores.note)
    with Rehearsal(directory, redrush) as event:
        event.serve("serve", str(event.campaign_path(_campaign(shape))), core=cores.server)
        tickets = event.tickets(user_names(0, people))
        tell(
            f"{crowd.senders:,} people send {crowd.packets_each} packets of {crowd.count} shares each, and "
            f"{crowd.friends_each} friends follow each link"
        )
        seen, owned, settled_s = asyncio.run(_play(shape, (HOST, event.port), tickets))
        event.stop_server()
        ledger = event.reconcile()
        exported = event.grants()
    return DrillReport(
        drill="group-packets",
        title=f"{len(seen.created):,} packets between people, with twice as many friends as shares",
        method=(
            f"{crowd.senders:,} people who had won {WON} each sent {crowd.packets_each} packets of {crowd.total}; "
            f"{crowd.friends_each} friends followed each link but every fourth, {crowd.guessers} people guessed words "
            f"at every third, one packet in five was ended by its sender, the others after {shape.expires_s} s. "
            f"{NOT_JUDGED if short else ''}"
        ),
        verdicts=(*judge(seen, exported, owned, crowd), _in_time(settled_s, short=short), ledger),
        figures=_figures(seen, settled_s),
        plots=(_plot(seen),),
        conditions=conditions_,
        took_s=time.monotonic() - begun_s,
    )


def _campaign(shape: Shape) -> str:
    senders = shape.crowd.senders
    return (
        '[campaign]\nid = "demo"\nname = "packets between people"\ncurrency = "CNY"\n'
        f'[[round]]\nid = "r1"\nopens = "now"\nlasts = "1h"\nkind = "equal"\ntotal = "{WON * senders}"\n'
        f"packets = {senders}\n"
        f'[group]\nexpires = "{shape.expires_s}s"\n'
        '[limits]\nuser_per_second = "off"\nconnections_per_address_max = "off"\ntrusted_proxies = ["127.0.0.0/8"]\n'
    )


async def _play(
    shape: Shape, address: tuple[str, int], tickets: Sequence[tuple[str, str]]
) -> tuple[Seen, dict[str, Decimal], float]:
    """Return what the crowd saw, what each sender owns in the end, and how long after the last deadline that was so."""
    people = People(shape.crowd, address, tickets, SEED)
    await people.win("r1")
    senders = tickets[: shape.crowd.senders]
    await _until_owned(address, senders, lambda owned: all(amount == WON for amount in owned.values()))
    seen = await people.play()
    await asyncio.sleep(shape.expires_s)
    due = _due(seen)
    owned, settled_s = await _until_owned(
        address, senders, lambda owned: all(owned[user] == WON - due.get(user, Decimal(0)) for user in owned)
    )
    return seen, owned, settled_s


def _due(seen: Seen) -> dict[str, Decimal]:
    """Return what each sender has given in the end: what was granted of their packets."""
    given: dict[str, Decimal] = defaultdict(Decimal)
    for told in (*seen.granted, *seen.guessed):
        given[seen.created[told.packet]] += Decimal(told.amount)
    return given


async def _until_owned(
    address: tuple[str, int], users: Sequence[tuple[str, str]], is_so: Callable[[dict[str, Decimal]], bool]
) -> tuple[dict[str, Decimal], float]:
    """Ask what the users own until it is so, or `SETTLE_MAX_S` is over; return it, and how long that took."""
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    phones = {user: Phone(address, ticket) for user, ticket in users}
    while True:
        owned = {user: Decimal((await phone.ask("GET", "/balance"))[1]["available"]) for user, phone in phones.items()}
        took_s = loop.time() - begun_s
        if is_so(owned) or took_s > SETTLE_MAX_S:
            for phone in phones.values():
                phone.close()
            return owned, took_s
        await asyncio.sleep(0.1)


def judge(
    seen: Seen, exported: Sequence[dict[str, Any]], owned: dict[str, Decimal], crowd: Crowd
) -> tuple[Verdict, ...]:
    """Compare what people were told with what was written down, and with what they own."""
    shares = [row for row in exported if row["round"].startswith("packet:")]
    written = {
        row["grant"]: (row["round"].removeprefix("packet:"), row["user"], Decimal(row["amount"])) for row in shares
    }
    lost = [one for one in seen.granted if written.get(one.grant) != (one.packet, one.user, Decimal(one.amount))]
    twice = [pair for pair, times in Counter((row["round"], row["user"]) for row in shares).items() if times > 1]
    by_packet: dict[str, list[Decimal]] = defaultdict(list)
    for packet, _, amount in written.values():
        by_packet[packet].append(amount)
    total = Decimal(crowd.total)
    beyond = [
        packet
        for packet, amounts in by_packet.items()
        if len(amounts) > crowd.count or sum(amounts) > total or (len(amounts) == crowd.count and sum(amounts) != total)
    ]
    strangers = [packet for packet in by_packet if packet not in seen.created]
    given = _due(seen)
    wrong = [user for user, amount in owned.items() if amount != WON - given.get(user, Decimal(0))]
    backwards = [
        packet for packet, back in seen.ended.items() if Decimal(back) != total - sum(by_packet[packet], Decimal(0))
    ]
    expected = crowd.senders * crowd.packets_each
    return (
        Verdict("paid", seen.paid == expected, f"{seen.paid:,} of {expected:,} packets were paid and opened"),
        Verdict("lost", not lost, f"{len(lost)} of {len(seen.granted):,} shares that people were told of"),
        Verdict("doubled", not twice, f"{len(twice)} people with two shares of one packet, of {len(shares):,} shares"),
        Verdict("beyond", not beyond, f"{len(beyond)} of {len(by_packet):,} packets gave other than they held"),
        Verdict("unknown", not strangers, f"{len(strangers)} packets that nobody sent"),
        Verdict("guessed", not seen.guessed, f"{len(seen.guessed)} shares for wrong words"),
        Verdict("repeats", not seen.unlike, f"{seen.unlike} repeated requests with another answer"),
        Verdict("balances", not wrong, f"{len(wrong)} of {len(owned):,} senders own other than won less given"),
        Verdict("ended early", not backwards, f"{len(backwards)} of {len(seen.ended):,} gave back other than was left"),
        Verdict("answers", not seen.errors, f"{seen.errors} requests without an answer that makes sense"),
    )


def _in_time(settled_s: float, *, short: bool) -> Verdict:
    late = f"what was left was back {settled_s:.2f} s after the crowd's last deadline"
    return Verdict("given back", short or settled_s <= LATE_MAX_S, late)


def _plot(seen: Seen) -> TimePlot:
    asked_s, waits_ms = np.array(seen.asked_s or [0.0]), np.array(seen.waits_s or [0.0]) * 1e3
    edges = np.arange(0.0, asked_s.max() + 2 * BUCKET_S, BUCKET_S)
    return TimePlot(
        title="Grabs",
        note="First tries of friends, from asking to the answer; the crowd asks as fast as it is answered.",
        bucket_s=BUCKET_S,
        unit="milliseconds",
        series={
            "p99": quantile_over_time(asked_s, waits_ms, edges, 0.99),
            "p50": quantile_over_time(asked_s, waits_ms, edges, 0.5),
        },
        broken=(),
    )


def _figures(seen: Seen, settled_s: float) -> dict[str, Any]:
    waits_ms = np.array(seen.waits_s or [0.0]) * 1e3
    return {
        "packets": len(seen.created),
        "packets_with_words": len(seen.worded),
        "shares_granted": len(seen.granted),
        "grabs_p50_ms": round(float(np.percentile(waits_ms, 50)), 2),
        "grabs_p99_ms": round(float(np.percentile(waits_ms, 99)), 2),
        "outcomes": ", ".join(f"{name}: {count:,}" for name, count in sorted(seen.outcomes.items())),
        "ended_by_senders": len(seen.ended),
        "given_back_after_s": round(settled_s, 2),
    }
