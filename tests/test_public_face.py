"""What `import redrush` offers to programs of other people."""

import ast
import importlib.resources
import json
import subprocess
import sys
from pathlib import Path

import pytest

import redrush
from redrush.control.data_dir import DataDir
from redrush.control.keys import load_or_create_keys
from redrush.core.identity.receipts import ReceiptSigner

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.parametrize("name", redrush.__all__)
def test_every_name_of_the_face_is_there_and_says_what_it_is(name: str) -> None:
    offered = getattr(redrush, name)
    assert name in dir(redrush)
    assert name == "__version__" or offered.__doc__


def test_a_name_that_is_not_offered_is_refused_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match=r"no public name 'Gate'; it has .*Participant"):
        redrush.Gate  # type: ignore[attr-defined] # noqa: B018 - the access is the test


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    program = (
        "import sys, json, redrush; first = [n for n in sys.modules if n.startswith('redrush')]; "
        "redrush.verify_receipt; print(json.dumps([first, 'aiohttp' in sys.modules]))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert json.loads(said) == [["redrush"], False]


def test_a_receipt_is_verified_by_the_keys_of_its_directory(tmp_path: Path) -> None:
    keys = load_or_create_keys(DataDir(tmp_path))
    text = ReceiptSigner(keys.receipts, "c", "r1", "CNY").sign(7, 345, "张三", 1)
    receipt = redrush.verify_receipt(redrush.receipt_keys(tmp_path), text)
    assert receipt is not None
    assert (receipt.user, receipt.slot, receipt.amount_minor) == ("张三", 7, 345)
    assert redrush.verify_receipt(redrush.receipt_keys(tmp_path), text.replace("~345~", "~346~")) is None


def test_the_package_tells_type_checkers_that_it_is_typed() -> None:
    assert (importlib.resources.files("redrush") / "py.typed").is_file()


@pytest.mark.parametrize("example", sorted((REPOSITORY / "examples").rglob("*.py")), ids=lambda path: path.name)
def test_examples_import_the_public_face_alone(example: Path) -> None:
    """They are checked by mypy in `make check`, as a user's program that finds py.typed is."""
    modules = {node.module for node in ast.walk(ast.parse(example.read_text())) if isinstance(node, ast.ImportFrom)}
    assert not {module for module in modules if module and module.startswith("redrush.")}
