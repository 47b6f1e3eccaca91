"""Every key of a campaign file reaches the place that uses it, in every form: `serve`, `seal` with roles, `stack up`.

What a gate is built from, and what the switchboard is opened with, is looked at where it arrives. The keys are those of
the structs that a file is read into: a new one without a row here fails.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args, get_type_hints
from unittest.mock import patch

import msgspec
import pytest

from redrush.cli.main import app
from redrush.cli.usage import run_app
from redrush.config import load_campaign_file, load_deployment_file
from redrush.config.campaign_file import CampaignTables
from redrush.control.data_dir import DataDir
from redrush.control.event import prepare_event
from redrush.control.keys import load_keys
from redrush.control.plans import Plans
from redrush.control.user_list import eligible_of
from redrush.core.rush.campaign import Kind, Leftover, Round
from redrush.core.rush.clocks import ClockCheck
from redrush.core.rush.draw import DrawTerms, Floor, PrizeKind
from redrush.core.rush.holding import table_of
from redrush.core.rush.instants import rfc3339
from redrush.core.rush.line import LineTerms, Order
from redrush.core.rush.message import Text
from redrush.core.rush.sale import SaleTerms
from redrush.core.rush.share import ShareTerms
from redrush.core.sets.address import Address
from redrush.gate.assembly import build_gate
from redrush.gate.campaign import Event
from redrush.gate.gate import Gate
from redrush.gate.manners import Home
from redrush.gate.open_files import limits_of
from redrush.http.asking_limits import AskingLimits
from redrush.http.reader import Limits
from redrush.stack.options import StackOptions, deployment_text, plan_stack
from redrush.stack.stack_dir import StackDir
from redrush.stores.memory import MemoryStore
from redrush.watch.log import server_log
from redrush.wiring import gate_of_event as made
from redrush.wiring.clock import system_clock
from redrush.wiring.embedded import Embedded, Ports
from redrush.wiring.role import surroundings
from redrush.wiring.steering import Steering

PLAIN = """
[campaign]
id = "plain"
name = "plain"
currency = "CNY"
rehearsal = true
[[round]]
id = "r1"
opens = 2030-01-01T00:00:00Z
lasts = "60s"
kind = "equal"
total = "10.00"
packets = 3
"""
OTHER = """
[campaign]
id = "other"
name = "another name"
currency = "JPY"
timezone = "Asia/Tokyo"
audience = "users.txt"
blocked = "blocked.txt"
budget = "10000"
jurisdiction = "CN"
[[round]]
id = "rush"
opens = 2031-02-03T04:05:06Z
lasts = "90s"
kind = "lucky"
total = "5000"
packets = 20
min = "3"
max = "900"
leftover = "next"
release_per_second = 7.5
[round.line]
opens = "11m"
order = "fifo"
pace = 41.5
grace = "43s"
admitted = "44s"
places_max = 4545
soft_return = 46
[gate]
connections_max = 77
parked_max = 88
origins = ["https://page.example"]
[limits]
user_per_second = 31
user_burst = 32
address_per_second = 33
address_burst = 34
connections_per_address_max = 35
trusted_proxies = ["10.0.0.0/24"]
[client]
start_window = "1101ms"
interval = "1102ms"
backoff_first = "1103ms"
backoff_max = "1104ms"
come_back = "1105ms"
answer_deadline = "1106ms"
throttle_window = "1107ms"
retry_share = 0.25
throttle_k = 3.5
attempts_max = 9
texts.fr = { asking = "a", waiting = "w", given_up = "g" }
[tickets]
proof_of_work = true
max_number = 4321
challenge_lasts = "11m"
exchanges_per_second = 234
rest = "5s"
[admission]
queueing_target = "11ms"
loop_late_target = "12ms"
wait_max = "1300ms"
interval_max = "14s"
level_at_opening = 0.15
[round.share]
total = "77"
count = 7
[[round]]
id = "lots"
opens = 2031-02-04T04:05:06Z
lasts = "90s"
kind = "draw"
plays = { per_user = 4, per_day = 2 }
floor = { within = 2, prize = "lamp" }
[[round.prize]]
id = "lamp"
holds = "goods"
count = 40
odds = "3/4"
[[round]]
id = "hour"
opens = 2032-02-04T04:05:00Z
lasts = "90s"
kind = "equal"
total = "30"
packets = 3
every = "1h"
until = 2032-02-04T06:30:00Z
[group]
kinds = ["equal", "lucky_double_mean"]
count_max = 51
share_max = "52"
sender_day_max = "530"
expires = "54m"
pay = "bank"
followers = "https://friends.example/"
[page]
language = "en"
title = { en = "The title" }
greeting = { en = "The greeting" }
rules = { en = "The rules" }
login = "https://login.example/"
renew = "https://login.example/renew"
colours = { red = "#010203" }
dark = { red = "#040506" }
texts = { en = { won = "Hooray" } }
names = { rush = "The rush" }
offline = false
picture = "picture.svg"
sounds = { won = "tune" }
[payout]
provider = "bank"
policy = "threshold"
threshold = "40"
approve = true
[[message]]
by = "mail"
of = ["code"]
language = "en"
zh = { title = "t", text = "u" }
en = { title = "v", text = "w" }
[[round]]
id = "seats"
opens = 2031-02-05T04:05:06Z
lasts = "90s"
kind = "sale"
price = "49"
units = 9
hold = "46s"
return_every = "4s"
limit_per_user = 3
admit_first = 33
secret_url = true
pay = "bank"
shop = "store"
[[round]]
id = "listed"
opens = 2031-02-05T04:05:06Z
lasts = "90s"
kind = "sale"
price = "49"
items = "seats.csv"
[[playbook]]
name = "calm"
settings = { "sampling.non_core" = 0.5 }
description = "quiet"
[[rule]]
name = "slow"
playbook = "calm"
reading = "store.claims_waiting"
leaves_at = 101
returns_at = 102
after = "13s"
hold = "14s"
"""


class Served(msgspec.Struct):
    """What arrived at the places that use it."""

    event: Event
    limits: Limits
    asking: AskingLimits
    plans: Plans

    @property
    def round(self) -> Round:
        return self.event.campaign.rounds[0]

    @property
    def amounts(self) -> list[int]:
        """What the slots of that round hold."""
        slots = self.round.slots
        return list(self.event.amounts[slots.first : slots.end])

    @property
    def draw(self) -> DrawTerms:
        """That of the second round; one without prizes where there is none."""
        rounds = self.event.campaign.rounds[1:]
        return (rounds[0].draw if rounds else None) or DrawTerms(prizes=())

    def _of(self, round_id: str) -> Round | None:
        return self.event.campaign.round(round_id)

    @property
    def sale(self) -> SaleTerms:
        """That of the third round; another one where there is none."""
        seats = self._of("seats")
        return (seats and seats.sale) or SaleTerms(price_minor=1, hold_us=1, return_every_us=1)

    @property
    def units(self) -> int:
        seats = self._of("seats")
        return 0 if seats is None else seats.slots.count

    @property
    def items(self) -> tuple[str | None, ...]:
        """What the slots of the fourth round hold."""
        listed = self._of("listed")
        return () if listed is None else tuple(table_of(self.event.amounts).texts(listed.slots) or ())


def _listed(served: Served) -> bool:
    return served.event.audience is not None and "ann" in served.event.audience and "bob" not in served.event.audience


def _rate(served: Served, who: str) -> Any:
    return getattr(served.asking, who).rate


def _book(served: Served) -> Any:
    return served.plans.playbooks[0] if served.plans.playbooks else None


def _rule(served: Served) -> Any:
    return served.plans.rules[0] if served.plans.rules else None


def _allowed_of_an_address(served: Served) -> int:
    """Count how many connections of one address are let in."""
    count = 0
    while served.asking.enter(b"9.9.9.9") and count < 100:
        count += 1
    for _ in range(count):
        served.asking.leave(b"9.9.9.9")
    return count


def _policy(key: str, value: object) -> tuple[Callable[[Served], Any], object]:
    return lambda served: getattr(served.event.policy, key), value


def _work(key: str, value: object) -> tuple[Callable[[Served], Any], object]:
    return lambda served: getattr(served.event.proof_of_work, key, None), value


def _terms(key: str, value: object) -> tuple[Callable[[Served], Any], object]:
    return lambda served: getattr(served.event.admission, key), value


def _group(key: str, value: object) -> tuple[Callable[[Served], Any], object]:
    return lambda served: getattr(served.event.group, key, None), value


def _message(key: str, value: object) -> tuple[Callable[[Served], Any], object]:
    return lambda served: getattr(served.event.messages[0], key) if served.event.messages else None, value


def _page(key: str, value: object) -> tuple[Callable[[Served], Any], object]:
    return lambda served: getattr(served.event.page, key), value


ROWS: dict[str, tuple[Callable[[Served], Any], object]] = {
    "campaign.id": (lambda s: s.event.campaign.id, "other"),
    "campaign.name": (lambda s: s.event.campaign.name, "another name"),
    "campaign.currency": (lambda s: s.event.campaign.currency, "JPY"),
    "campaign.timezone": (lambda s: s.event.campaign.timezone, "Asia/Tokyo"),
    "campaign.audience": (_listed, True),
    "campaign.blocked": (lambda s: s.event.audience is None or "carl" in s.event.audience, False),
    "campaign.rehearsal": (lambda s: s.event.campaign.rehearsal, False),  # a rehearsal has few of the other tables
    "campaign.budget": (lambda s: s.event.campaign.budget_minor, 10_000),
    "round.every": (
        lambda s: [one.id for one in s.event.campaign.rounds if one.id.startswith("hour")],
        ["hour-0405", "hour-0505", "hour-0605"],
    ),
    "round.until": (lambda s: rfc3339(s.event.campaign.rounds[-1].opens_us), "2032-02-04T06:05:00.000000Z"),
    "round.id": (lambda s: s.round.id, "rush"),
    "round.opens": (lambda s: s.round.opens_us, 1_927_857_906_000_000),
    "round.lasts": (lambda s: s.round.closes_us - s.round.opens_us, 90_000_000),
    "round.kind": (lambda s: s.round.kind, Kind.LUCKY),
    "round.total": (lambda s: sum(s.amounts), 5_000),
    "round.packets": (lambda s: len(s.amounts), 20),
    "round.min": (lambda s: s.round.min_minor, 3),
    "round.max": (lambda s: s.round.max_minor, 900),
    "round.leftover": (lambda s: s.round.leftover, Leftover.NEXT),
    "round.release_per_second": (lambda s: s.round.release_per_s, 7.5),
    "round.line": (
        lambda s: s.round.line,
        LineTerms(
            opens_before_us=660_000_000,
            order=Order.FIFO,
            pace_per_s=41.5,
            grace_us=43_000_000,
            admitted_us=44_000_000,
            places_max=4_545,
            soft_return=46,
        ),
    ),
    "round.share": (lambda s: s.round.share, ShareTerms(total_minor=77, count=7)),
    "round.plays": (lambda s: (s.draw.per_user, s.draw.per_day), (4, 2)),
    "round.prize": (
        lambda s: [(one.id, one.holds, one.count, one.odds) for one in s.draw.prizes],
        [("lamp", PrizeKind.GOODS, 40, (3, 4))],
    ),
    "round.floor": (lambda s: s.draw.floor, Floor(2, "lamp")),
    "round.price": (lambda s: s.sale.price_minor, 49),
    "round.units": (lambda s: s.units, 9),
    "round.items": (lambda s: s.items, ("item:A-1", "item:B-2")),
    "round.hold": (lambda s: s.sale.hold_us, 46_000_000),
    "round.return_every": (lambda s: s.sale.return_every_us, 4_000_000),
    "round.limit_per_user": (lambda s: s.sale.limit_per_user, 3),
    "round.admit_first": (lambda s: s.sale.admit_first, 33),
    "round.secret_url": (lambda s: s.sale.secret_url, True),
    "round.pay": (lambda s: s.sale.pay, "bank"),
    "round.shop": (lambda s: s.sale.shop, "store"),
    "gate.connections_max": (lambda s: s.limits.connections_max, 77),
    "gate.parked_max": (lambda s: s.limits.parked_max, 88),
    "gate.origins": (lambda s: s.limits.origins, ("https://page.example",)),
    "limits.user_per_second": (lambda s: _rate(s, "users").per_second, 31),
    "limits.user_burst": (lambda s: _rate(s, "users").burst, 32),
    "limits.address_per_second": (lambda s: getattr(_rate(s, "addresses"), "per_second", None), 33),
    "limits.address_burst": (lambda s: getattr(_rate(s, "addresses"), "burst", None), 34),
    "limits.connections_per_address_max": (_allowed_of_an_address, 35),
    "limits.trusted_proxies": (lambda s: s.asking.clients.of_peer("10.0.0.9")[1], True),
    "client.start_window": _policy("start_window_ms", 1_101),
    "client.interval": _policy("interval_ms", 1_102),
    "client.backoff_first": _policy("backoff_first_ms", 1_103),
    "client.backoff_max": _policy("backoff_max_ms", 1_104),
    "client.come_back": _policy("come_back_ms", 1_105),
    "client.answer_deadline": _policy("answer_deadline_ms", 1_106),
    "client.throttle_window": _policy("throttle_window_ms", 1_107),
    "client.retry_share": _policy("retry_share", 0.25),
    "client.throttle_k": _policy("throttle_k", 3.5),
    "client.attempts_max": _policy("attempts_max", 9),
    "client.texts": (lambda s: getattr(s.event.policy.texts.get("fr"), "waiting", None), "w"),
    "tickets.proof_of_work": (lambda s: s.event.proof_of_work is not None, True),
    "tickets.max_number": _work("max_number", 4_321),
    "tickets.challenge_lasts": _work("challenge_lasts_s", 660),
    "tickets.exchanges_per_second": _work("exchanges_per_s", 234),
    "tickets.rest": _work("rest_us", 5_000_000),
    "admission.queueing_target": _terms("queueing_target_ms", 11),
    "admission.loop_late_target": _terms("loop_late_target_ms", 12),
    "admission.wait_max": _terms("wait_max_ms", 1_300),
    "admission.interval_max": _terms("interval_max_ms", 14_000),
    "admission.level_at_opening": _terms("level_at_opening", 0.15),
    "group.kinds": _group("kinds", (Kind.EQUAL, Kind.LUCKY_DOUBLE_MEAN)),
    "group.count_max": _group("count_max", 51),
    "group.share_max": _group("share_minor_max", 52),
    "group.sender_day_max": _group("sender_day_minor_max", 530),
    "group.expires": _group("expires_us", 54 * 60_000_000),
    "group.pay": _group("pay", "bank"),
    "group.followers": _group("followers", "https://friends.example/"),
    "page.language": _page("language", "en"),
    "page.title": _page("title", {"en": "The title"}),
    "page.greeting": _page("greeting", {"en": "The greeting"}),
    "page.rules": _page("rules", {"en": "The rules"}),
    "page.login": _page("login", "https://login.example/"),
    "page.renew": _page("renew", "https://login.example/renew"),
    "page.colours": _page("colours", {"red": "#010203"}),
    "page.dark": _page("dark", {"red": "#040506"}),
    "page.texts": _page("texts", {"en": {"won": "Hooray"}}),
    "page.names": _page("names", {"rush": "The rush"}),
    "page.offline": _page("offline", False),
    "page.picture": _page("picture", "data:image/svg+xml;base64,PHN2Zy8+"),
    "page.sounds": _page("sounds", {"won": "tune"}),
    "payout.provider": (lambda s: getattr(s.event.payout, "provider", None), "bank"),
    "payout.policy": (lambda s: getattr(s.event.payout, "policy", None), "threshold"),
    "payout.threshold": (lambda s: getattr(s.event.payout, "threshold_minor", None), 40),
    "payout.approve": (lambda s: getattr(s.event.payout, "approve", None), True),
    "message.by": _message("by", "mail"),
    "message.of": _message("of", (PrizeKind.CODE,)),
    "message.language": _message("language", "en"),
    "message.zh": (lambda s: s.event.messages and s.event.messages[0].texts["zh"], Text("t", "u")),
    "message.en": (lambda s: s.event.messages and s.event.messages[0].texts["en"], Text("v", "w")),
    "playbook.name": (lambda s: getattr(_book(s), "name", None), "calm"),
    "playbook.settings": (lambda s: getattr(_book(s), "settings", None), {"sampling.non_core": 0.5}),
    "playbook.description": (lambda s: getattr(_book(s), "description", None), "quiet"),
    "rule.name": (lambda s: getattr(_rule(s), "name", None), "slow"),
    "rule.playbook": (lambda s: getattr(_rule(s), "playbook", None), "calm"),
    "rule.reading": (lambda s: getattr(_rule(s), "reading", None), "store.claims_waiting"),
    "rule.leaves_at": (lambda s: getattr(_rule(s), "leaves_at", None), 101),
    "rule.returns_at": (lambda s: getattr(_rule(s), "returns_at", None), 102),
    "rule.after": (lambda s: getattr(_rule(s), "after_s", None), 13),
    "rule.hold": (lambda s: getattr(_rule(s), "hold_s", None), 14),
}


CHECKED = ("campaign.jurisdiction",)
"""Keys that only say what is to be told before an event: tests/control/test_draw_doubts.py."""


def _keys_of_a_campaign_file() -> Iterator[str]:
    for table, shape in get_type_hints(CampaignTables).items():
        entry = (*get_args(shape), shape)[0]
        kinds = get_args(entry) or (entry,)
        tags = {kind.__struct_config__.tag_field for kind in kinds} - {None}
        keys = {field.name for kind in kinds for field in msgspec.structs.fields(kind)} | tags
        yield from (f"{table}.{key}" for key in keys)


def test_every_key_of_a_campaign_file_has_a_row() -> None:
    assert sorted(_keys_of_a_campaign_file()) == sorted([*ROWS, *CHECKED])


class _Arrived:
    """Looks on while a form is brought up."""

    def __init__(self) -> None:
        self.gates: list[tuple[Event, Limits, AskingLimits]] = []
        self.plans: list[Plans] = []

    def build(self, event: Event, limits: Limits, *args: Any, asking: AskingLimits, **named: Any) -> Gate:
        self.gates.append((event, limits, asking))
        return build_gate(event, limits, *args, asking=asking, **named)

    def served(self) -> Served:
        [(event, limits, asking)], [plans] = self.gates, self.plans
        return Served(event, limits, asking, plans)


@asynccontextmanager
async def _looking_on() -> AsyncIterator[_Arrived]:
    arrived, open_board = _Arrived(), Steering.open

    def opened(data_dir: DataDir, plans: Plans, *args: Any) -> Steering:
        arrived.plans.append(plans)
        return open_board(data_dir, plans, *args)

    with patch.object(made, "build_gate", arrived.build), patch.object(Steering, "open", opened):
        yield arrived


async def _serve(file: Path, directory: Path) -> Served:
    async with _looking_on() as arrived:
        embedded = Embedded(load_campaign_file(file), DataDir(directory), Ports("127.0.0.1", 0, None))
        await embedded.start()
        await embedded.stop()
        return arrived.served()


def _broke(fault: Exception) -> None:
    raise fault


async def _roles(deployment: Path) -> Served:
    """Make a gate and open the board as the roles do, over stores in memory."""
    around = surroundings(load_deployment_file(deployment), Address("127.0.0.1", 0), system_clock())
    store = MemoryStore()
    async with _looking_on() as arrived:
        made.gate_of_event(
            around.sealed,
            around.terms,
            load_keys(around.data_dir),
            eligible_of(around.terms.audience, around.terms.blocked)[0],
            limits_of(around.terms.gate, server_log(), 1),
            lambda round_: [Home("s1", store, round_.slots)],
            now_us=around.clock.now_us,
            failed=_broke,
            clock_check=ClockCheck(),
        )
        operating = Steering.open(
            around.data_dir, around.terms.plans, around.sealed.campaign, around.clock.now_us, _broke
        )
        await operating.stop()
        return arrived.served()


async def _seal(file: Path, directory: Path) -> Served:
    command = ["redrush", "seal", str(file), "--data", str(directory)]
    with pytest.raises(SystemExit) as ended, patch("sys.argv", command):
        run_app(app)
    assert not ended.value.code
    deployment = directory.with_suffix(".toml")
    deployment.write_text(
        f'[event]\ndata = "{directory}"\nrecords = "postgresql://h/db"\n'
        '[[set]]\nid = "s1"\naddresses = ["127.0.0.1:6379"]\n'
    )
    return await _roles(deployment)


async def _stack(file: Path, directory: Path) -> Served:
    stack = StackDir(directory)
    campaign = load_campaign_file(file)
    options = StackOptions(sets=1, replicas=0, gates=1, port=0, control_port=0)
    plan = plan_stack(options, stack, None, system_clock().now_us())
    prepare_event(campaign, stack.event, system_clock().now_us)
    stack.deployment.write_text(deployment_text(plan, stack))
    return await _roles(stack.deployment)


FORMS = {"serve": _serve, "seal": _seal, "stack": _stack}


@pytest.mark.parametrize("form", FORMS)
async def test_every_key_reaches_its_place(form: str, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("ann\ncarl\n")
    (tmp_path / "blocked.txt").write_text("carl\n")
    (tmp_path / "seats.csv").write_text("A-1\nB-2\n")
    (tmp_path / "picture.svg").write_text("<svg/>")
    found = {}
    for name, text in (("plain", PLAIN), ("other", OTHER)):
        file = tmp_path / f"{name}.toml"
        file.write_text(text)
        found[name] = await FORMS[form](file, tmp_path / name)
    told = {key: observe(found["other"]) for key, (observe, _) in ROWS.items()}
    assert told == {key: value for key, (_, value) in ROWS.items()}
    alike = [key for key, (observe, _) in ROWS.items() if told[key] == observe(found["plain"])]
    assert alike == [], "a key whose value is that of a file without it proves nothing"
