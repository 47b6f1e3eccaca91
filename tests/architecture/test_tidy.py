"""House rules about the source that no linter knows: paths that documents name, long modules, maxima, privates."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import redrush

PACKAGE = Path(redrush.__file__).parent
REPOSITORY = Path(__file__).parents[2]
LINES_MAX = 400
LONG_BECAUSE = "Long, because"
"""So begins the sentence in the docstring of a module over LINES_MAX that says why it is one thing."""

MAXIMUM = re.compile(r"[A-Z0-9_]*_MAX(_[A-Z]+)?")
QUOTED = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"[\w.-]+(/[\w.*-]+)+/?|[\w-]+/")


def parsed(*roots: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Yield each Python file below the roots, and what it says."""
    for root in roots:
        for path in sorted(root.rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def exists(named: str) -> bool:
    """Whether a path is there, in package or repository; `a/b` and `a/b.Name` name a module, and what it has."""
    if any(any(root.glob(one)) for root in (PACKAGE, REPOSITORY) for one in (named.rstrip("/"), f"{named}.py")):
        return True
    module, _, name = named.rpartition(".")
    source = PACKAGE / f"{module}.py"
    return source.is_file() and re.search(rf"\b{re.escape(name)}\b", source.read_text(encoding="utf-8")) is not None


def test_every_path_that_architecture_names_is_there() -> None:
    text = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = {word for quoted in QUOTED.findall(text) for word in quoted.split() if PATH.fullmatch(word)}
    assert len(named) > 100
    assert not [name for name in sorted(named) if not exists(name)]


def test_every_module_that_the_source_names_is_there() -> None:
    """`redrush.a.b.Name` in a docstring or a comment, in what was moved since."""
    named = re.compile(r"`redrush\.((?:\w+\.)*\w+)")
    wrong = []
    for root in (PACKAGE, REPOSITORY / "tests"):
        for path in sorted(root.rglob("*.py")):
            words = named.findall(path.read_text(encoding="utf-8"))
            wrong += [(path.name, word) for word in words if not exists(word.replace(".", "/")) and not _has(word)]
    assert not wrong


def _has(word: str) -> bool:
    """Whether `a.b.Name` or `a.b.Name.method` is in the module a.b, or in a package's front."""
    parts = word.split(".")
    for length in range(len(parts) - 1, -1, -1):
        module = PACKAGE.joinpath(*parts[:length])
        source = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
        if source.is_file():
            return re.search(rf"\b{parts[length]}\b", source.read_text(encoding="utf-8")) is not None
    return False


def test_long_modules_say_why_they_are_one_thing() -> None:
    long = [path for path, _ in parsed(PACKAGE) if path.read_text(encoding="utf-8").count("\n") > LINES_MAX]
    unexplained = [path for path, tree in parsed(PACKAGE) if path in long and LONG_BECAUSE not in _opening(tree)]
    assert not [path.relative_to(PACKAGE).as_posix() for path in unexplained]


def _opening(tree: ast.Module) -> str:
    return " ".join((ast.get_docstring(tree) or "").split())


def test_every_maximum_is_read_somewhere() -> None:
    """A bound that nobody asks is none."""
    named: set[str] = set()
    read: set[str] = set()
    for _, tree in parsed(PACKAGE):
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                (read if isinstance(node.ctx, ast.Load) else named).add(node.id)
            elif isinstance(node, ast.Attribute):
                read.add(node.attr)
    maxima = {name for name in named if MAXIMUM.fullmatch(name)}
    assert len(maxima) > 100
    assert not sorted(maxima - read)


def test_no_module_imports_what_is_private_to_another() -> None:
    wrong = []
    for path, tree in parsed(PACKAGE, REPOSITORY / "tests"):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in {"redrush", "tests"}:
                wrong += [(path.name, node.module, name) for alias in node.names if _is_private(name := alias.name)]
    assert not wrong


def test_no_module_reaches_into_another() -> None:
    """`module._name`, where the module was imported under that name and nothing else in the file has it."""
    wrong = []
    for path, tree in parsed(PACKAGE, REPOSITORY / "tests"):
        modules = set(_imported_modules(tree)) - {
            node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        wrong += [
            (path.name, ast.unparse(node))
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and _is_private(node.attr) and ast.unparse(node.value) in modules
        ]
    assert not wrong


def _imported_modules(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("redrush"):
            package = PACKAGE.parent.joinpath(*str(node.module).split("."))
            for alias in node.names:
                if (package / f"{alias.name}.py").is_file() or (package / alias.name).is_dir():
                    yield alias.asname or alias.name


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_configuration_creates_nothing() -> None:
    """ARCHITECTURE.md's code map says so; no import tells whether a file is written."""
    writing = {"write_text", "write_bytes", "mkdir", "touch", "unlink", "rename", "replace", "open"}
    wrong = []
    for path, tree in parsed(PACKAGE / "config"):
        for node in ast.walk(tree):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr in writing:
                arguments = [*node.args, *(keyword.value for keyword in node.keywords)]  # type: ignore[attr-defined]
                modes = [one.value for one in arguments if isinstance(one, ast.Constant) and isinstance(one.value, str)]
                if called.attr not in {"open", "replace"} or any(set(mode) & set("wax+") for mode in modes[:1]):
                    wrong.append((path.name, ast.unparse(node)))
    assert not wrong


def test_only_sealing_writes_what_is_sealed() -> None:
    """The campaign and its amounts are written once, by `control/sealing`, and put back by a backup that has them."""
    writers = set()
    for path, tree in parsed(PACKAGE):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"write_durably", "create_durably"}:
                target = ast.unparse(node.args[0])
                if target.endswith((".campaign", ".amounts")):
                    writers.add(path.relative_to(PACKAGE).as_posix())
    assert writers == {"control/sealing.py"}


def test_no_two_modules_of_the_tests_have_one_name() -> None:
    """pytest imports them by their names alone, and stops at the second."""
    names = [path.name for path in (REPOSITORY / "tests").rglob("*.py") if path.name != "__init__.py"]
    tests = [name for name in names if name.startswith("test_")]
    assert sorted({name for name in tests if tests.count(name) > 1}) == []


def test_scripts_of_a_schema_are_numbered_without_a_gap_and_none_has_the_number_of_another() -> None:
    folders = [path for path in PACKAGE.rglob("migrations") if path.is_dir()]
    assert folders
    for folder in folders:
        numbers = sorted(int(script.name.partition("_")[0]) for script in folder.glob("*.sql"))
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), folder


def test_nothing_waits_in_a_way_that_loses_a_cancellation() -> None:
    """`asyncio.wait_for` of Python 3.11 returns what it waited for where that comes together with a cancellation, which
    is lost then: who was to end goes on for ever. `asyncio.timeout` does not."""
    used = [
        (path.relative_to(PACKAGE).as_posix(), node.lineno)
        for path, tree in parsed(PACKAGE)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "asyncio.wait_for"
    ]
    assert not used
