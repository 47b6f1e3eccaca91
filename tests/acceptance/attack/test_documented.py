"""What docs/limits.md shows is what happens."""

import json
import re
from pathlib import Path

from redrush.config import parse_campaign
from tests.acceptance.attack.target import attacked
from tests.deploy.servers import CAMPAIGN
from tests.integration.tls import Authority

LIMITS = (Path(__file__).resolve().parents[3] / "docs" / "limits.md").read_text(encoding="utf-8")


def test_the_warning_about_open_files_reads_as_documented(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```\n(1,024 files may be open .*?)\n```", LIMITS, re.DOTALL)
    with attacked(tmp_path, "[gate]\nconnections_max = 5000\n", files_max=1024) as target:
        said = [json.loads(line)["event"] for line in target.said().splitlines() if line.startswith("{")]
    assert " ".join(shown.split()) in said


def test_the_origins_of_the_documentation_are_taken() -> None:
    (shown,) = re.findall(r"```toml\n(\[gate\]\norigins = .*?)\n```", LIMITS, re.DOTALL)
    assert parse_campaign(f"{CAMPAIGN}{shown}\n", "c.toml").gate.origins == ("https://hongbao.example.com",)


def test_the_documented_command_serves_a_control_port_with_tls(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```\nredrush serve event.toml --data d --control-port 9103 (.*?)\n```", LIMITS, re.DOTALL)
    certificate, key = Authority(tmp_path / "authority").files("control.internal")
    named = {"control.crt": str(certificate), "control.key": str(key), "0.0.0.0": "127.0.0.1"}
    options = [named.get(word, word) for word in shown.split()]
    with attacked(tmp_path, options=options) as target:
        assert f"control https://127.0.0.1:{target.control_port}\n" in target.said()
