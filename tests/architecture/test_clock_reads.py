"""The wall clock is read where a process starts and nowhere else: rounds are opened by a clock that cannot jump."""

import ast
from collections.abc import Iterator
from pathlib import Path

import redrush

ROOT = Path(redrush.__file__).parent
WALL_CLOCK = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
ALLOWED = {
    ("wiring/clock.py", "wall_us"),  # at the start of a process; later only to tell whether it was set
    ("cli/main.py", "ticket"),  # the expiry of tickets that are issued by hand
    ("cli/beginning.py", "init"),  # "in 2 minutes", in a file that a person is about to read
    ("cli/outermost.py", "_write"),  # when a command broke off, in the file with the details
    ("control/generations.py", "note_generation"),  # an operator's command on a set, in the log of such commands
    ("watch/log.py", "_write"),  # when a line of the log was written, for people who hold several logs side by side
    ("operate/backup.py", "backup"),  # when a backup was made, in its manifest
    ("client/issue.py", "ticket"),  # a login service's own program, not a process of the event
}
SERVING = (
    "gate", "http", "control", "core", "ports", "stores", "records", "settle", "watch", "wiring", "operate", "config",
    "cli", "client",
)  # fmt: skip
"""What runs in, or decides for, an event. The crowd and the reports of `drill` measure wall time by their nature."""


def _reads(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the function, and what is read in it, of each mention of the wall clock."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for alias in node.names
    }

    def walk(node: ast.AST, function: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
            if isinstance(child, ast.Attribute):
                name = ".".join(ast.unparse(child).split(".")[-2:])
                if name in WALL_CLOCK:
                    yield function, name
            elif isinstance(child, ast.Name) and imported.get(child.id) in WALL_CLOCK:
                yield function, child.id
            yield from walk(child, inside)

    yield from walk(tree, "")


def test_only_the_start_of_a_process_reads_the_wall_clock() -> None:
    found = set()
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT)
        if relative.parts[0] in SERVING:
            found |= {(relative.as_posix(), function) for function, _ in _reads(path)}
    assert found == ALLOWED


def test_the_search_finds_every_spelling(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text(
        "import time, datetime\nfrom time import time_ns as t\nfrom datetime import datetime as dt\n"
        "def a(): return time.time()\ndef b(): return t()\ndef c(): return datetime.datetime.now(None)\n"
        "async def d(): return [time.time_ns]\ndef e(): return time.monotonic()\n"
    )
    assert [function for function, _ in _reads(source)] == ["a", "b", "c", "d"]
