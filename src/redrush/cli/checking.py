"""What `redrush check` says of a file: as fields for programs, and as lines for people."""

from pathlib import Path
from typing import Any

import msgspec

from redrush.config import load_campaign_file, load_deployment_file
from redrush.core.instants import rfc3339
from redrush.core.money import format_amount


def check_campaign(file: Path) -> tuple[dict[str, Any], list[str]]:
    """Return what the campaign would hand out, and how clients are held. ConfigError for the first mistake."""
    campaign = load_campaign_file(file)
    rounds = [
        {
            "id": round_.id,
            "kind": str(round_.kind),
            "opens": "now" if round_.opens_us is None else rfc3339(round_.opens_us),
            "lasts_seconds": round_.lasts_us / 1_000_000,
            "packets": round_.packets,
            "total": format_amount(round_.total_minor, campaign.currency),
        }
        for round_ in campaign.rounds
    ]
    total_minor = sum(round_.total_minor for round_ in campaign.rounds)
    summary = {
        "ok": True,
        "campaign": campaign.id,
        "currency": campaign.currency,
        "packets": sum(round_.packets for round_ in campaign.rounds),
        "total": format_amount(total_minor, campaign.currency),
        "rounds": rounds,
        "client": msgspec.to_builtins(campaign.client),
        "proof_of_work": msgspec.to_builtins(campaign.proof_of_work),
    }
    lines = [f"{file}: fine. {summary['packets']:,} packets, {summary['total']} {campaign.currency}"]
    lines += [
        f"  {entry['id']}: opens {entry['opens']}, lasts {entry['lasts_seconds']:g} s, "
        f"{entry['packets']:,} {entry['kind']} packets, {entry['total']} {campaign.currency}"
        for entry in rounds
    ]
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
    return summary, lines


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
    return {"ok": True, "sets": sets, "gate": str(deployment.gate.address)}, lines
