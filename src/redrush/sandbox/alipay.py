"""Alipay's gateway over the sandbox's bank: the same bills, asked for and told as Alipay does.

Requests are verified with the app's public key, answers and notices signed with a key of our own. A trade is there
only once its buyer has scanned the code (`scan`) or opened the page: before, it cannot be found, closed or refunded. It
needs the extra `payments`, as the adapter does.
"""

import io
import zipfile
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from redrush.core.money.currency import format_amount
from redrush.http.small_server import Asked, Reply
from redrush.ports.provider import Absent, Accepted, Bill, BillLine, Order, Refund, Rejected
from redrush.providers import beijing
from redrush.providers.alipay.adapters import CURRENCY, minor_of
from redrush.providers.alipay.bills import ACCOUNT, BUSINESS, QUERY
from redrush.providers.alipay.keys import SIGN_TYPE, signed_text
from redrush.providers.alipay.notices import TRANSFERS
from redrush.providers.rsa import fits, sign
from redrush.providers.sandbox.bank import Bank, Row

_TRADE: Final = {"open": "WAIT_BUYER_PAY", "paid": "TRADE_SUCCESS", "closed": "TRADE_CLOSED"}
_TRANSFER: Final = {"pending": "DEALING", "done": "SUCCESS", "failed": "FAIL", "cancelled": "CLOSED"}
_REFUND: Final = {"pending": "REFUND_PROCESSING", "done": "REFUND_SUCCESS", "failed": "REFUND_FAIL"}
_NO_TRADE: Final = {
    "code": "40004",
    "msg": "Business Failed",
    "sub_code": "ACQ.TRADE_NOT_EXIST",
    "sub_msg": "交易不存在",
}
_DONE: Final = {"code": "10000", "msg": "Success"}

BILL: Final = "/bill.zip"
BUSINESS_COLUMNS: Final = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,"
    "支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,"
    "服务费（元）,分润（元）,备注"
)
ACCOUNT_COLUMNS: Final = (
    "账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,支出金额（-元）,账户余额（元）,"
    "交易渠道,业务类型,备注"
)

Fields = dict[str, Any]


class AlipaySandbox:
    """Answers the gateway; `notice_of` makes a notice's headers and body."""

    def __init__(
        self,
        bank: Bank,
        now_us: Callable[[], int],
        *,
        appid: str,
        seller: str,
        app: rsa.RSAPublicKey,
        alipay: rsa.RSAPrivateKey,
        cert_sn: str = "",
    ) -> None:
        """`cert_sn` is the number of the certificate that answers are signed with; "": there are no certificates."""
        self._bank = bank
        bank.gives_fees_back = True
        self._now_us = now_us
        self._appid = appid
        self._seller = seller
        self._app = app
        self._alipay = alipay
        self._cert_sn = cert_sn
        self._begun: set[str] = set()
        self._does: dict[str, Callable[[Fields], Fields]] = {
            "alipay.trade.precreate": self._precreate,
            "alipay.trade.create": self._create,
            "alipay.trade.page.pay": self._create,
            "alipay.trade.wap.pay": self._create,
            "alipay.trade.query": self._trade,
            "alipay.trade.close": self._close,
            "alipay.trade.refund": self._refund,
            "alipay.trade.fastpay.refund.query": self._refunded,
            "alipay.fund.trans.uni.transfer": self._transfer,
            "alipay.fund.trans.common.query": self._transferred,
        }

    def scan(self, number: str) -> None:
        """Somebody scans the code of this order: from now on there is a trade."""
        self._begun.add(number)

    async def handle(self, asked: Asked) -> Reply:
        """Answer a request, if the app has signed it."""
        if asked.path.endswith(BILL):
            return Reply(200, self._bill(asked.query["kind"], asked.query["day"]), "application/zip")
        said = asked.query if asked.method == "GET" else dict(parse_qsl(asked.body.decode(), keep_blank_values=True))
        method = said.get("method", "")
        rest = {name: value for name, value in said.items() if name != "sign"}
        if said.get("app_id") != self._appid or not fits(self._app, said.get("sign", ""), signed_text(rest)):
            refused = {"code": "40002", "msg": "Invalid Arguments", "sub_code": "isv.invalid-signature"}
            return self._answer("error", refused)
        if method == QUERY:
            return self._answer(method, self._bill_named(msgspec.json.decode(said["biz_content"]), asked))
        does = self._does.get(method)
        if does is None:
            return self._answer("error", {"code": "40002", "msg": method, "sub_code": "isv.invalid-method"})
        return self._answer(method, does(msgspec.json.decode(said["biz_content"])))

    def _answer(self, method: str, fields: Fields) -> Reply:
        text = msgspec.json.encode(fields)
        name = method.replace(".", "_") + "_response"
        number = f',"alipay_cert_sn":"{self._cert_sn}"' if self._cert_sn else ""
        signature = sign(self._alipay, text)
        return Reply(200, f'{{"{name}":'.encode() + text + f'{number},"sign":"{signature}"}}'.encode())

    # -- trades

    def _order(self, said: Fields) -> Fields | None:
        """Take an order; return why not."""
        order = Order(
            number=said["out_trade_no"], amount_minor=_minor(said["total_amount"]), currency=CURRENCY,
            subject=said["subject"], expires_us=beijing.us_of(said["time_expire"]) or 0,
        )  # fmt: skip
        taken = self._bank.order(order, self._now_us())
        return _failed("ACQ.CONTEXT_INCONSISTENT", taken.why) if isinstance(taken, Rejected) else None

    def _precreate(self, said: Fields) -> Fields:
        number = said["out_trade_no"]
        code = {"out_trade_no": number, "qr_code": f"https://qr.alipay.example/{number}"}
        return self._order(said) or {**_DONE, **code}

    def _create(self, said: Fields) -> Fields:
        number = said["out_trade_no"]
        if (why := self._order(said)) is not None:
            return why
        self._begun.add(number)
        row = self._bank.row(number)
        return {**_DONE, "out_trade_no": number, "trade_no": "" if row is None else row.reference}

    def _trade(self, said: Fields) -> Fields:
        row = self._begun_row(said["out_trade_no"])
        return dict(_NO_TRADE) if row is None else {**_DONE, **self._trade_fields(row)}

    def _close(self, said: Fields) -> Fields:
        number = said["out_trade_no"]
        if (row := self._begun_row(number)) is None:
            return dict(_NO_TRADE)
        if row.state == "paid":
            return _failed("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
        self._bank.shut(number, self._now_us())
        return {**_DONE, "out_trade_no": number, "trade_no": row.reference}

    def _refund(self, said: Fields) -> Fields:
        of = said["out_trade_no"]
        if (row := self._begun_row(of)) is None:
            return dict(_NO_TRADE)
        refund = Refund(
            number=said["out_request_no"], of=of, amount_minor=_minor(said["refund_amount"]),
            paid_minor=row.amount_minor, currency=CURRENCY, reason=said["refund_reason"],
        )  # fmt: skip
        done = self._bank.refund(refund, self._now_us())
        if isinstance(done, Rejected):
            return _failed("ACQ.REASON_TRADE_REFUND_FEE_ERR", done.why)
        return {**_DONE, "out_trade_no": of, "trade_no": row.reference, "fund_change": "Y"}

    def _refunded(self, said: Fields) -> Fields:
        row = self._row(said["out_request_no"], "refund")
        if row is None or row.party != said["out_trade_no"]:
            return dict(_DONE)
        moved = {} if row.done_us is None else {"gmt_refund_pay": beijing.text_of(row.done_us)}
        return {
            **_DONE, "out_trade_no": row.party, "out_request_no": row.number, "trade_no": row.reference,
            "refund_amount": format_amount(row.amount_minor, CURRENCY), "refund_status": _REFUND[row.state], **moved,
        }  # fmt: skip

    # -- transfers

    def _transfer(self, said: Fields) -> Fields:
        bill = Bill(
            number=said["out_biz_no"], amount_minor=_minor(said["trans_amount"]), currency=CURRENCY,
            to=said["payee_info"]["identity"], subject=said["order_title"],
        )  # fmt: skip
        taken = self._bank.transfer(bill, self._now_us())
        if not isinstance(taken, Accepted):
            return _failed("PAYMENT_INFO_INCONSISTENCY", getattr(taken, "why", "转账要求确认"))
        row = self._row(bill.number, "payout")
        assert row is not None
        return {**_DONE, **self._transfer_fields(row)}

    def _transferred(self, said: Fields) -> Fields:
        row = self._row(said["out_biz_no"], "payout")
        if row is None:
            return _failed("ORDER_NOT_EXIST", "转账订单不存在")
        return {**_DONE, **self._transfer_fields(row)}

    # -- the bill of a day

    def _bill_named(self, said: Fields, asked: Asked) -> Fields:
        kind, day = said["bill_type"], said["bill_date"]
        if not self._bill(kind, day):
            return _failed("isp.bill_not_exist", "账单不存在")
        query = urlencode({"kind": kind, "day": day})
        root = asked.path.rpartition("/")[0]
        return {**_DONE, "bill_download_url": f"http://{asked.headers.get('host', '')}{root}{BILL}?{query}"}

    def _bill(self, kind: str, day: str) -> bytes:
        """Return the bill of a day as Alipay packs it; nothing if nothing moved."""
        lines = self._bank.lines(*beijing.day_of(day))
        name, columns = (BUSINESS, BUSINESS_COLUMNS) if kind == "trade" else (ACCOUNT, ACCOUNT_COLUMNS)
        made = self._business_row if kind == "trade" else self._account_row
        rows = [made(line) for line in lines if kind != "trade" or line.kind != "payout"]
        if not rows:
            return b""
        names = columns.split(",")
        values = [",".join(f"{row.get(one, '')}\t" for one in names) for row in rows]
        head = [f"#支付宝{name}查询", f"#账号：[{self._seller}0156]", f"#{'-' * 30}{name}列表{'-' * 30}", columns]
        text = "\r\n".join([*head, *values, f"#{'-' * 30}{name}列表结束{'-' * 30}", "#导出时间：[]", ""])
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(f"{self._seller}0156_{day}_{name}(汇总).csv", "#".encode("gbk"))
            file.writestr(f"{self._seller}0156_{day}_{name}.csv", text.encode("gb18030"))
        return packed.getvalue()

    def _business_row(self, line: BillLine) -> dict[str, str]:
        at, row = beijing.text_of(line.at_us), self._bank.row(line.number)
        assert row is not None
        common = {"支付宝交易号": line.reference, "商品名称": "手机，红色", "创建时间": at, "完成时间": at}
        amount, fee = format_amount(line.amount_minor, CURRENCY), format_amount(-line.fee_minor, CURRENCY)
        if line.kind == "payin":
            return {
                **common,
                "商户订单号": line.number,
                "业务类型": "交易",
                "订单金额（元）": amount,
                "服务费（元）": fee,
            }
        back = {"商户订单号": row.party, "退款批次号/请求号": line.number, "订单金额（元）": f"-{amount}"}
        return {**common, **back, "业务类型": "退款", "服务费（元）": fee}

    def _account_row(self, line: BillLine) -> dict[str, str]:
        amount = format_amount(line.amount_minor, CURRENCY)
        names = {"payin": "在线支付", "refund": "退款（交易退款）", "payout": "转账"}
        moved = {"收入金额（+元）": amount} if line.kind == "payin" else {"支出金额（-元）": f"-{amount}"}
        return {
            "业务流水号": line.reference, "商户订单号": line.number, "发生时间": beijing.text_of(line.at_us),
            "业务类型": names[line.kind], **moved,
        }  # fmt: skip

    # -- as Alipay tells of a bill

    def _trade_fields(self, row: Row) -> Fields:
        paid = row.state == "paid" and row.done_us is not None
        return {
            "out_trade_no": row.number, "trade_no": row.reference, "trade_status": _TRADE[row.state],
            "total_amount": format_amount(row.amount_minor, CURRENCY),
            **({"send_pay_date": beijing.text_of(row.done_us or 0)} if paid else {}),
        }  # fmt: skip

    def _transfer_fields(self, row: Row) -> Fields:
        at = {} if row.state != "done" or row.done_us is None else {"pay_date": beijing.text_of(row.done_us)}
        why = {"fail_reason": "收款账号不存在"} if row.state == "failed" else {}
        return {
            "out_biz_no": row.number, "order_id": row.reference, "status": _TRANSFER[row.state],
            "trans_amount": format_amount(row.amount_minor, CURRENCY), **at, **why,
        }  # fmt: skip

    def notice_of(self, row: Row, notice_id: str) -> tuple[dict[str, str], bytes]:
        """Return headers and body of the notice of what has become of a bill; of a refund it is one of its payment."""
        common = {"app_id": self._appid, "charset": "utf-8", "version": "1.0", "notify_id": notice_id}
        if row.kind == "payout":
            content = msgspec.json.encode(self._transfer_fields(row)).decode()
            sent = str(self._now_us() // 1_000)
            said = {**common, "msg_method": TRANSFERS, "utc_timestamp": sent, "biz_content": content}
        else:
            trade = self._bank.row(row.party) if row.kind == "refund" else row
            assert trade is not None
            fields = {name: str(value) for name, value in self._trade_fields(trade).items()}
            if (paid := fields.pop("send_pay_date", None)) is not None:
                fields["gmt_payment"] = paid
            sent = beijing.text_of(self._now_us())
            said = {
                **common,
                **fields,
                "seller_id": self._seller,
                "notify_type": "trade_status_sync",
                "notify_time": sent,
            }
        signature = sign(self._alipay, signed_text(said))
        form = urlencode({**said, "sign": signature, "sign_type": SIGN_TYPE})
        return {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}, form.encode()

    def spoilt(self, reply: Reply, fault: str) -> Reply:
        """See `redrush.sandbox.face.Face`. Alipay's answers are not dated."""
        body = reply.body
        match fault:
            case "unsigned":
                body = body.partition(b',"sign":')[0] + b"}"
            case "wrong_signature":
                body = body.replace(b":{", b": {", 1).replace(b'":"', b'": "', 1)
            case "unknown_key":
                body = body.replace(b',"sign":', b',"alipay_cert_sn":"of nobody","sign":')
        return msgspec.structs.replace(reply, body=body)

    def forged(self, told: tuple[dict[str, str], bytes]) -> tuple[dict[str, str], bytes]:
        """See `redrush.sandbox.face.Face`."""
        headers, body = told
        return headers, body + b"&more=1"

    # -- rows

    def _row(self, number: str, kind: str) -> Row | None:
        if isinstance(self._bank.state(number, self._now_us()), Absent):
            return None
        row = self._bank.row(number)
        return row if row is not None and row.kind == kind else None

    def _begun_row(self, number: str) -> Row | None:
        """Return the trade, if somebody has begun to pay it."""
        row = self._row(number, "payin")
        return row if row is not None and (number in self._begun or row.state == "paid") else None


def _minor(text: object) -> int:
    minor = minor_of(text)
    if minor is None:
        raise ValueError(f"{text!r} is no amount")
    return minor


def _failed(sub_code: str, why: str) -> Fields:
    return {"code": "40004", "msg": "Business Failed", "sub_code": sub_code, "sub_msg": why}
