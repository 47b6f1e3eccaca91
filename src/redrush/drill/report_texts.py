"""The report's words in Chinese. The English ones stand where they are used and are the keys.

A sentence that is missing here is shown in English; `tests/drill/test_report.py` finds it.
"""

from collections.abc import Callable
from typing import Final, Literal, get_args

Language = Literal["en", "zh"]
Translate = Callable[[str], str]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)

CHINESE: Final = {
    # the page
    "redrush event report": "redrush 活动报告",
    "{rounds} rounds, {packets} packets, {total}": "{rounds} 个场次，{packets} 个红包，共 {total}",
    "{users} registered users, played in {took} s": "{users} 名注册用户，演练用时 {took} 秒",
    "made at {at}": "生成于 {at}",
    "Packets out": "已发红包",
    "of {packets}": "共 {packets} 个",
    "{left} left": "剩余 {left}",
    "Money out": "已发金额",
    "{left} left of {total}": "剩余 {left}，总额 {total}",
    "Paid out": "已付款",
    "to {paid}; {waiting} waiting, {refused} refused, difference to the provider's bill {difference}":
        "付给 {paid} 人；等待 {waiting}，被拒 {refused}，与支付方账单相差 {difference}",
    "Packets between people": "群红包",
    "of {total} in {packets} packets; {granted} of {shares} shares granted, {returned} went back":
        "共 {packets} 个，合计 {total}；{shares} 份中已领 {granted} 份，退回 {returned}",
    "Grabs per second": "每秒抢到",
    "Grants per second": "每秒发出",
    "peak": "峰值",
    "the best 100 ms; every one durable first": "最高的 100 毫秒；每一笔都先落盘再答复",
    "Rejects per second": "每秒未中",
    "{rejects} told at once": "共 {rejects} 次立即得到答复",
    "Grab latency": "抢到的延迟",
    "Reject latency": "未中的延迟",
    "to a granted answer": "到得知抢到",
    "to any other answer": "到其他答复",
    "Requests": "请求",
    "sent": "已发送",
    "{refused} refused, {errors} errors, {not_sent} not sent":
        "{refused} 次被拒绝，{errors} 次出错，{not_sent} 次未能发出",
    "Winners asking twice": "中奖者重复询问",
    "repeats": "次",
    "answered with the grant they have": "答复其已有的红包",
    "The rush": "抢红包过程",
    "Answers in each tenth of a second around each opening, by outcome, and the packets left meanwhile. "
    "The dashed line is the opening instant.": "开抢前后每十分之一秒的答复（按结果）以及剩余红包。虚线为开抢时刻。",
    "Grants from each opening on, and the packets left meanwhile. The dashed line is the opening instant.":
        "自开抢起发出的红包以及剩余红包。虚线为开抢时刻。",
    "Round by round": "各场次",
    "Packets include those that an earlier round left over. A round is sold out when its last packet has reached its "
    "user.": "红包数含前面场次剩余转入的。最后一个红包到达用户时即为抢完。",
    "Round": "场次",
    "All": "合计",
    "Opened": "开抢时间",
    "People": "人数",
    "Packets": "红包",
    "Granted": "已发",
    "Sold out after": "抢完用时",
    "Grabs/s, peak": "每秒抢到（峰值）",
    "Grants/s, peak": "每秒发出（峰值）",
    "Rejects/s, peak": "每秒未中（峰值）",
    "{requests} requests": "{requests} 次请求",
    "{carried} carried in": "转入 {carried}",
    "{seconds} s": "{seconds} 秒",
    "{release}/s released": "每秒放出 {release}",
    "lucky": "拼手气",
    "lucky double mean": "拼手气（二倍均值）",
    "equal": "普通",
    "How long people waited": "等待时间",
    "What was in the packets": "红包金额分布",
    "What was checked": "核对了什么",
    "By an auditor that shares no code with the server: every grant that a user was told of, against the export, "
    "against the amounts sealed before the opening.":
        "由与服务器不共用代码的审计程序核对：告知用户的每一笔，对照导出的记录，对照开抢前封存的金额。",
    "By an auditor that shares no code with the server: every grant that is written down, against the amounts sealed "
    "before the opening, and the ledger against the journal.":
        "由与服务器不共用代码的审计程序核对：写下的每一笔，对照开抢前封存的金额；账本对照日志。",
    "Conditions": "条件",
    "Machine": "机器",
    "{cpu}, {cores} cores, {system}": "{cpu}，{cores} 核，{system}",
    "Crowd": "人群",
    "{users} registered users over {connections} keep-alive connections; {reconnects} reconnects":
        "{users} 名注册用户，{connections} 条长连接；重连 {reconnects} 次",
    "Load": "负载",
    "open loop: sent at the intended time whether or not answers come back, latency counted from that time; the "
    "generator itself was late by {p50} (p50), {p99} (p99)":
        "开环：无论是否有答复都按计划时刻发送，延迟从该时刻算起；发生器自身的迟到为 {p50}（p50）、{p99}（p99）",
    "Durability": "持久化",
    "fsync before every granted answer; one fsync of 4 KB on this disk takes {fsync}":
        "每个“抢到”的答复之前都有 fsync；本盘一次 4 KB 的 fsync 用时 {fsync}",
    "Outcomes": "结果",
    "Settled": "结算",
    "{seconds} s after the last answer, server stopped gracefully; {unheard} grants whose answer did not reach the "
    "user": "最后一个答复之后 {seconds} 秒，服务器有序停止；{unheard} 笔已发出但答复未到达用户",
    "Server, crowd and this report shared the machine, so each took time from the others.":
        "服务器、人群和本报告共用一台机器，彼此争用时间。",
    "Grabs are answers that gave a packet; rejects are all that gave none (missed, empty, closed, not open yet).":
        "“抢到”指给出红包的答复；“未中”指其余所有答复（没摇中、已抢完、已结束、未开始）。",
    "campaign {campaign}": "活动 {campaign}",
    # headline
    "{packets} packets, {money}, exact to the cent": "{packets} 个红包，{money}，分毫不差",
    "{failed} of {checks} checks failed: {names}": "{checks} 项核对中 {failed} 项未通过：{names}",
    "The details are under “What was checked”; keep the data directory.": "详见“核对了什么”；请保留数据目录。",
    "Oversold 0, lost 0, no user twice, every amount as sealed, ledger balanced.":
        "超发 0，丢失 0，无人重复，金额与封存一致，账本平衡。",
    "Oversold 0, no user twice, every amount as sealed, ledger balanced.":
        "超发 0，无人重复，金额与封存一致，账本平衡。",
    # the plots
    "granted": "抢到", "repeat": "重复", "missed": "没摇中", "not open yet": "未开始", "empty, closed": "抢完、结束",
    "refused, errors": "拒绝、出错", "answers per second": "每秒答复", "packets left": "剩余红包", "opens": "开抢",
    "rejects": "未中", "grabs": "抢到",
    "from the intended send time to the complete answer": "从计划发送到收到完整答复",
    "amount of a packet, {currency}": "单个红包金额，{currency}", "packets": "红包数",
    # outcomes
    "empty": "已抢完", "closed": "已结束", "not open": "未开始", "not eligible": "无资格", "refused": "被拒绝",
    "lost": "丢失", "timeout": "超时", "malformed": "格式错误", "not sent": "未发出",
    # verdicts
    "oversold": "超发", "doubled users": "用户重复", "doubled slots": "红包重复", "doubled grants": "编号重复",
    "wrong amounts": "金额错误", "early or late": "过早或过晚", "broken promises": "前后矛盾", "ledger": "账本",
    "{wrong} of {heard} acknowledged grants": "{heard} 笔已告知用户的红包中 {wrong} 笔",
    "{wrong} of {written} grants, {packets} packets": "{written} 笔中 {wrong} 笔，共 {packets} 个红包",
    "{wrong} of {written} grants, each user and round once": "{written} 笔中 {wrong} 笔，每人每场一次",
    "{wrong} of {written} grants, each slot once": "{written} 笔中 {wrong} 笔，每个红包一次",
    "{wrong} of {written} grants, each id once": "{written} 笔中 {wrong} 笔，每个编号一次",
    "{wrong} of {heard} answered and {written} written": "{heard} 笔答复和 {written} 笔记录中 {wrong} 笔",
    "{wrong} of {written} grants outside their round's time": "{written} 笔中 {wrong} 笔不在场次时间内",
    "{wrong} answers that contradict an earlier one": "{wrong} 个答复与先前的矛盾",
    "payouts": "付款",
    "{paid} winners paid, {waiting} waiting, {refused} refused; difference to the provider's bill {difference}":
        "付给 {paid} 名中奖者，等待 {waiting}，被拒 {refused}；与支付方账单相差 {difference}",
    "balanced, and equal to the journal": "平衡，且与日志一致",
    "; such as {examples}": "；例如 {examples}",
}  # fmt: skip


def translator(language: Language) -> Translate:
    """Return what turns an English sentence of the report into one of the language."""
    if language == "en":
        return str
    return lambda sentence: CHINESE.get(sentence, sentence)
