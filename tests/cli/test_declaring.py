"""Commands that are declared by the annotations of functions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import pytest

from redrush.cli.declaring import Argument, Group, Option

SEEN: list[Any] = []


def make() -> Group:
    app = Group()

    @app.before_each
    def before(
        context: click.Context,
        where: Annotated[str | None, Option("--where", envvar="WHERE_IT_IS", help="Where.")] = None,
    ) -> None:
        """What all of them are about."""
        context.obj = where

    @app.command()
    def give_away(
        names: Annotated[list[str], Argument(metavar="NAME…", help="To whom.")],
        data: Annotated[Path, Option("--data", metavar="DIR", help="Where it is.")],
        count: Annotated[int, Option(bounds=(1, 9), help="How many.")] = 3,
        kind: Annotated[Literal["a", "b"] | None, Option(help="Which kind.")] = None,
        tags: Annotated[list[str] | None, Option("--tag", help="Repeatable.")] = None,
        as_json: Annotated[bool, Option("--json", help="As JSON.")] = False,
    ) -> None:
        """Give something away."""
        SEEN.append((names, data, count, kind, tags, as_json, click.get_current_context().find_object(str)))

    return app


def run(line: Sequence[str]) -> Any:
    SEEN.clear()
    make().main(list(line), prog_name="redrush", standalone_mode=False)
    return SEEN[-1]


def test_what_is_typed_comes_as_it_is_annotated() -> None:
    line = "give-away u1 u2 --data d --count 4 --kind b --tag x --tag y --json"
    assert run(["--where", "here", *line.split()]) == (["u1", "u2"], Path("d"), 4, "b", ["x", "y"], True, "here")


def test_what_is_left_out_comes_as_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE_IT_IS", "there")
    assert run(["give-away", "u1", "--data", "d"]) == (["u1"], Path("d"), 3, None, None, False, "there")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("give-away --data d", "Missing argument 'NAME…'"),
        ("give-away u1", "Missing option '--data'"),
        ("give-away u1 --data d --count 10", "10 is not in the range 1<=x<=9"),
        ("give-away u1 --data d --kind c", "'c' is not one of 'a', 'b'"),
        ("give-away u1 --data d --no-json", "No such option"),
        ("take", "No such command 'take'"),
    ],
)
def test_wrong_usage_is_told(line: str, sentence: str) -> None:
    with pytest.raises(click.UsageError) as told:
        run(line.split())
    assert sentence in told.value.format_message()


def test_help_says_what_each_is_for_and_what_it_is_otherwise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(IndexError):
        run(["give-away", "-h"])
    said = " ".join(capsys.readouterr().out.split())
    for part in ("NAME… To whom.", "--data DIR Where it is. [required]", "[default: 3; 1<=x<=9]", "--json As JSON. -h"):
        assert part in said
    with pytest.raises(click.UsageError) as told:
        run([])
    told.value.show()
    said = " ".join(capsys.readouterr().err.split())
    assert "What all of them are about." in said
    assert "[env var: WHERE_IT_IS]" in said
    assert "give-away Give something away." in said
