"""docs/backup.md: its commands, as they stand there, on a directory that was served."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.acceptance.rollback.one_machine import CAMPAIGN, Machine, Told, run

PAGE = Path(__file__).parents[3] / "docs" / "backup.md"


def test_the_commands_of_the_page_work_as_they_stand_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    backup, restore, compared, honour, only, rebuild, promote = blocks
    (tmp_path / "campaign.toml").write_text(CAMPAIGN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    machine = Machine(Path("campaign.toml"), Path("data"))
    told = Told()
    machine.serve(["a", "b"], told)

    def follow(block: str, *also: str) -> None:
        for line in block.splitlines():
            code, said = run(*shlex.split(line)[1:], *also, monkeypatch=monkeypatch)
            assert code == 0, f"{line}: {said}"

    follow(backup)
    Path("receipts.txt").write_text("".join(f"{grant[2]}\n" for grant in told.grants.values()), encoding="utf-8")
    follow(restore)
    follow(compared)
    follow(honour)
    follow(only)
    machine.serve(["a", "b", "c"], told)
    for file in Path("data").glob("journal.db*"):
        file.unlink()
    follow(rebuild)
    machine.serve(["a", "b", "c", "d"], told)
    shutil.copytree("data", "copy")
    follow(promote)
    Machine(Path("campaign.toml"), Path("copy")).serve(["a", "b", "c", "d", "e"], told)
