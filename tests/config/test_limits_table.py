"""`[limits]`: what is written, what holds where nothing is written, and that both kinds of files mean the same."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from redrush.config import LimitsSpec, parse_campaign, parse_deployment
from redrush.core.load.buckets import Rate
from redrush.core.load.client_policy import ClientPolicy
from redrush.gate.asking import asking_limits
from redrush.http.asking_limits import AskingLimits
from tests.config.test_campaign_file import MINIMUM

CONNECTIONS = 1_000
LIMITS = """
[limits]
user_per_second = 1.5
user_burst = 7
address_per_second = 300
connections_per_address_max = 50
trusted_proxies = ["10.0.0.0/24", "2001:db8::1"]
"""
DEPLOYMENT = """
[event]
data = "event"
records = "postgresql://db/redrush"
[[set]]
id = "s1"
addresses = ["10.0.1.11:6379"]
"""


def _rates(limits: AskingLimits) -> tuple[Rate | None, Rate | None]:
    return limits.users.rate, limits.addresses.rate


def test_a_campaign_and_a_deployment_state_limits_alike() -> None:
    in_campaign = parse_campaign(MINIMUM + LIMITS, "c.toml").limits
    assert parse_deployment(DEPLOYMENT + LIMITS, Path("d.toml")).limits == in_campaign
    assert in_campaign.trusted_proxies == (ip_network("10.0.0.0/24"), ip_network("2001:db8::1/128"))
    assert _rates(asking_limits(in_campaign, ClientPolicy(), CONNECTIONS)) == (Rate(1.5, 7), Rate(300, 600))


@pytest.mark.parametrize(
    ("interval_ms", "user"),
    [(1_000, Rate(2, 10)), (200, Rate(10, 50)), (60_000, Rate(2, 10)), (1, Rate(2_000, 10_000))],
)
def test_where_nothing_is_written_users_may_ask_twice_as_often_as_clients_do_and_addresses_at_will(
    interval_ms: int, user: Rate
) -> None:
    assert _rates(asking_limits(LimitsSpec(), ClientPolicy(interval_ms=interval_ms), CONNECTIONS)) == (user, None)


def test_both_limits_can_be_off() -> None:
    off = parse_campaign(MINIMUM + '[limits]\nuser_per_second = "off"\naddress_per_second = "off"\n', "c.toml").limits
    assert _rates(asking_limits(off, ClientPolicy(), CONNECTIONS)) == (None, None)


@pytest.mark.parametrize(
    ("written", "share"),
    [
        ("", 250),
        ("connections_per_address_max = 10", 10),
        ('connections_per_address_max = "off"', 1_000),
        ('trusted_proxies = ["10.0.0.0/24"]', 1_000),
        ('trusted_proxies = ["10.0.0.0/24"]\nconnections_per_address_max = 10', 10),
    ],
)
def test_an_address_has_a_share_of_the_connections_where_no_proxy_is_named(written: str, share: int) -> None:
    spec = parse_campaign(f"{MINIMUM}[limits]\n{written}\n", "c.toml").limits
    limits = asking_limits(spec, ClientPolicy(), CONNECTIONS)
    assert sum(limits.enter(b"one") for _ in range(CONNECTIONS)) == share
    assert limits.enter(b"another")
