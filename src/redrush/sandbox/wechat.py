"""WeChat Pay's API v3 over the sandbox's bank: the same bills, asked for and told as WeChat does.

Requests are verified with the merchant's public key, answers signed with a platform key of our own, notices encrypted
with the APIv3 key besides. It needs the extra `payments`, as the adapter does.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from redrush.core.money.currency import format_amount
from redrush.core.rush.instants import rfc3339_s, to_us
from redrush.http.small_server import Asked, Reply
from redrush.ports.provider import Absent, Bill, BillLine, Order, Refund, Rejected
from redrush.providers import beijing
from redrush.providers.rsa import fits, sign
from redrush.providers.sandbox.bank import SECOND_US, Bank, Row
from redrush.providers.wechat.adapters import ORDERS, REFUNDS, TRANSFERS
from redrush.providers.wechat.bills import FLOWS, TRADES
from redrush.providers.wechat.keys import SCHEME

_FIELD: Final = re.compile(r'(\w+)="([^"]*)"')
_TRADE: Final = {"open": "NOTPAY", "paid": "SUCCESS", "closed": "CLOSED"}
_TRANSFER: Final = {
    "pending": "PROCESSING", "confirming": "WAIT_USER_CONFIRM", "done": "SUCCESS", "failed": "FAIL",
    "cancelled": "CANCELLED",
}  # fmt: skip
_REFUND: Final = {"pending": "PROCESSING", "done": "SUCCESS", "failed": "CLOSED"}
SERIAL: Final = "PUB_KEY_ID_0100000000000000000000000000"


CASHIER: Final = "/cgi-bin/mmpayweb-bin/checkmweb"
"""Where a telephone's browser is sent to; here it has paid by that."""

DOWNLOAD: Final = "/v3/billdownload/file"
TRADE_COLUMNS: Final = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,"
    "微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
FLOW_COLUMNS: Final = (
    "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),"
    "资金变更提交申请人,备注,业务凭证号"
)


class WeChatSandbox:
    """Answers WeChat's paths; `notice_of` makes a notice's headers and body."""

    def __init__(
        self,
        bank: Bank,
        now_us: Callable[[], int],
        *,
        mchid: str,
        merchant: rsa.RSAPublicKey,
        platform: rsa.RSAPrivateKey,
        api_key: bytes,
        serial: str = SERIAL,
    ) -> None:
        self._bank = bank
        bank.gives_fees_back = True
        self._now_us = now_us
        self._mchid = mchid
        self._merchant = merchant
        self._platform = platform
        self._api_key = api_key
        self.serial = serial

    async def handle(self, asked: Asked) -> Reply:
        """Answer a request, if the merchant has signed it; or a telephone that was sent here to pay."""
        if asked.path == CASHIER:
            return self._paid_by_telephone(asked.query.get("prepay_id", "").removeprefix("wx"))
        if not self._is_signed(asked):
            return self._signed(401, {"code": "SIGN_ERROR", "message": "wrong signature"})
        if asked.path in (TRADES, FLOWS):
            return self._bill_named(asked)
        if asked.path == DOWNLOAD:
            kind, _, day = asked.query.get("token", "").partition("-")
            return Reply(200, self._bill(kind, day), "text/plain")
        status, fields = self._do(asked, asked.path.strip("/").split("/"))
        return self._signed(status, fields)

    def _is_signed(self, asked: Asked) -> bool:
        scheme, _, rest = asked.headers.get("authorization", "").partition(" ")
        said = dict(_FIELD.findall(rest))
        target = asked.path + ("?" + "&".join(f"{k}={v}" for k, v in asked.query.items()) if asked.query else "")
        text = f"{asked.method}\n{target}\n{said.get('timestamp')}\n{said.get('nonce_str')}\n{asked.body.decode()}\n"
        is_signed = fits(self._merchant, said.get("signature", ""), text.encode())
        return is_signed and scheme == SCHEME and said.get("mchid") == self._mchid

    def _do(self, asked: Asked, parts: list[str]) -> tuple[int, dict[str, Any]]:
        now_us, fields = self._now_us(), msgspec.json.decode(asked.body) if asked.body else {}
        if asked.method == "POST" and parts[:3] == ["v3", "pay", "transactions"] and len(parts) == 4:
            return self._order(asked, parts[3], now_us)
        if asked.path.startswith(f"{ORDERS}/"):
            if parts[-1] == "close":
                self._bank.shut(parts[-2], now_us)
                return 204, {}
            return self._found(parts[-1], "payin", now_us)
        if asked.path == REFUNDS:
            return self._refund(fields, now_us)
        if asked.path.startswith(f"{REFUNDS}/"):
            return self._found(parts[-1], "refund", now_us)
        if asked.path == TRANSFERS:
            return self._transfer(fields, now_us)
        if asked.path.startswith(f"{TRANSFERS}/out-bill-no/"):
            if parts[-1] == "cancel":
                self._bank.cancel(parts[-2], now_us)
                return self._found(parts[-2], "payout", now_us)
            return self._found(parts[-1], "payout", now_us)
        return 404, {"code": "NO_SUCH_PATH", "message": asked.path}

    def _order(self, asked: Asked, how: str, now_us: int) -> tuple[int, dict[str, Any]]:
        fields = msgspec.json.decode(asked.body)
        amount, scene = fields["amount"], fields.get("scene_info", {})
        if how == "h5" and not (scene.get("payer_client_ip") and scene.get("h5_info", {}).get("type")):
            return 400, {"code": "PARAM_ERROR", "message": "scene_info.payer_client_ip and h5_info.type are missing"}
        if how == "jsapi" and not fields.get("payer", {}).get("openid"):
            return 400, {"code": "PARAM_ERROR", "message": "payer.openid is missing"}
        order = Order(
            number=fields["out_trade_no"], amount_minor=amount["total"], currency=amount["currency"],
            subject=fields["description"], expires_us=to_us(datetime.fromisoformat(fields["time_expire"])),
        )  # fmt: skip
        started = self._bank.order(order, now_us)
        if isinstance(started, Rejected):
            return 400, {"code": "INVALID_REQUEST", "message": started.why}
        if how == "jsapi":
            return 200, {"prepay_id": f"wx{order.number}"}
        if how == "h5":
            return 200, {"h5_url": f"http://{asked.headers.get('host', '')}{CASHIER}?prepay_id=wx{order.number}"}
        return 200, {"code_url": f"weixin://wxpay/bizpayurl?pr={order.number}"}

    def _paid_by_telephone(self, number: str) -> Reply:
        found = self._bank.pay(number, self._now_us())
        return Reply(
            404 if isinstance(found, Absent) else 200, f"{number}: {type(found).__name__}".encode(), "text/plain"
        )

    def _refund(self, fields: dict[str, Any], now_us: int) -> tuple[int, dict[str, Any]]:
        amount = fields["amount"]
        started = self._bank.refund(
            Refund(
                number=fields["out_refund_no"], of=fields["out_trade_no"], amount_minor=amount["refund"],
                paid_minor=amount["total"], currency=amount["currency"], reason=fields["reason"],
            ),
            now_us,
        )  # fmt: skip
        if isinstance(started, Rejected):
            return 400, {"code": "INVALID_REQUEST", "message": started.why}
        return self._found(fields["out_refund_no"], "refund", now_us)

    def _transfer(self, fields: dict[str, Any], now_us: int) -> tuple[int, dict[str, Any]]:
        if not fields.get("transfer_scene_report_infos"):
            return 400, {"code": "PARAM_ERROR", "message": "transfer_scene_report_infos is missing"}
        bill = Bill(
            number=fields["out_bill_no"], amount_minor=fields["transfer_amount"], currency="CNY", to=fields["openid"],
            subject=fields["transfer_remark"],
        )  # fmt: skip
        started = self._bank.transfer(bill, now_us)
        if isinstance(started, Rejected):
            return 400, {"code": "INVALID_REQUEST", "message": started.why}
        return self._found(bill.number, "payout", now_us)

    def _bill_named(self, asked: Asked) -> Reply:
        """Say where the bill of a day is, if anything moved on it."""
        day = asked.query["bill_date"]
        kind = "trade" if asked.path == TRADES else "flow"
        content = self._bill(kind, day)
        if not content:
            return self._signed(400, {"code": "NO_STATEMENT_EXIST", "message": "账单文件不存在"})
        url = f"http://{asked.headers.get('host', '')}{DOWNLOAD}?token={kind}-{day}"
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        return self._signed(200, {"hash_type": "SHA1", "hash_value": digest, "download_url": url})

    def _bill(self, kind: str, day: str) -> bytes:
        """Return the bill of a day as WeChat writes it; nothing if nothing moved."""
        lines = self._bank.lines(*beijing.day_of(day))
        if kind == "trade":
            rows = [self._trade_row(line) for line in lines if line.kind != "payout"]
            return _bill_of(TRADE_COLUMNS, rows, "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额")
        rows = [self._flow_row(line) for line in lines]
        return _bill_of(FLOW_COLUMNS, rows, "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额")

    def _trade_row(self, line: BillLine) -> dict[str, str]:
        amount, at = format_amount(line.amount_minor, "CNY"), beijing.text_of(line.at_us)
        fee = f"{format_amount(line.fee_minor, 'CNY')}000"
        row = self._bank.row(line.number)
        assert row is not None
        common = {"交易时间": at, "商户号": self._mchid, "货币种类": "CNY", "商品名称": "手机,红色"}
        if line.kind == "payin":
            return {
                **common, "交易状态": "SUCCESS", "商户订单号": line.number, "微信订单号": line.reference,
                "应结订单金额": amount, "订单金额": amount, "手续费": fee,
            }  # fmt: skip
        return {
            **common, "交易状态": "REFUND", "商户订单号": row.party, "商户退款单号": line.number, "退款金额": amount,
            "微信退款单号": line.reference, "申请退款金额": amount, "退款状态": "SUCCESS", "手续费": fee,
        }  # fmt: skip

    def _flow_row(self, line: BillLine) -> dict[str, str]:
        name, direction = {"payin": ("交易", "收入"), "refund": ("退款", "支出"), "payout": ("商家转账", "支出")}[
            line.kind
        ]
        return {
            "记账时间": beijing.text_of(line.at_us), "微信支付业务单号": line.reference, "业务名称": name,
            "业务类型": name, "收支类型": direction, "收支金额(元)": format_amount(line.amount_minor, "CNY"),
            "业务凭证号": line.number,
        }  # fmt: skip

    def _found(self, number: str, kind: str, now_us: int) -> tuple[int, dict[str, Any]]:
        absent = {"payin": "ORDER_NOT_EXIST", "refund": "RESOURCE_NOT_EXISTS", "payout": "NOT_FOUND"}[kind]
        if isinstance(self._bank.state(number, now_us), Absent):
            return 404, {"code": absent, "message": "there is no such number"}
        row = self._bank.row(number)
        assert row is not None
        return 200, self.fields_of(row)

    def fields_of(self, row: Row, *, in_notice: bool = False) -> dict[str, Any]:
        """Return the bill as WeChat tells of it; a notice names the status of a refund in a field of its own."""
        at = None if row.done_us is None else rfc3339_s(row.done_us // SECOND_US)
        if row.kind == "payin":
            moved = {"transaction_id": row.reference, "success_time": at} if row.state == "paid" else {}
            return {
                "mchid": self._mchid, "out_trade_no": row.number, "trade_state": _TRADE[row.state],
                "amount": {"total": row.amount_minor, "currency": "CNY"}, **moved,
            }  # fmt: skip
        if row.kind == "refund":
            return {
                "mchid": self._mchid, "out_refund_no": row.number, "out_trade_no": row.party,
                "refund_status" if in_notice else "status": _REFUND[row.state], "refund_id": row.reference,
                "amount": {"refund": row.amount_minor, "currency": "CNY"}, "success_time": at,
            }  # fmt: skip
        made = rfc3339_s(row.made_us // SECOND_US)
        return {
            "mch_id": self._mchid, "out_bill_no": row.number, "transfer_bill_no": row.reference,
            "state": _TRANSFER[row.state], "transfer_amount": row.amount_minor, "openid": row.party,
            "create_time": made, "update_time": at or made, "package_info": f"confirm-{row.number}",
            "fail_reason": "" if row.state != "failed" else "ACCOUNT_NOT_EXIST",
        }  # fmt: skip

    def notice_of(self, row: Row, notice_id: str) -> tuple[dict[str, str], bytes]:
        """Return headers and body of the notice of what has become of a bill."""
        nonce = secrets.token_hex(6)
        opened = msgspec.json.encode(self.fields_of(row, in_notice=True))
        sealed = AESGCM(self._api_key).encrypt(nonce.encode(), opened, b"transaction")
        resource = {
            "algorithm": "AEAD_AES_256_GCM", "associated_data": "transaction", "nonce": nonce,
            "ciphertext": base64.b64encode(sealed).decode(),
        }  # fmt: skip
        made = rfc3339_s(self._now_us() // SECOND_US)
        said = {"id": notice_id, "create_time": made, "resource_type": "encrypt-resource", "resource": resource}
        body = msgspec.json.encode(said | {"event_type": f"{row.kind.upper()}.{row.state.upper()}"})
        return self._headers(body), body

    def spoilt(self, reply: Reply, fault: str) -> Reply:
        """See `redrush.sandbox.face.Face`."""
        headers = dict(reply.headers)
        match fault:
            case "unsigned":
                headers = {}
            case "wrong_signature":
                return msgspec.structs.replace(reply, body=reply.body + b" ")
            case "unknown_key":
                headers["wechatpay-serial"] = "PUB_KEY_ID_9"
            case "clock_off":
                headers = self._headers(reply.body, late_s=600)
        return msgspec.structs.replace(reply, headers=tuple(headers.items()))

    def forged(self, told: tuple[dict[str, str], bytes]) -> tuple[dict[str, str], bytes]:
        """See `redrush.sandbox.face.Face`."""
        headers, body = told
        return headers | {"wechatpay-signature": base64.b64encode(bytes(256)).decode()}, body

    def _signed(self, status: int, fields: dict[str, Any]) -> Reply:
        body = b"" if status == 204 else msgspec.json.encode(fields)
        return Reply(status, body, headers=tuple(self._headers(body).items()))

    def _headers(self, body: bytes, late_s: int = 0) -> dict[str, str]:
        timestamp, nonce = str(self._now_us() // SECOND_US - late_s), secrets.token_hex(16)
        text = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
        return {
            "wechatpay-timestamp": timestamp, "wechatpay-nonce": nonce,
            "wechatpay-signature": sign(self._platform, text), "wechatpay-serial": self.serial,
        }  # fmt: skip


def _bill_of(columns: str, rows: list[dict[str, str]], totals: str) -> bytes:
    """Return a bill as WeChat writes one: a backtick before each value, and totals behind the rows."""
    if not rows:
        return b""
    names = columns.split(",")
    lines = [",".join(f"`{row.get(name, '')}" for name in names) for row in rows]
    sums = ",".join(f"`{value}" for value in (len(rows), *("0.00" for _ in totals.split(",")[1:])))
    return "\r\n".join([columns, *lines, totals, sums, ""]).encode("utf-8-sig")
