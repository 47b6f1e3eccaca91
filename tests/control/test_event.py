"""The event on disk: one way to prepare it, one file for what is open, and directories of earlier releases."""

import shutil
from pathlib import Path
from typing import Final

import msgspec
import pytest

from redrush.config import load_campaign_file, load_deployment_file, parse_campaign, parse_deployment
from redrush.control.data_dir import DataDir
from redrush.control.event import (
    OpenTerms,
    keep_open_terms,
    load_campaign,
    load_event,
    load_open_terms,
    open_terms_of,
    placed,
    prepare_event,
    require_open_terms,
)
from redrush.core.identity.proof_of_work import ProofOfWork
from redrush.core.load.client_policy import ClientPolicy
from redrush.core.sets.address import Address
from redrush.errors import ConfigError
from redrush.wiring.clock import system_clock
from redrush.wiring.role import surroundings
from tests.config.test_campaign_file import MINIMUM

SEALED_BEFORE: Final = Path(__file__).parent / "fixtures" / "sealed_before"
"""A directory as `redrush seal` of the release before `event.json` has written it, with its campaign file."""
CAMPAIGN = parse_campaign(MINIMUM, "c.toml")
EVERYTHING_OPEN = """
[gate]
connections_max = 7
origins = ["https://page.example"]
[limits]
user_per_second = 3
address_per_second = "off"
trusted_proxies = ["10.0.0.0/24", "2001:db8::1"]
[admission]
wait_max = "700ms"
[client]
interval = "3s"
[tickets]
proof_of_work = true
max_number = 99
[[playbook]]
name = "calm"
settings = { "sampling.non_core" = 0 }
[[rule]]
name = "slow"
playbook = "calm"
reading = "store.claims_waiting"
leaves_at = 10
returns_at = 1
"""
DEPLOYMENT = """
[event]
data = "."
records = "postgresql://h/db"
[[set]]
id = "s1"
addresses = ["10.0.0.1:6379"]
"""


def _now_us() -> int:
    return 1_800_000_000_000_000


def test_what_was_prepared_is_loaded_and_the_newer_one_counts(tmp_path: Path) -> None:
    directory = DataDir(tmp_path)
    for text in (MINIMUM + EVERYTHING_OPEN, MINIMUM):
        file = parse_campaign(text, str(tmp_path / "c.toml"))
        prepared = prepare_event(file, directory, _now_us)
        assert prepared.event.open == open_terms_of(file) == load_open_terms(directory)
        loaded = load_event(directory)
        assert (loaded.open, loaded.sealed.campaign) == (prepared.event.open, prepared.event.sealed.campaign)
        assert list(loaded.sealed.amounts) == list(prepared.event.sealed.amounts)


def test_a_name_may_change_after_the_seal_and_is_the_one_that_is_shown(tmp_path: Path) -> None:
    directory = DataDir(tmp_path)
    prepare_event(CAMPAIGN, directory, _now_us)
    renamed = msgspec.structs.replace(CAMPAIGN, name="another name", timezone="Asia/Shanghai")
    prepare_event(renamed, directory, _now_us)
    campaign = load_campaign(directory)
    assert (campaign.name, campaign.timezone) == ("another name", "Asia/Shanghai")


def test_a_deployment_goes_before_the_campaign_key_by_key(tmp_path: Path) -> None:
    terms = open_terms_of(parse_campaign(MINIMUM + EVERYTHING_OPEN, str(tmp_path / "c.toml")))
    path = tmp_path / "d.toml"
    assert placed(terms, parse_deployment(DEPLOYMENT, path)) == terms, "a deployment without keys changes none"
    own = "[gate]\nparked_max = 5\n[limits]\nuser_per_second = 9\n[admission]\nlevel_at_opening = 0.5\n"
    changed = placed(terms, parse_deployment(DEPLOYMENT.replace("[event]", '[event]\naudience = "u.txt"') + own, path))
    assert (changed.gate.connections_max, changed.gate.parked_max) == (7, 5)
    assert (changed.limits.user_per_second, changed.limits.address_per_second) == (9, "off")
    assert (changed.admission.wait_max_ms, changed.admission.level_at_opening) == (700, 0.5)
    assert changed.audience == tmp_path / "u.txt"


def test_a_deployment_that_does_not_go_with_the_campaign_is_refused(tmp_path: Path) -> None:
    terms = open_terms_of(parse_campaign(MINIMUM + '[admission]\nqueueing_target = "300ms"\n', "c.toml"))
    deployment = parse_deployment(DEPLOYMENT + '[admission]\nwait_max = "200ms"\n', tmp_path / "d.toml")
    with pytest.raises(ConfigError, match=r"\[admission\] of the deployment file .* must not be below queueing_target"):
        placed(terms, deployment)


def test_a_directory_of_an_earlier_release_is_read_and_its_files_go_with_the_next_start(tmp_path: Path) -> None:
    directory = DataDir(tmp_path)
    prepare_event(CAMPAIGN, directory, _now_us)
    directory.event.unlink()
    assert load_open_terms(directory) == OpenTerms()
    policy, work, plans = directory.before_event_file
    policy.write_bytes(msgspec.json.encode(ClientPolicy(interval_ms=2_000)))
    work.write_bytes(msgspec.json.encode(ProofOfWork(max_number=9)))
    plans.write_text('{"playbooks":[{"name":"calm","description":"","settings":{"sampling.non_core":0}}],"rules":[]}')
    found = load_open_terms(directory)
    assert (found.client.interval_ms, found.proof_of_work) == (2_000, ProofOfWork(max_number=9))
    assert [book.name for book in found.plans.playbooks] == ["calm"]
    prepare_event(CAMPAIGN, directory, _now_us)
    assert [path.exists() for path in directory.before_event_file] == [False] * 3
    assert load_open_terms(directory) == open_terms_of(CAMPAIGN)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("client_policy.json", '{"interval_ms": "soon"}', "is not a client policy"),
        ("proof_of_work.json", "maybe", "is not what to ask for tickets"),
        ("plans.json", "[]", "is not a file of plans"),
        ("event.json", "[]", "is not the open part of an event"),
        ("event.json", '{"version": 1, "open": {"limits": {"trusted_proxies": ["x"]}}}', "does not appear to be an IP"),
        ("event.json", '{"version": 9, "open": {"new": 1}}', "has version 9; this redrush reads version 1"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=sentence) as refused:
        load_open_terms(DataDir(tmp_path))
    assert str(tmp_path / name) in str(refused.value)


def test_roles_do_not_start_without_the_open_part(tmp_path: Path) -> None:
    directory = DataDir(tmp_path)
    prepare_event(CAMPAIGN, directory, _now_us)
    require_open_terms(directory)
    directory.event.unlink()
    with pytest.raises(ConfigError, match=r"event\.json: is missing; `redrush seal FILE --data .*` writes it anew"):
        require_open_terms(directory)


def test_what_cannot_be_kept_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        keep_open_terms(OpenTerms(), DataDir(tmp_path / "nowhere"))


def test_a_directory_that_was_sealed_before_is_served_by_roles_as_it_is_and_sealed_again(tmp_path: Path) -> None:
    root = tmp_path / "event"
    shutil.copytree(SEALED_BEFORE, root)
    (tmp_path / "d.toml").write_text(DEPLOYMENT.replace('data = "."', 'data = "event"'))
    deployment = load_deployment_file(tmp_path / "d.toml")
    around = surroundings(deployment, Address("127.0.0.1", 0), system_clock())
    file = load_campaign_file(root / "campaign.toml")
    expected = msgspec.structs.replace(open_terms_of(file), name=None, timezone=None)
    assert around.terms == expected, "what that release kept is what is served"
    before = load_event(DataDir(root)).sealed
    again = prepare_event(file, DataDir(root), _now_us).event
    assert (again.sealed.campaign, list(again.sealed.amounts)) == (before.campaign, list(before.amounts))
    assert again.open == open_terms_of(file) == load_open_terms(DataDir(root))
