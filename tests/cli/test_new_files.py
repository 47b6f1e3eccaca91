"""Commands that make a key or a token write it to a new file, or make none: nobody is told of one that is nowhere."""

import os
from pathlib import Path

import pytest

from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys, load_or_create_keys
from redrush.control.operators import load_operators
from tests.cli.test_commands import Run, is_one_sentence, run

__all__ = ["run"]

COMMANDS = (["webhook-key"], ["login-key", "add", "company", "--data", "d"], ["operator", "add", "ann", "--data", "d"])
each = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])


@pytest.fixture
def directory(run: Run) -> DataDir:
    assert run("init", "c.toml").code == 0
    assert run("seal", "c.toml", "--data", "d").code == 0
    load_or_create_keys(DataDir(Path("d")))
    return DataDir(Path("d"))


def refused(run: Run, directory: DataDir, command: list[str]) -> None:
    """The command tells nobody a key, and the data directory knows none."""
    said = run(*command, "--out", "new")
    assert (said.code, said.out, is_one_sentence(said.err)) == (2, "", True)
    assert "new: exists already; choose another file" in said.err
    assert (dict(load_keys(directory).tickets.logins), load_operators(directory)) == ({}, ())


@each
def test_a_link_that_leads_nowhere_is_not_taken_for_no_file(run: Run, directory: DataDir, command: list[str]) -> None:
    Path("new").symlink_to("gone/key")
    refused(run, directory, command)


@each
def test_a_file_that_came_between_stays_as_it_is(
    run: Run, directory: DataDir, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("new").write_text("another's")
    monkeypatch.setattr(os.path, "lexists", lambda _path: False)  # as it was when the command looked
    refused(run, directory, command)
    assert Path("new").read_text() == "another's"
