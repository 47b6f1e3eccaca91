"""What is told to operators is said in Chinese too: refusals, what was done, the audit log, the drills' questions."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import redrush
from redrush.console.wording import in_chinese, sentences
from redrush.drill.drills import DRILLS

SOURCE: Final = Path(redrush.__file__).parent
TELLS: Final = {"Refused": 1, "go_to": 1, "NotAuthorizedException": 0, "PermissionDeniedException": 0}
"""Calls by the place of what is told."""
NOTES: Final = {"note", "noting", "_noting", "_change_own"}
"""Calls that note as their second argument what is done."""
PASSED_ON: Final = {"{}: {}"}
"""Of parts that are in Chinese each."""


def told_in(path: Path) -> Iterator[str]:
    """Yield what the module refuses, or says of what was done, {} where something is put in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in TELLS and len(node.args) > TELLS[name]:
                yield from text_of(node.args[TELLS[name]])
            elif name in NOTES and len(node.args) > 1 and isinstance(node.func, ast.Attribute):
                yield from entries_in(node.args[1])
            elif name == "Noted":
                yield from (said for one in node.keywords if one.arg == "what" for said in entries_in(one.value))
        elif isinstance(node, ast.Assign) and [getattr(one, "id", "") for one in node.targets] == ["what"]:
            yield from entries_in(node.value)


def entries_in(node: ast.expr) -> Iterator[str]:
    """Yield what an entry of a log says was done, with a place for what it was done to."""
    yield from (f"{said} {{}}" for said in text_of(node) if "{}" not in said)


def text_of(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(one.value if isinstance(one, ast.Constant) else "{}" for one in node.values)  # type: ignore[misc]
    elif isinstance(node, ast.IfExp):
        yield from text_of(node.body)
        yield from text_of(node.orelse)


def test_all_that_is_told_has_its_sentence() -> None:
    modules = [*(SOURCE / "api").rglob("*.py"), *(SOURCE / "console").rglob("*.py"), SOURCE / "operate/campaigns.py"]
    told = {said for path in modules for said in told_in(path)} | {one.asks for one in DRILLS}
    assert len(told) > 100
    known = {re.sub(r"\{\w+\}", "{}", said) for said in sentences()}
    silent = {
        said for said in told - known - PASSED_ON if in_chinese(said) == said and said.removesuffix(" {}") not in known
    }
    assert sorted(silent) == []


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ('there is no round "zzz"', "没有场次“zzz”"),
        ("this proposal is approved", "此变更的状态是 已批准"),
        ("begin draft first", "新建草稿 first"),
        ("set lower s1", "分组降低要求 s1"),
        ("set answer_ended to True", "设置 answer_ended 为 True"),
        ("read story approved", "查看用户明细 approved"),
        ("add person admin as admin", "添加人员 admin，角色 管理员"),
        ("change role ann to viewer", "更改角色 ann 为 只读"),
        ("read list grants of the first campaign, all rounds", "查看名单 第一个活动所有场次的中奖"),
        ("read list the bill book of c", "查看名单 活动 c 的账单簿"),
        (
            "this failed in a way that nobody thought of; the console's log has more",
            "此操作因未预料的原因失败；控制台日志里有详情",
        ),
        ("begin table grants of c, round r1, after 7", "开始导出 活动 c 场次 r1 的中奖，从 7 之后"),
        (
            "end table grants of the first campaign, all rounds: 3 rows, whole",
            "结束导出 第一个活动所有场次的中奖：3 行，完整",
        ),
        ("this needs the role operator, and admin has viewer", "需要“操作员”角色，admin 是“只读”"),
        (
            "round r1 of c is open; a drill would take what its crowd needs: play it when nothing is open",
            "活动 c 的场次 r1 正在进行；演练会占用人流所需的资源，请在没有场次进行时演练",
        ),
        (
            "set changed s1: primary 10.0.0.1:7001 → 10.0.0.2:7001, epoch 3 → 4",
            "分组变化 s1：主库 10.0.0.1:7001 → 10.0.0.2:7001，纪元 3 → 4",
        ),
        ("prepare again c", "重新准备活动 c"),
        ("apply 1f: set answer_ended to True", "执行变更 1f：设置 answer_ended 为 True"),
        ("apply calm", "启用 calm"),
        ("break glass promote s1 127.0.0.1:7001", "紧急单人执行 分组提升主库 s1 127.0.0.1:7001"),
        ("payouts 3 payouts, 1.00: hold failed", "打款操作 3 笔，共 1.00：暂扣 失败"),
        ("reissue 3 things", "再次送达 3 项"),
        ("refund 1.00 CNY of order:c/p:1, part 2", "退款 1.00 CNY：order:c/p:1，第 2 次"),
        ("book fees 2 fees of stripe, 2027-02-06: 31 minor units", "手续费入账 stripe 2027-02-06：2 笔，共 31 分"),
        ("said by nobody {yet}", "said by nobody {yet}"),
        ("too many tries to log in; wait {rest} s", "登录尝试过多，请等 {rest} 秒"),
        ('there is no draft "{0.__class__}"', "没有草稿“{0.__class__}”"),
    ],
)
def test_a_sentence_is_known_with_its_holes_filled(told: str, said: str) -> None:
    assert in_chinese(told) == said


def test_every_sentence_has_the_same_holes_in_both_languages() -> None:
    holes = re.compile(r"\{(\w+)\}")
    assert [
        said for said, text in sentences().items() if sorted(holes.findall(said)) != sorted(holes.findall(text))
    ] == []
