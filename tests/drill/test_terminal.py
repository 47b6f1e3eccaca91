"""Lines in a terminal: what is wide, where it breaks, and what a pipe gets."""

import io

import pytest

from redrush.drill.terminal import Cell, Column, Line, Terminal, framed, line, padded, table, width_of, wrapped


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def colourful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def texts(lines: list[Line]) -> list[str]:
    return ["".join(text for text, _ in one) for one in lines]


@pytest.mark.parametrize(("text", "width"), [("", 0), ("r1", 2), ("红包", 4), ("e\u0301", 1), ("✓ 丢失", 6)])
def test_a_chinese_character_takes_two_columns_and_an_accent_none(text: str, width: int) -> None:
    assert width_of(text) == width
    assert width_of(padded(text, 8)) == 8


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("as it is", ["as it is"]),
        ("broken at a blank", ["broken at", "a blank"]),
        ("new-years-eve-2000", ["new-years-", "eve-2000"]),
        ("a new-years-eve-2000", ["a", "new-years-", "eve-2000"]),
        ("详见核对了什么", ["详见核对了", "什么"]),
        ("", [""]),
    ],
)
def test_a_line_breaks_at_blanks_or_else_anywhere_and_nothing_is_lost(text: str, lines: list[str]) -> None:
    assert texts(wrapped(line(text), 10)) == lines


def test_a_word_of_two_styles_stays_one_word() -> None:
    found = wrapped(line(("in ", "dim"), ("bo", "bold"), ("th", "red"), (" styles", "dim")), 7)
    assert found == [(("in ", "dim"), ("bo", "bold"), ("th", "red")), (("styles", "dim"),)]


@pytest.mark.parametrize("width", range(1, 9))
def test_a_terminal_without_room_for_a_frame_gets_one_all_the_same(width: int) -> None:
    assert texts(wrapped(line("红包"), width - 1))[0][0] == "红"
    assert {width_of(one) for one in texts(framed([line("红包 in a frame")], "题", "red", width))} == {8}


def test_only_the_column_that_breaks_is_made_narrower() -> None:
    columns = (Column(heading="round"), Column(heading="granted", to_the_right=True), Column(breaks=True))
    rows: list[tuple[str | Cell, ...]] = [
        ("春节", "1,234", "each of them durable first"),
        ("r2", "5", [line("two"), line("lines")]),
    ]
    assert texts(table(columns, rows, 31)) == [
        "round  granted",
        "春节     1,234  each of them",
        "                durable first",
        "r2           5  two",
        "                lines",
    ]


def test_a_frame_is_as_wide_as_it_should_be_in_any_language() -> None:
    lines = texts(framed([line("✓ 丢失 0"), line("a second line that is too long")], "春节红包", "green", 30))
    assert {width_of(one) for one in lines} == {30}
    assert lines[0].startswith("╭────")
    assert " 春节红包 " in lines[0]
    assert len(lines) == 7


@pytest.mark.usefixtures("colourful")
def test_a_terminal_gets_colours_and_a_pipe_none(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [line(("✓ ", "bold green"), "held")]
    piped, screen = io.StringIO(), Screen()
    Terminal(piped, 80).show(said)
    Terminal(screen, 80).show(said)
    assert (piped.getvalue(), screen.getvalue()) == ("✓ held\n", "\x1b[1;32m✓ \x1b[0mheld\n")
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Screen()
    Terminal(plain, 80).show(said)
    assert plain.getvalue() == "✓ held\n"


@pytest.mark.usefixtures("colourful")
def test_what_is_renewed_stands_once_and_makes_way_for_what_stays() -> None:
    screen = Screen()
    terminal = Terminal(screen, 20)
    terminal.renew([line("one"), line("two")])
    terminal.renew([line("a line that is longer than the terminal")])
    terminal.show([line("stays")])
    assert screen.getvalue() == "one\ntwo\n\x1b[2F\x1b[Ja line that is\n\x1b[1F\x1b[Jstays\n"


def test_a_terminal_that_knows_no_such_character_gets_another_and_no_fault() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Terminal(stream, 80).show([line("✓ held")])
    assert raw.getvalue() == b"? held\n"
