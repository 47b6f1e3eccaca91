"""A reason that an order keeps says something: `--why ""` is none."""

from pathlib import Path

import pytest

from redrush.cli.main import main


@pytest.mark.parametrize(
    "words",
    [
        ["erase", "--older-than", "9d"],
        ["book", "accept"],
        ["switch", "accept"],
        ["switch", "set", "release.r1.per_second", "5"],
        ["switch", "release", "release.r1.per_second"],
        ["audience", "remove", "--user", "ann"],
        ["audience", "accept"],
        ["campaign", "end", "spring"],
        ["payout", "hold", "1"],
        ["set", "lower", "a"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("why", ["", " \t"], ids=["empty", "blank"])
def test_an_empty_reason_is_refused_before_anything_is_looked_at(
    tmp_path: Path, words: list[str], why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["redrush", *words, "--data", str(tmp_path / "event"), "--why", why])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "--why" in told
    assert "say why" in told
    assert not (tmp_path / "event").exists()
