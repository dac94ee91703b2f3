"""Making, asking and closing orders: native, JSAPI, H5 and APP.

Source: WeChat Pay API v3, 下单, 查询订单 and 关闭订单 of each product.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Any

from sandbox import shopper, tickets, timing, trades
from sandbox.trades import Offer, State, Trade
from sandbox.wechatpay.calls import OUT_TRADE_NO, Call
from sandbox.wechatpay.merchants import NETWORK
from sandbox.wechatpay.wire import Node, Refusal, bad_field

TRADE_TYPES = {"native": "NATIVE", "jsapi": "JSAPI", "h5": "MWEB", "app": "APP", "codepay": "MICROPAY"}
CODE_HEAD = "weixin://wxpay/bizpayurl?pr="
H5_PATH = "/cgi-bin/mmpayweb-bin/checkmweb"
H5_LIFE_S = 300.0
_HANDLE_LIFE_S = 2 * 3600.0  # of a code_url and of a prepay_id
_LIFE_S = 7 * 86400.0
_LIFE_MAX_S = {"native": 7 * 86400.0}
_LIFE_MAX_OTHERS_S = 15 * 86400.0
_LIFE_MIN_S = 60.0

_DESCRIPTIONS = {
    "NOTPAY": "订单未支付",
    "USERPAYING": "用户支付中，需要输入密码",
    "SUCCESS": "支付成功",
    "REFUND": "转入退款",
    "CLOSED": "订单已关闭",
    "REVOKED": "订单已撤销",
    "PAYERROR": "支付失败",
}
_STATES = {
    State.OFFERED: "NOTPAY",
    State.WITHDRAWN: "CLOSED",
    State.WAITING: "NOTPAY",
    State.CLOSED: "CLOSED",
    State.PAID: "SUCCESS",
    State.FINISHED: "SUCCESS",
}


def status_of(trade: Trade) -> str:
    """WeChat's word; REFUND from the first refund on, however it ends.  Pure."""
    if "reversed" in trade.details and trade.state is State.CLOSED:
        return "REVOKED"
    by_code = trade.product == "codepay"
    if trade.state is State.WAITING and (by_code or trade.pay_due_ts is not None):
        return "USERPAYING"
    if trade.state is State.CLOSED and by_code and trade.failure:
        return "PAYERROR"
    if trade.paid_ts is not None and "refunding" in trade.details:
        return "REFUND"
    return _STATES[trade.state]


def openid_of(appid: str) -> str:
    """The sandbox's shopper as this appid knows them: 28 letters, another one at each appid.  Pure."""
    digest = hashlib.sha256(f"the shopper at {appid}".encode()).digest()
    return "o" + base64.urlsafe_b64encode(digest).decode()[:27]


def create(call: Call) -> Node:
    """POST /v3/pay/transactions/{native,jsapi,h5,app}.

    The same number with the same parameters answers the same handle, while the order is unpaid.
    Raises Refusal ORDERPAID, ORDER_CLOSED, OUT_TRADE_NO_USED and those of a field.
    """
    wish = _wish(call)
    trade = trades.find(call.db, NETWORK, call.merchant.mchid, wish.out_trade_no)
    if trade is None:
        trade = shopper.enter(call.box, call.db, wish)
    else:
        trade = _again(call, shopper.progress(call.box, call.db, trade), wish)
    if trade.product == "native":
        http = call.lever("http_code") is not None
        return {"code_url": f"{call.box.public_url}/qr/{trade.code}" if http else CODE_HEAD + trade.code}
    prepay_id = _prepay_id(call, trade)
    if trade.product != "h5":
        return {"prepay_id": prepay_id}
    package = secrets.randbelow(9 * 10**9) + 10**9
    return {"h5_url": f"{call.box.public_url}{H5_PATH}?prepay_id={prepay_id}&package={package}"}


def query(call: Call) -> Node:
    """GET /v3/pay/transactions/out-trade-no/{no} and /v3/pay/transactions/id/{id}, both with ``?mchid=``."""
    call.check_owner("query")
    code = call.lever("query_error")
    if code is not None:
        raise Refusal(code or "SYSTEM_ERROR")
    trade = call.trade(call.path.get("out_trade_no", ""), call.path.get("transaction_id", ""))
    if trade is None:
        raise Refusal("ORDER_NOT_EXIST")
    return shown(trade, status_of(trade))


def close(call: Call) -> None:
    """POST …/out-trade-no/{no}/close: repeatable, answered without a body."""
    call.check_owner("body")
    trade = call.trade(call.path["out_trade_no"])
    if trade is None:
        raise Refusal("ORDER_NOT_EXIST")
    if trade.paid_ts is not None:
        raise Refusal("ORDERPAID")
    if trade.state is State.OFFERED:
        shopper.withdraw(call.db, trade)
    else:
        shopper.close(call.box, call.db, trade)


def shown(trade: Trade, status: str) -> Node:
    """An order as queries and notifications tell it.  Before payment almost everything is absent.  Pure."""
    node: Node = {
        **sellers(trade),
        "out_trade_no": trade.out_trade_no,
        "trade_state": status,
        "trade_state_desc": _DESCRIPTIONS[status],
    }
    if status not in ("SUCCESS", "REFUND"):
        return node
    money = {"total": trade.total_minor, "payer_total": trade.total_minor}
    return node | {
        "transaction_id": trade.trade_no,
        "trade_type": TRADE_TYPES[trade.product],
        "bank_type": "OTHERS",
        "attach": trade.details.get("attach", ""),
        "success_time": timing.beijing_rfc3339(trade.paid_ts or timing.now()),
        "payer": _payer(trade),
        "amount": {**money, "currency": "CNY", "payer_currency": "CNY"},
        "promotion_detail": [],
    }


def sellers(trade: Trade) -> dict[str, str]:
    """Whose order it is, as answers and notifications say it.  Pure."""
    facts = trade.details
    if "sub_mchid" not in facts:
        return {"mchid": trade.app_id, "appid": facts["appid"]}
    names = ("sp_appid", "sub_appid", "sub_mchid")
    return {"sp_mchid": trade.app_id, **{name: facts[name] for name in names if facts.get(name)}}


def _payer(trade: Trade) -> dict[str, str]:
    facts = trade.details
    if "sub_mchid" not in facts:
        return {"openid": openid_of(facts["appid"])}
    names = {"sp_openid": "sp_appid", "sub_openid": "sub_appid"}
    return {name: openid_of(facts[appid]) for name, appid in names.items() if facts.get(appid)}


def _again(call: Call, known: Trade, wish: Offer) -> Trade:
    if known.paid_ts is not None:
        raise Refusal("ORDERPAID")
    if known.state in (State.CLOSED, State.WITHDRAWN):
        raise Refusal("ORDER_CLOSED")
    if known.fingerprint != wish.fingerprint:
        raise Refusal("OUT_TRADE_NO_USED")
    return trades.move(call.db, known, (State.OFFERED,), code_expires_ts=wish.code_expires_ts)


def _prepay_id(call: Call, trade: Trade) -> str:
    """The order's prepay_id; one that has run out is followed by another."""
    known = tickets.find(call.db, NETWORK, trade.details.get("prepay_id", ""))
    if known is not None and known.made_ts + _HANDLE_LIFE_S > timing.now():
        return known.ticket
    prepay_id = f"wx{timing.beijing(timing.now(), '%d%H%M%S')}{secrets.token_hex(13)}"
    tickets.issue(call.db, NETWORK, prepay_id, trade.code)
    trades.note(call.db, trade, prepay_id=prepay_id)
    return prepay_id


def _wish(call: Call) -> Offer:
    sold_by = call.sellers()
    out_trade_no = call.text("/out_trade_no", 32, required=True)
    if OUT_TRADE_NO.fullmatch(out_trade_no) is None:
        raise bad_field("/out_trade_no", out_trade_no, "只能是6到32个字母、数字和_-|*")
    now, product = timing.now(), call.name
    details = sold_by | _details(call, sold_by["appid"])
    expires_ts = call.moment("/time_expire")
    if expires_ts is not None:
        longest_s = _LIFE_MAX_S.get(product, _LIFE_MAX_OTHERS_S)
        if not now + _LIFE_MIN_S <= expires_ts <= now + longest_s:
            raise bad_field("/time_expire", call.at("/time_expire"), "超出允许的时间范围")
    return Offer(
        network=NETWORK,
        app_id=call.merchant.mchid,
        out_trade_no=out_trade_no,
        trade_no=f"420000{secrets.randbelow(10**4):04d}{timing.beijing(now, '%Y%m%d')}{_digits(10)}",
        product=product,
        amount_minor=call.whole("/amount/total"),
        subject=call.text("/description", 127, required=True),
        payee=call.merchant.name,
        notify_url=call.url("/notify_url", required=True),
        return_url="",
        fingerprint=_fingerprint(call),
        details={name: value for name, value in details.items() if value},
        code_expires_ts=now + _HANDLE_LIFE_S,
        expires_ts=expires_ts or now + _LIFE_S,
    )


def _details(call: Call, appid: str) -> dict[str, str]:
    """What one product asks for and another does not.  Raises Refusal."""
    if call.text("/amount/currency", 16) not in ("", "CNY"):
        raise bad_field("/amount/currency", call.at("/amount/currency"), "境内商户号仅支持人民币")
    for pointer, kind in (("/detail", dict), ("/settle_info", dict), ("/support_fapiao", bool)):
        if not isinstance(call.at(pointer), kind | None):
            raise bad_field(pointer, call.at(pointer), "类型不正确")
    name = _openid_name(call)
    openid = call.text(f"/payer/{name}", 128, required=call.name == "jsapi")
    if openid and openid != openid_of(appid):
        raise bad_field(f"/payer/{name}", openid, "appid和openid不匹配")
    scene = call.name == "h5"
    address = call.text("/scene_info/payer_client_ip", 45, required=scene)
    kind_of_h5 = call.text("/scene_info/h5_info/type", 32, required=scene)
    if kind_of_h5 not in ("", "Wap", "iOS", "Android"):
        raise bad_field("/scene_info/h5_info/type", kind_of_h5, "不是Wap、iOS或Android")
    call.text("/goods_tag", 32)
    return {"attach": call.text("/attach", 128), "openid": openid, "payer_ip": address}


def _openid_name(call: Call) -> str:
    """Under which of the two a service provider's payer is known is for it to choose."""
    if not call.is_partner:
        return "openid"
    return "sub_openid" if call.text("/sub_appid", 32) else "sp_openid"


def _fingerprint(call: Call) -> str:
    same: list[Any] = [call.name, call.body]
    text = json.dumps(same, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _digits(count: int) -> str:
    return str(secrets.randbelow(10**count)).zfill(count)
