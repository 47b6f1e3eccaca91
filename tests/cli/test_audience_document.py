"""docs/audience.md as somebody pastes it."""

import re
import subprocess
import sys
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "audience.md"
COMMAND = f'redrush() {{ "{sys.executable}" -m redrush "$@"; }}'


def test_every_block_can_be_pasted_in_order(tmp_path: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    journal = "import asyncio, sys; from pathlib import Path; from redrush.stores.sqlite import SqliteStore\n"
    journal += "asyncio.run(SqliteStore.open_path(Path('event2/journal.db')))"  # what a first start leaves
    blocks.insert(-1, f'"{sys.executable}" -c "{journal}"\n')
    script = "\n".join(["set -eo pipefail", COMMAND, *blocks])
    ran = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "3 people may win 21,000 packets" in ran.stdout
    assert "1 added" in ran.stdout
    assert "carol  was forgotten" in ran.stdout
    assert ran.stdout.endswith("grant,round,slot,user,amount,granted_at\n")
    tickets = (tmp_path / "tickets.tsv").read_text(encoding="utf-8")
    assert [line.partition("\t")[0] for line in tickets.splitlines()] == ["alice", "bob", "张伟"]
    assert (tmp_path / "event" / "keys.json").read_bytes() == (tmp_path / "event2" / "keys.json").read_bytes()
