"""The OpenAPI document for participants, held against answers that real servers gave.

An answer has to be one that the document tells of: its status, its headers, its type, and every field of its body.
"""

import json
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.gate.world import Answer

DOCUMENT = Path(__file__).parents[1] / "docs/openapi-participants.yaml"
_URN = "urn:participants"
_VERBS = frozenset({"get", "post", "put", "delete"})

_FORMATS = FormatChecker(formats=())


def _is_instant(text: object) -> bool:
    return isinstance(text, str) and text.endswith("Z") and datetime.fromisoformat(text).tzinfo is not None


_FORMATS.checkers["date-time"] = (_is_instant, ValueError)

Operation = tuple[str, str]
"""A method and the template of a path."""


@cache
def document() -> Any:
    """Return the document. Every object of its schemas is closed here: a field that it does not tell of is an error."""
    return _closed(yaml.safe_load(DOCUMENT.read_text(encoding="utf-8")))


def _closed(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed(one) for one in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items()}
    if closed.get("type") == "object" and "properties" in closed:
        closed.setdefault("additionalProperties", False)
    return closed


def operations() -> dict[Operation, set[int]]:
    """Return the statuses that the document tells of, by operation."""
    return {
        (verb.upper(), path): {int(status) for status in item[verb]["responses"]}
        for path, item in document()["paths"].items()
        for verb in item.keys() & _VERBS
    }


def operation_of(method: str, path: str) -> Operation | None:
    """Return the documented operation that a request is one of; None: there is none."""
    for verb, template in operations():
        like = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        if verb == method and re.fullmatch(like, path):
            return verb, template
    return None


def check(method: str, path: str, answer: Answer) -> tuple[Operation, int]:
    """Fail the test unless the document tells of this answer; return what of it was told."""
    operation = operation_of(method, path)
    assert operation is not None, f"{method} {path} is not documented"
    responses = document()["paths"][operation[1]][method.lower()]["responses"]
    response = responses.get(str(answer.status))
    assert response is not None, f"{method} {path} answered {answer.status}, which is not documented: {answer.raw!r}"
    if "$ref" in response:
        response = document()["components"]["responses"][response["$ref"].rpartition("/")[2]]
    for name, header in response.get("headers", {}).items():
        assert not header.get("required") or name.lower() in answer.headers, f"{method} {path}: no {name}"
    content = response.get("content")
    if content is None:
        assert answer.body == b""
        return operation, answer.status
    schema = content[answer.headers["content-type"]]["schema"]
    faults = [
        f"{fault.json_path}: {fault.message}" for fault in _validator(json.dumps(schema)).iter_errors(answer.json)
    ]
    assert faults == [], f"{method} {path} answered {answer.body!r}"
    return operation, answer.status


@cache
def _validator(schema: str) -> Any:
    registry = Registry().with_resource(_URN, DRAFT202012.create_resource(_absolute(document())))
    return Draft202012Validator(_absolute(json.loads(schema)), registry=registry, format_checker=_FORMATS)


def _absolute(node: Any) -> Any:
    """Return the node with references that hold outside the document, too."""
    if isinstance(node, list):
        return [_absolute(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _URN + value if key == "$ref" and value.startswith("#") else _absolute(value)
        for key, value in node.items()
    }
