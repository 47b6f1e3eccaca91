"""What is installed where roles run has every library that they may need: found by following what they import, also
what they import late, where a payments file asks for it."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from redrush.core.roles import ROLES, RoleRow
from redrush.extras import EXTRAS

REPOSITORY: Final = Path(__file__).resolve().parents[2]
SOURCE: Final = REPOSITORY / "src"
LIBRARIES: Final = {module for modules in EXTRAS.values() for module in modules}
FACADE: Final = "redrush"
"""It imports the client late, for programs that take part."""
INSTALLED: Final = re.compile(r"pip install [^\n]*'\.\[([a-z,]+)\]'")


def _file_of(module: str) -> Path | None:
    place = SOURCE.joinpath(*module.split("."))
    return next((one for one in (place.with_suffix(".py"), place / "__init__.py") if one.exists()), None)


@cache
def _said_by(module: str) -> frozenset[str]:
    """Return what a module of ours imports, and the modules of the extras that it requires."""
    file = _file_of(module)
    if file is None or module == FACADE:
        return frozenset()
    said = set[str]()
    for node in ast.walk(ast.parse(file.read_bytes())):
        match node:
            case ast.Import(names):
                said.update(one.name for one in names)
            case ast.ImportFrom(module=str(source), names=names):
                said.update((source, *(f"{source}.{one.name}" for one in names)))
            case ast.Call(
                func=ast.Name("require") | ast.Attribute(attr="require"), args=[ast.Constant(str(extra)), *_]
            ):
                said.update(EXTRAS[extra])
    return frozenset(said)


def needed_by(module: str) -> set[str]:
    """Return the libraries of extras that a module may come to, by whatever it imports."""
    seen, found = set[str](), {module}
    while fresh := found - seen:
        seen |= fresh
        found |= {name for one in fresh for name in _said_by(one)}
    return {name.partition(".")[0] for name in found} & LIBRARIES


def installed_by(file: str) -> set[str]:
    """Return the libraries that the command in a shipped file installs."""
    (extras,) = INSTALLED.findall((REPOSITORY / file).read_text())
    return {module for extra in extras.split(",") for module in EXTRAS[extra]}


@pytest.mark.parametrize("row", ROLES, ids=[row.name for row in ROLES])
def test_the_image_and_the_machines_have_what_a_role_may_need(row: RoleRow) -> None:
    needed = needed_by(row.made_by.partition(":")[0])
    assert needed <= installed_by("deploy/Dockerfile")
    assert needed <= installed_by("docs/deployment.md")


def test_what_a_payments_file_may_ask_for_is_found() -> None:
    assert {"apprise", "cryptography", "stripe", "psycopg"} <= needed_by("redrush.wiring.payments_role")
