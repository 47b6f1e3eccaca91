"""The how-to of sales and its example; what it serves is in tests/acceptance/selling."""

import re
import tomllib
from pathlib import Path

import pytest

from redrush.config import load_campaign_file, load_payments_file
from redrush.operate.checking import check_campaign

ROOT = Path(__file__).parents[2]
HOW_TO = (ROOT / "docs/how-to/sale.md").read_text(encoding="utf-8")


def test_the_example_is_the_sample_and_is_fine(tmp_path: Path) -> None:
    example = ROOT / "examples/sale.toml"
    sample = (ROOT / "src/redrush/cli/sample_sale.toml").read_text(encoding="utf-8")
    assert tomllib.loads(sample.replace("{id}", "sale2027")) == tomllib.loads(example.read_text(encoding="utf-8"))
    fields, lines = check_campaign(load_campaign_file(example), str(example), 1_800_000_000_000_000)
    assert fields["rounds"][0]["price"] == "4999.00"
    text = "\n".join(lines)
    assert "500 units for sale at 4999.00 CNY each" in text
    assert "held for 600 s to be paid, offered again every 30 s, up to 1 a person; at a URL that is drawn" in text


def test_its_payments_file_names_a_bank_and_a_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [text] = re.findall(r"```toml\n(.*?)```", HOW_TO, re.DOTALL)
    (tmp_path / "payments.toml").write_text(text, encoding="utf-8")
    file = load_payments_file(tmp_path / "payments.toml")
    assert [(one.name, one.kind) for one in file.providers] == [("bank", "sandbox"), ("store", "webhook")]
    example = load_campaign_file(ROOT / "examples/sale.toml")
    assert example.rounds[0].sale is not None
