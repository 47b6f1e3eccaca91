"""What a stack's directory may be asked to become: sets can be added between rounds, and none can be taken away."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from redrush.config import GateSpec, LimitsSpec, parse_campaign, parse_deployment
from redrush.control.event import OpenTerms, placed
from redrush.control.sealing import SealedCampaign, seal
from redrush.core.load.levels import AdmissionTerms
from redrush.errors import ConfigError
from redrush.stack.options import JOIN_US, StackOptions, StackPlan, deployment_text, plan_servers, plan_stack
from redrush.stack.role_children import groups
from redrush.stack.stack_dir import StackDir
from tests.campaigns import a_round, campaign

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
NOON_US = 1_801_915_200 * SECOND_US
LIMITS = LimitsSpec(user_per_second=0.5, address_per_second="off", trusted_proxies=(ip_network("10.0.0.0/24"),))


def _options(sets: int = 2, replicas: int = 1) -> StackOptions:
    return StackOptions(sets=sets, replicas=replicas, gates=2, port=0, control_port=0)


@pytest.fixture
def stack(tmp_path: Path) -> StackDir:
    return StackDir(tmp_path)


@pytest.fixture
def sealed(stack: StackDir) -> SealedCampaign:
    """Three rounds of an hour, at noon of three days."""
    days = (a_round(f"r{day}", packets=10, opens=f"2027-02-0{5 + day}T12:00:00Z", leftover="next") for day in (1, 2, 3))
    sealed = seal(parse_campaign(campaign(*days), "c.toml"), stack.event, 0)
    assert sealed.campaign.rounds[0].opens_us == NOON_US
    return sealed


def _was_up(stack: StackDir, plan: StackPlan) -> None:
    stack.deployment.write_text(deployment_text(plan, stack))


def test_a_plan_becomes_a_deployment_with_a_place_for_everybody(stack: StackDir) -> None:
    plan = plan_stack(_options(), stack, None, 0)
    ports = [port for spec in plan.sets for port in spec.ports] + [
        port for row in plan.controls.values() for port in row
    ]
    ports += [*plan.ports.values(), plan.postgres]
    assert len(set(ports)) == len(ports) == 4 + 2 + 2 + 6
    _was_up(stack, plan)
    deployment = parse_deployment(stack.deployment.read_text(), stack.deployment)
    assert [spec.id for spec in deployment.sets] == ["s1", "s2"]
    assert [spec.replicas_needed for spec in deployment.sets] == [1, 1]
    started = {child.name for group in groups(plan, stack.deployment) for child in group}
    assert started == set(deployment.processes), "the console names each as `redrush stack status` does"
    assert {"gate-2", "recorder-s2", "control"} <= started
    terms = OpenTerms(
        gate=GateSpec(parked_max=7),
        limits=LIMITS,
        admission=AdmissionTerms(level_at_opening=0.3),
        audience=Path("/users of 12 o'clock.txt"),
    )
    assert placed(terms, deployment) == terms, "how the gates behave is said by the event alone"


def test_the_same_stack_comes_back_at_other_ports(stack: StackDir, sealed: SealedCampaign) -> None:
    _was_up(stack, plan_stack(_options(), stack, None, 0))
    again = plan_stack(_options(), stack, sealed, NOON_US)
    assert [(spec.id, spec.from_round, len(spec.ports)) for spec in again.sets] == [("s1", None, 2), ("s2", None, 2)]
    assert [len(spec.ports) for spec in plan_servers(stack).sets] == [2, 2]


@pytest.mark.parametrize(
    ("now_us", "joins"),
    [
        (NOON_US - DAY_US, "r1"),
        (NOON_US - 61 * SECOND_US - JOIN_US, "r1"),
        (NOON_US - 60 * SECOND_US - JOIN_US, "r2"),
        (NOON_US + 1800 * SECOND_US, "r2"),
        (NOON_US + 3600 * SECOND_US, "r3"),  # the second may have the leftover of the first already
        (NOON_US + DAY_US, "r3"),
    ],
)
def test_a_new_set_joins_the_next_round_that_nothing_was_put_into(
    stack: StackDir, sealed: SealedCampaign, now_us: int, joins: str
) -> None:
    _was_up(stack, plan_stack(_options(), stack, None, 0))
    plan = plan_stack(_options(sets=3), stack, sealed, now_us)
    assert [spec.from_round for spec in plan.sets] == [None, None, joins]
    _was_up(stack, plan)
    again = plan_stack(_options(sets=3), stack, sealed, now_us + 3 * DAY_US)
    assert [spec.from_round for spec in again.sets] == [None, None, joins], "for good"


def test_what_a_stack_cannot_become_is_refused(stack: StackDir, sealed: SealedCampaign) -> None:
    _was_up(stack, plan_stack(_options(), stack, None, 0))
    with pytest.raises(ConfigError, match="the stack has 2 sets, which hold grants; give --sets 2 or more"):
        plan_stack(_options(sets=1), stack, sealed, NOON_US)
    with pytest.raises(ConfigError, match="any of which may hold the newest data; give --replicas 1 or more"):
        plan_stack(_options(replicas=0), stack, sealed, NOON_US)
    with pytest.raises(ConfigError, match="no round is left that a new set could serve"):
        plan_stack(_options(sets=3), stack, sealed, NOON_US + 2 * DAY_US)
