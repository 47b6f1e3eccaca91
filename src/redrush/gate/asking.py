"""How often one may ask a gate: what the file says, and where it says nothing what suits the clients."""

import math
import time
from typing import Final

from redrush.config import LimitsSpec
from redrush.core.load.buckets import Rate
from redrush.core.load.client_policy import ClientPolicy
from redrush.core.steering.switches import OFF
from redrush.http.asking_limits import AskingLimits, AskingRules, rate_of

USER_PER_SECOND_MIN: Final = 2.0
USER_BURST_MIN: Final = 10
"""A person who taps the button as fast as they can for two seconds is slowed, not refused."""

USER_PACES: Final = 2
"""A user may ask this many times as often as the client policy lets a client: for a second device, and for retries."""

USER_BURST_S: Final = 5


ADDRESS_PART: Final = 4
"""Of all connections one address may have this part, where nothing else is said and no proxy of ours stands before the
gate: a school is behind one address and hardly fills it, and who means harm needs several."""


def asking_limits(spec: LimitsSpec, policy: ClientPolicy, connections_max: int) -> AskingLimits:
    """Return the limits of a gate that takes `connections_max` connections.

    How often an address may ask is limited only where that is configured: a school may be behind one address."""
    return AskingLimits(asking_rules(spec, policy, connections_max), time.monotonic)


def asking_rules(spec: LimitsSpec, policy: ClientPolicy, connections_max: int) -> AskingRules:
    """Return what is configured, with what suits the clients where nothing is."""
    return AskingRules(
        user=_user_rate(spec, policy),
        address=_address_rate(spec),
        connections_per_address_max=_share_of_an_address(spec, connections_max),
        trusted_proxies=spec.trusted_proxies,
    )


def _share_of_an_address(spec: LimitsSpec, connections_max: int) -> int | None:
    share = spec.connections_per_address_max
    if isinstance(share, str):
        assert share == OFF
        return None
    if share is None and not spec.trusted_proxies:
        return max(1, connections_max // ADDRESS_PART)
    return share


def _user_rate(spec: LimitsSpec, policy: ClientPolicy) -> Rate | None:
    per_second = spec.user_per_second
    if isinstance(per_second, str):
        assert per_second == OFF
        return None
    if per_second is None:
        per_second = max(USER_PER_SECOND_MIN, USER_PACES * 1_000 / max(1, policy.interval_ms))
    return Rate(per_second, spec.user_burst or max(USER_BURST_MIN, math.ceil(USER_BURST_S * per_second)))


def _address_rate(spec: LimitsSpec) -> Rate | None:
    per_second = spec.address_per_second
    return None if per_second is None or isinstance(per_second, str) else rate_of(per_second, spec.address_burst)
