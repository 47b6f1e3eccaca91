"""The client policy that a stack's gates find in the data directory."""

from pathlib import Path

import pytest

from redrush.control.data_dir import DataDir
from redrush.control.policy_file import keep_policy, load_policy
from redrush.core.client_policy import ClientPolicy
from redrush.errors import ConfigError


def test_a_policy_that_was_kept_is_loaded_and_the_newer_one_counts(tmp_path: Path) -> None:
    directory = DataDir(tmp_path)
    for policy in (ClientPolicy(interval_ms=2_000), ClientPolicy(attempts_max=2)):
        keep_policy(policy, directory)
        assert load_policy(directory) == policy


def test_a_directory_without_one_means_the_defaults(tmp_path: Path) -> None:
    assert load_policy(DataDir(tmp_path)) == ClientPolicy()


def test_what_is_no_policy_or_cannot_be_kept_is_told(tmp_path: Path) -> None:
    directory = DataDir(tmp_path)
    directory.policy.write_text('{"interval_ms": "soon"}')
    with pytest.raises(ConfigError, match=r"client_policy\.json: is not a client policy"):
        load_policy(directory)
    with pytest.raises(ConfigError, match="cannot be written"):
        keep_policy(ClientPolicy(), DataDir(tmp_path / "nowhere"))
