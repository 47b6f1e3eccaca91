"""What the validator says of campaign files and lists is in Chinese on Chinese pages: every sentence of its source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import redrush
from redrush.console.wording import validator_in_chinese, validators
from tests.console.console_world import without_server

SOURCE: Final = Path(redrush.__file__).parent
CONFIG: Final = SOURCE / "config"
OF_OTHER_FILES: Final = {
    "console_login_file.py", "deployment_file.py", "hosted.py", "login_file.py", "notifier_table.py",
    "payments_file.py", "secret.py", "secret_table.py",
}  # fmt: skip
"""Files that no draft is: what is wrong with them is told by commands."""
RULES: Final = [
    SOURCE / "core/money/budget.py", SOURCE / "core/money/currency.py", SOURCE / "core/money/feasibility.py",
    SOURCE / "core/rush/durations.py", SOURCE / "core/rush/zones.py", SOURCE / "core/steering/switches.py",
    SOURCE / "core/identity/user_ids.py", SOURCE / "config/code_list.py", SOURCE / "control/user_list.py",
    SOURCE / "core/identity/encodings.py",
]  # fmt: skip
"""Modules whose exceptions the validator passes on."""
RAISED: Final = {
    "Wrong", "ConfigError", "ValueError", "ImpossibleSplit", "OverBudget", "NoSuchZone", "WrongSetting", "BadCodes",
}  # fmt: skip
TELL: Final = {"_plain", "_not_an_instant", "fault_of", "saved_as"}
"""Functions that return sentences."""
PUT_TOGETHER: Final = {"{}", "{}: {}", "{} has {} bytes; at most {}, {}"}
"""Of sentences that are found by themselves."""
HOLE: Final = re.compile(r"\{\w+\}")
ADJACENT: Final = re.compile(r"(?:\{\}){2,}")


def texts_of(node: ast.expr) -> Iterator[str]:
    """Yield what an expression may say, {} where something is put in."""
    match node:
        case ast.Constant(value=str(said)):
            yield said
        case ast.JoinedStr():
            parts = (one.value if isinstance(one, ast.Constant) else "{}" for one in node.values)
            yield ADJACENT.sub("{}", "".join(map(str, parts)))
        case ast.IfExp():
            yield from texts_of(node.body)
            yield from texts_of(node.orelse)
        case _:
            pass


def said_in(path: Path) -> Iterator[str]:
    """Yield the sentences that a module raises, or makes before it raises them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in RAISED:
                yield from texts_of(node.args[-1])
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "sentence":
            yield from texts_of(node.value)
        elif isinstance(node, ast.FunctionDef) and node.name in TELL:
            for one in ast.walk(node):
                if isinstance(one, ast.Return) and one.value is not None:
                    yield from texts_of(one.value)


def test_every_sentence_of_the_validator_has_its_chinese() -> None:
    modules = [path for path in CONFIG.rglob("*.py") if path.name not in OF_OTHER_FILES]
    said = {one for path in (*modules, *RULES) for one in said_in(path)}
    assert len(said) > 120
    known = {HOLE.sub("{}", one) for one in validators()}
    assert sorted(said - known - PUT_TOGETHER) == []


def test_every_sentence_has_the_same_holes_in_both_languages() -> None:
    wrong = [
        said
        for said, text in validators().items()
        if sorted(set(HOLE.findall(said))) != sorted(set(HOLE.findall(text)))
        or len(HOLE.findall(said)) != len(set(HOLE.findall(said)))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ('"12 yuan" is not an amount: write it like "123.45"', "“12 yuan”不是金额：请写成“123.45”这样"),
        ('unknown key "oppens"', "没有“oppens”这个键"),
        (
            "says nothing: write how often one may play, like plays = { per_user = 10, per_day = 3 }",
            "什么也没写：请写每人可抽几次，如 plays = { per_user = 10, per_day = 3 }",
        ),
        (
            "coupons.csv: line 3 is blank; line 9 is the same code as line 2",
            "coupons.csv：第 3 行是空的；第 9 行与第 2 行的码相同",
        ),
        ("users.txt:7: is no user id: longer than 512 bytes", "users.txt 第 7 行：不是用户标识：超过 512 字节"),
        (
            "users.txt: cannot be read: it is a pipe, not a file that is kept; save what it gives in one",
            "users.txt：无法读取：它是管道，不是普通文件；请先把内容存成文件",
        ),
        (
            '"x" is not an instant: write it like 2027 (no quotes) or "now" (with quotes); there is no such day',
            "“x”不是时刻：请写成 2027（不带引号），或 \"now\"（带引号）；没有这一天",
        ),
        (
            'opens: x is not an instant: write it like 27 (no quotes) or "now" (with quotes); there is no offset +99',
            "opens：x 不是时刻：请写成 27（不带引号），或 \"now\"（带引号）；没有 +99 这个时区",
        ),
        (
            "round[0].opens stands there twice, first in line 8; keep one of them",
            "round[0].opens 出现了两次，第一次在第 8 行；请只保留一个",
        ),
        ("the table [campaign] stands there twice; make one of them", "表 [campaign] 出现了两次；请合为一个"),
        ("what nobody has put into Chinese", "what nobody has put into Chinese"),
    ],
)  # fmt: skip
def test_what_was_said_is_known_with_its_holes_filled(told: str, said: str) -> None:
    assert validator_in_chinese(told) == said


async def test_a_draft_is_spoken_of_in_the_language_of_the_page(tmp_path: Path) -> None:
    async with (
        without_server(tmp_path) as world,
        world.client("olga", **{"Accept-Language": "zh-CN"}) as olga,
        world.client("otto") as otto,
    ):
        begun = await olga.post("/api/v1/drafts", json={"name": "gala", "kind": "packets"})
        assert begun.status_code == 201, begun.text
        text = begun.json()["text"].replace('lasts = "', 'lasts = "x', 1)
        assert (await olga.put("/api/v1/drafts/gala", json={"text": text})).status_code == 200
        assert "不是时长：请写数字加单位" in (await olga.get("/drafts/gala")).text
        assert "is not a duration: write a number" in (await otto.get("/drafts/gala")).text


async def test_what_is_wrong_with_a_list_that_is_brought_is_said_in_the_language_of_the_page(tmp_path: Path) -> None:
    mark, users, codes = b"\xff\xfeo\x00", b"good\nbad\x00one\n" + b"x" * 300 + b"\n", b"A1\n\nA1\n"
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        assert (await olga.post("/api/v1/drafts", json={"name": "d1"})).status_code == 201
        said = {}
        for language in ("zh", "en"):
            olga.headers["Accept-Language"] = language
            answers = [
                await olga.put(f"/drafts/d1/files/{name}", content=content)
                for name, content in (
                    ("users.txt", users),
                    ("codes.csv", codes),
                    ("more.txt", mark),
                    ("notes.md", b"x"),
                )
            ]
            assert [one.status_code for one in answers] == [200, 200, 200, 400]
            told = [one.json() for one in answers]
            said[language] = [told[0]["problems"], told[1]["problems"], told[2]["problems"], told[3]["detail"]]
        (zh_users,), (zh_codes,), (zh_mark,), zh_name = said["zh"]
        assert zh_users.split("\n")[0] == "users.txt：2 行不是用户标识："
        assert len(zh_users.split("\n")) == 3
        assert not re.search("[a-z]{4,}", zh_users.replace("users.txt", "").replace("x" * 20, "")), zh_users
        assert zh_codes == "codes.csv：第 2 行是空的；第 3 行与第 1 行的码相同"
        assert zh_mark.startswith("more.txt:1：不是 UTF-8 文本；看起来是 UTF-16；请另存为 UTF-8")
        assert "不是" in zh_name
        api = (await olga.put("/api/v1/drafts/d1/files/users.txt", content=users)).json()
        assert said["en"][0] == api["problems"] != said["zh"][0]
        assert "is no name of a list" in said["en"][3]
    async with world.client("vera") as vera:
        assert (await vera.put("/drafts/d1/files/users.txt", content=users)).status_code == 403
