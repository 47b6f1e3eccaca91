"""The `[limits]` table, of campaign and deployment files alike: how often one user and one address may ask a gate."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

import msgspec

from redrush.config.toml_file import Wrong, wrong_at
from redrush.core.load.buckets import Rate
from redrush.core.steering.switches import OFF

PROXIES_MAX = 256
"""Networks of one's own balancers; each new address is compared with all of them."""

RateValue = float | str
"""Requests per second, or `OFF`."""


class LimitsTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[limits]` as written; None where the default holds."""

    user_per_second: RateValue | None = None
    user_burst: int | None = None
    address_per_second: RateValue | None = None
    address_burst: int | None = None
    connections_per_address_max: int | str | None = None
    trusted_proxies: list[str] = []


class LimitsSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A checked `[limits]` table. What is written as "off" is `OFF`, what is left out None."""

    user_per_second: RateValue | None = None
    user_burst: int | None = None
    address_per_second: RateValue | None = None
    address_burst: int | None = None
    connections_per_address_max: int | str | None = None
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()


def limits_of_table(table: LimitsTable) -> LimitsSpec:
    """Return the limits that the table states. Raises Wrong for one that nothing could pass."""
    for who in ("user", "address"):
        _check_rate(who, getattr(table, f"{who}_per_second"), getattr(table, f"{who}_burst"))
    connections_max = table.connections_per_address_max
    if isinstance(connections_max, str):
        if connections_max != OFF:
            raise Wrong("limits.connections_per_address_max", f'"{connections_max}" is neither a number nor "{OFF}"')
    elif connections_max is not None and connections_max < 1:
        raise Wrong("limits.connections_per_address_max", f'must be at least 1, or "{OFF}"')
    return LimitsSpec(
        user_per_second=table.user_per_second,
        user_burst=table.user_burst,
        address_per_second=table.address_per_second,
        address_burst=table.address_burst,
        connections_per_address_max=connections_max,
        trusted_proxies=_networks(table.trusted_proxies),
    )


def _check_rate(who: str, per_second: RateValue | None, burst: int | None) -> None:
    if isinstance(per_second, str):
        if per_second != OFF:
            raise Wrong(f"limits.{who}_per_second", f'"{per_second}" is neither a number nor "{OFF}"')
        if burst is not None:
            raise Wrong(f"limits.{who}_burst", f'is of no use with {who}_per_second = "{OFF}"')
    elif per_second is not None:
        with wrong_at(f"limits.{who}_per_second"):
            Rate(per_second, 2)
    if burst is not None:
        with wrong_at(f"limits.{who}_burst"):
            Rate(1, burst)


def _networks(texts: Sequence[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    if len(texts) > PROXIES_MAX:
        raise Wrong("limits.trusted_proxies", f"at most {PROXIES_MAX} networks are possible")
    with wrong_at("limits.trusted_proxies"):
        return tuple(ip_network(text) for text in texts)
