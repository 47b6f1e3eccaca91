"""What `redrush check` says of a file: as fields for programs, and as lines for people."""

from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.config import (
    CampaignFile,
    DeploymentFile,
    RoundSpec,
    load_deployment_file,
)
from redrush.control.doubts import Listed, doubts_about, limit_doubts, look_at_audience, opening, people
from redrush.control.user_list import as_json, read_users
from redrush.core.identity.user_ids import visible
from redrush.core.load.capacity import Need, need_of
from redrush.core.money.currency import format_amount
from redrush.core.rush.draw import DrawTerms, Prize
from redrush.core.rush.group import GroupTerms
from redrush.core.rush.instants import how_far, rfc3339
from redrush.core.rush.line import Order
from redrush.core.rush.sale import SaleTerms
from redrush.wiring.control_tls import ANY_HOST

PACKETS: Final = "packets"
UNITS: Final = "units for sale"
WARNING: Final = "  warning: "
"""So a line begins that says what may not be meant."""


def check_campaign(campaign: CampaignFile, name: str, now_us: int) -> tuple[dict[str, Any], list[str]]:
    """Return what the campaign would hand out, to whom, how clients are held, and what may not be meant; `name` is that
    of its file.

    ConfigError for the first mistake in what it names.
    """
    listed = look_at_audience(campaign)
    warnings = doubts_about(campaign, listed, now_us)
    rounds = [
        {
            "id": round_.id,
            "kind": str(round_.kind),
            "opens": "now" if round_.opens_us is None else rfc3339(round_.opens_us),
            "opens_as_written": round_.opens_text,
            "opens_in_seconds": None if round_.opens_us is None else (round_.opens_us - now_us) / 1e6,
            "lasts_seconds": round_.lasts_us / 1_000_000,
            "packets": round_.packets,
            "total": format_amount(round_.total_minor, campaign.currency),
            **({} if round_.draw is None else _draw_fields(round_.draw)),
            **({} if round_.sale is None else _sale_fields(round_.sale, campaign.currency)),
        }
        for round_ in campaign.rounds
    ]
    total_minor = sum(round_.total_minor for round_ in campaign.rounds)
    need = _need(campaign, listed)
    summary = {
        "ok": True,
        "campaign": campaign.id,
        "currency": campaign.currency,
        "rehearsal": campaign.rehearsal,
        "packets": sum(round_.packets for round_ in campaign.rounds),
        "total": format_amount(total_minor, campaign.currency),
        "rounds": rounds,
        "audience": _audience_fields(listed),
        "warnings": warnings,
        "group": None if campaign.group is None else msgspec.to_builtins(campaign.group),
        "client": msgspec.to_builtins(campaign.client),
        "lines": {round_.id: msgspec.to_builtins(round_.line) for round_ in campaign.rounds if round_.line is not None},
        "proof_of_work": msgspec.to_builtins(campaign.proof_of_work),
        **({} if need is None else {"crowd": msgspec.to_builtins(need)}),
    }
    lines = [f"{name}: fine. {_stock(campaign, total_minor)}"]
    if campaign.rehearsal:
        lines.append("  rehearsal: nobody is paid or told, and people are shown that")
    for entry, round_ in zip(rounds, campaign.rounds, strict=True):
        lines.append(
            f"  {entry['id']}: opens {_opening(campaign, str(entry['id']), now_us)}, lasts "
            f"{entry['lasts_seconds']:g} s, {round_.packets:,} {_what(round_, campaign.currency)}"
        )
        lines += [] if round_.draw is None else _draw_lines(round_.draw, campaign.currency)
        lines += [] if round_.sale is None else _sale_lines(round_.sale)
    lines += _line_lines(campaign)
    lines.append(f"  audience: {_audience_line(listed, campaign)}")
    lines += [] if need is None else [_need_line(need)]
    if campaign.budget_minor is not None:
        budget = format_amount(campaign.budget_minor, campaign.currency)
        lines.append(f"  budget: {budget} {campaign.currency}, which nothing can pass once the campaign is sealed")
    if campaign.blocked is not None:
        known = campaign.blocked.exists()
        count = people(read_users(campaign.blocked, with_lines=True).survey.users) if known else "not there"
        lines.append(f"  blocked: {count} ({campaign.blocked})")
    lines += _share_lines(campaign)
    if campaign.group is not None:
        lines.append(_group_line(campaign.group, campaign.currency))
    client = campaign.client
    lines.append(
        f"  clients: start within {client.start_window_ms:,} ms, ask every {client.interval_ms:,} ms at most, wait "
        f"{client.answer_deadline_ms:,} ms for an answer, retry {client.retry_share:.0%} of requests, come back after "
        f"{client.come_back_ms:,} ms, give up after {client.attempts_max} failures"
    )
    if (work := campaign.proof_of_work) is not None:
        lines.append(
            f"  tickets: proof of work, {work.max_number // 2:,} hashes on average; a gate exchanges "
            f"{work.exchanges_per_s:,} a second, and none within {work.rest_us / 1e6:g} s of an opening"
        )
    lines += [f"{WARNING}{visible(warning)}" for warning in warnings]
    return summary, lines


def _stock(campaign: CampaignFile, total_minor: int) -> str:
    """Return how much there is of each kind, and what it is worth together."""
    count = Counter[str]()
    for round_ in campaign.rounds:
        count[_noun(round_)] += round_.packets
    told = [f"{many:,} {noun}" for noun, many in count.items()]
    if count.keys() != {UNITS}:
        told.append(f"{format_amount(total_minor, campaign.currency)} {campaign.currency}")
    return ", ".join(told)


def _noun(round_: RoundSpec) -> str:
    """Return what the slots of the round are."""
    if round_.sale is not None:
        return UNITS
    return PACKETS if round_.draw is None else "prizes"


def _what(round_: RoundSpec, currency: str) -> str:
    """Return what there is so much of in the round, and what it is worth."""
    if round_.sale is not None:
        kind = "listed items" if round_.sale.items else "units"
        return f"{kind} for sale at {format_amount(round_.sale.price_minor, currency)} {currency} each"
    what = f"{round_.kind} packets" if round_.draw is None else "prizes to be drawn"
    return f"{what}, {format_amount(round_.total_minor, currency)} {currency}"


def _sale_fields(sale: SaleTerms, currency: str) -> dict[str, Any]:
    """Return what a sale adds to its round."""
    return {
        "price": format_amount(sale.price_minor, currency),
        "hold_seconds": sale.hold_us / 1e6,
        "return_every_seconds": sale.return_every_us / 1e6,
        "per_user": sale.limit_per_user,
        "admit_first": sale.admit_first,
        "secret_url": sale.secret_url,
        "pay": sale.pay,
        "shop": sale.shop,
        "items": len(sale.items),
    }


def _sale_lines(sale: SaleTerms) -> list[str]:
    admitted = "" if sale.admit_first is None else f"; only the first {sale.admit_first:,} people are let through"
    secret = "; at a URL that is drawn at the opening" if sale.secret_url else ""
    shop = "nobody is told" if sale.shop is None else f"{sale.shop} is told"
    return [
        f"    held for {sale.hold_us / 1e6:g} s to be paid, offered again every {sale.return_every_us / 1e6:g} s, up "
        f"to {sale.limit_per_user} a person{admitted}{secret}",
        f"    {sale.pay or 'the only provider of the payments file'} takes the money; {shop} of what is sold",
    ]


def _line_lines(campaign: CampaignFile) -> list[str]:
    """Return where people wait, and how long that may take."""
    lines = []
    for round_ in campaign.rounds:
        if (line := round_.line) is None:
            continue
        drawn = "early comers are drawn at the start" if line.order is Order.RANDOM else "first come, first served"
        in_time = int(line.pace_per_s * round_.lasts_us / 1e6)
        many = "" if line.places_max is None else f"; {line.places_max:,} people at most"
        lines.append(
            f"  {round_.id}: a line opens {line.opens_before_us / 1e6:g} s before, {drawn}; {line.pace_per_s:g} people "
            f"go in a second, {in_time:,} while the round is open{many}; who is called has {line.grace_us / 1e6:g} s "
            f"to come, and {line.admitted_us / 1e6:g} s to claim"
        )
    return lines


def _share_lines(campaign: CampaignFile) -> list[str]:
    """Return what winners share, and how much that is at most: the sponsor pays it besides the rounds."""
    lines = []
    for round_ in campaign.rounds:
        if (shares := round_.share) is None:
            continue
        each = format_amount(shares.total_minor, campaign.currency)
        most = format_amount(shares.total_minor * round_.packets, campaign.currency)
        lines.append(
            f"  {round_.id}: each winner shares {each} {campaign.currency} with {shares.count} friends, besides "
            f"the total of the round: {most} at most"
        )
    return lines


def _group_line(terms: GroupTerms, currency: str) -> str:
    kinds, after_s = " or ".join(terms.kinds), terms.expires_us / 1e6
    share, day = (format_amount(minor, currency) for minor in (terms.share_minor_max, terms.sender_day_minor_max))
    return (
        f"  packets between people: {kinds}, up to {terms.count_max} shares of {share} {currency} each, {day} a sender "
        f"and day, paid from {terms.pay}; what is left goes back after {after_s:,.0f} s"
    )


def _draw_fields(draw: DrawTerms) -> dict[str, Any]:
    """Return what a draw adds to its round."""
    return {
        "plays": {"per_user": draw.per_user, "per_day": draw.per_day, "zone": draw.zone},
        "floor": msgspec.to_builtins(draw.floor),
        "prizes": [
            {
                "id": prize.id,
                "name": prize.name,
                "holds": str(prize.holds),
                "count": prize.count,
                "odds": None if prize.odds is None else f"{prize.odds[0]}/{prize.odds[1]}",
                "release": "spread" if prize.spread else prize.per_second,
                "per_user": prize.limit_per_user,
                "otherwise": prize.otherwise,
            }
            for prize in draw.prizes
        ],
    }


def _draw_lines(draw: DrawTerms, currency: str) -> list[str]:
    in_all = "" if draw.per_user is None else f"{draw.per_user} plays a person"
    a_day = "" if draw.per_day is None else f"{draw.per_day} a day, which lapse at midnight in {draw.zone}"
    floor = "" if draw.floor is None else f"; at the latest in each {draw.floor.within}th play {draw.floor.prize}"
    lines = [f"    {', '.join(filter(None, (in_all, a_day)))}{floor}"]
    for prize in draw.prizes:
        name = prize.id if prize.name == prize.id else f"{prize.id} ({visible(prize.name)})"
        holds = {"money": f"times {format_amount(prize.each_minor, currency)} {currency}", "code": "codes"}.get(
            prize.holds, str(prize.holds)
        )
        lines.append(f"    {name}: {prize.count:,} {holds}, {_way(prize)}, up to {prize.limit_per_user} a person")
    lines.append("    what nobody has won goes back to the sponsor")
    return lines


def _way(prize: Prize) -> str:
    """Return how a prize is won."""
    if prize.odds is not None:
        way = f"odds {prize.odds[0]}/{prize.odds[1]}"
    elif prize.spread:
        way = "spread over the round at sealed instants"
    elif prize.per_second is not None:
        way = f"{prize.per_second:g} a second"
    else:
        way = "for what has run out, or as the floor"
    return way if prize.otherwise is None else f"{way}, then {prize.otherwise}"


def _opening(campaign: CampaignFile, round_id: str, now_us: int) -> str:
    """Return the opening as written, in UTC, and how long it is until then."""
    opens_us = next(round_.opens_us for round_ in campaign.rounds if round_.id == round_id)
    text = opening(campaign, round_id)
    if opens_us is None:
        return text
    far = how_far(opens_us, now_us)
    return f"{text.removesuffix(')')}, {far})" if text.endswith(")") else f"{text} ({far})"


def _audience_fields(listed: Listed | None) -> dict[str, Any] | None:
    if listed is None:
        return None
    return {"file": str(listed.path)} | ({} if listed.survey is None else as_json(listed.survey))


def _audience_line(listed: Listed | None, campaign: CampaignFile) -> str:
    """Return who may take part; how much each may have of a draw or a sale, its own lines say."""
    if listed is not None and listed.survey is None:
        return f"{listed.path}, which is not there"
    who = "everybody with a ticket" if listed is None or listed.survey is None else people(listed.survey.users)
    where = "" if listed is None else f" ({listed.path})"
    packets = sum(round_.packets for round_ in campaign.rounds if _noun(round_) == PACKETS)
    if {_noun(round_) for round_ in campaign.rounds} == {PACKETS}:
        what = "win, one packet in each round" if listed is None else f"win {packets:,} packets, one in each round"
    else:
        what = "take part; of packets one in each round" if packets else "take part"
    return f"{who} may {what}{where}"


def _need(campaign: CampaignFile, listed: Listed | None) -> Need | None:
    """Return what the crowd needs if all come who may; None: nobody knows how many that is, or nobody may."""
    if listed is None or listed.survey is None or not listed.survey.users:
        return None
    return need_of(listed.survey.users, campaign.client.start_window_ms)


def _need_line(need: Need) -> str:
    gates = "1 gate" if need.gates == 1 else f"{need.gates:,} gates"
    return (
        f"  crowd: if all come within {need.within_s:g} s, {need.requests_per_s:,} requests a second at the peak: "
        f"{gates}, each with a core of its own, and {need.connections:,} connections"
    )


def check_deployment(file: Path) -> tuple[dict[str, Any], list[str]]:
    """Return who would run where. ConfigError for the first mistake."""
    deployment = load_deployment_file(file)
    sets = [
        {
            "id": spec.id,
            "addresses": [str(address) for address in spec.addresses],
            "replicas_needed": spec.replicas_needed,
            "from_round": spec.from_round,
        }
        for spec in deployment.sets
    ]
    lines = [f"{file}: fine. {len(sets)} sets, gates at {deployment.gate.address}"]
    for spec in deployment.sets:
        addresses = ", ".join(map(str, spec.addresses))
        since = "" if spec.from_round is None else f", from round {spec.from_round}"
        lines.append(
            f"  {spec.id}: {addresses}; a grant is on {1 + spec.replicas_needed} of them before it is answered{since}"
        )
    warnings = deployment_doubts(deployment)
    if deployment.audience is not None:
        survey = read_users(deployment.audience, with_lines=True).survey if deployment.audience.exists() else None
        who = "not there" if survey is None else f"{people(survey.users)} may win"
        lines.append(f"  audience: {who} ({deployment.audience})")
        if survey is None or survey.users == 0:
            warnings.append(f"{deployment.audience}: nobody is on the list, so nobody can win")
        warnings += [] if survey is None else [f"{deployment.audience}: {doubt}" for doubt in survey.warnings()]
    lines += [f"{WARNING}{visible(warning)}" for warning in warnings]
    return {"ok": True, "sets": sets, "gate": str(deployment.gate.address), "warnings": warnings}, lines


def deployment_doubts(deployment: DeploymentFile) -> list[str]:
    """Return a sentence for whatever in the file itself would not work as it was meant, or perhaps not."""
    found = deployment.control.found_at
    doubts = [*overlapping_ports(deployment), *limit_doubts(deployment.limits)]
    if found.host in ANY_HOST:
        doubts.append(
            f"control binds {found.host}, and other machines do not find it there, so switches do not reach them: "
            f'give [control] address = "HOST:{found.port}", as they reach it'
        )
    return doubts


def overlapping_ports(deployment: DeploymentFile) -> list[str]:
    """Return a sentence for each two roles that could not run on one machine, because they listen on the same port."""
    gate = deployment.gate
    last = gate.control.port + gate.workers - 1
    taken = {
        "gate.port": (gate.address.port, gate.address.port),
        f"gate.control_port and those of its {gate.workers} workers": (gate.control.port, last),
        "query.port": (deployment.query.address.port, deployment.query.address.port),
        "payments.port": (deployment.payments.address.port, deployment.payments.address.port),
    }
    taken |= {
        f"{name}.control_port": (address.port, address.port)
        for name, address in deployment.controls.items()
        if name != "gate"
    }
    return [
        f"{one}, {_range(first)}, overlaps with {other}, {_range(second)}: on one machine only one of them can start"
        for (one, first), (other, second) in combinations(taken.items(), 2)
        if first[0] and second[0] and first[0] <= second[1] and second[0] <= first[1]
    ]


def _range(ports: tuple[int, int]) -> str:
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]} to {ports[1]}"
