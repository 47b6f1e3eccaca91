"""What a stack's gates find in the data directory beside the seal."""

from pathlib import Path

import msgspec
import pytest

from redrush.config import parse_campaign
from redrush.control.data_dir import DataDir
from redrush.control.unsealed import keep_unsealed, load_policy, load_proof_of_work
from redrush.core.identity.proof_of_work import ProofOfWork
from redrush.core.load.client_policy import ClientPolicy
from redrush.errors import ConfigError
from tests.test_config import MINIMUM

CAMPAIGN = parse_campaign(MINIMUM, "c.toml")


def test_what_was_kept_is_loaded_and_the_newer_one_counts(tmp_path: Path) -> None:
    directory = DataDir(tmp_path)
    for policy, work in (
        (ClientPolicy(interval_ms=2_000), ProofOfWork(max_number=9)),
        (ClientPolicy(attempts_max=2), None),
    ):
        keep_unsealed(msgspec.structs.replace(CAMPAIGN, client=policy, proof_of_work=work), directory)
        assert (load_policy(directory), load_proof_of_work(directory)) == (policy, work)


def test_a_directory_without_it_means_the_defaults(tmp_path: Path) -> None:
    assert (load_policy(DataDir(tmp_path)), load_proof_of_work(DataDir(tmp_path))) == (ClientPolicy(), None)


def test_what_cannot_be_read_or_kept_is_told(tmp_path: Path) -> None:
    directory = DataDir(tmp_path)
    directory.policy.write_text('{"interval_ms": "soon"}')
    with pytest.raises(ConfigError, match=r"client_policy\.json: is not a client policy"):
        load_policy(directory)
    directory.proof_of_work.write_text("maybe")
    with pytest.raises(ConfigError, match=r"proof_of_work\.json: is not what to ask for tickets"):
        load_proof_of_work(directory)
    with pytest.raises(ConfigError, match="cannot be written"):
        keep_unsealed(CAMPAIGN, DataDir(tmp_path / "nowhere"))
