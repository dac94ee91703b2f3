"""What WeChat Pay tells the merchant: sealed, signed, and only of success and of refunds.

Source: WeChat Pay API v3, 支付通知 and 退款结果通知.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Mapping

from sandbox import timing
from sandbox.box import Letter
from sandbox.trades import Refund, Trade
from sandbox.wechatpay import orders, refunds, wire
from sandbox.wechatpay.keys import Keyring, Signer
from sandbox.wechatpay.merchants import Merchant
from sandbox.wechatpay.wire import Node

FORGERIES = (
    *("bad_signature", "other_key", "unsigned", "signtest", "stale", "unknown_serial"),
    *("other_app", "other_secret", "wrong_amount"),
)
_REFUND_EVENTS = {
    "refunded": ("REFUND.SUCCESS", "退款成功"),
    "refund_closed": ("REFUND.CLOSED", "退款关闭"),
    "refund_abnormal": ("REFUND.ABNORMAL", "退款异常"),
}
# The states of news that WeChat never sends: only the lever ``reorder`` and forgeries ask for them.
_NEVER_SENT = {"waiting": "USERPAYING", "closed": "CLOSED"}
_STRANGER = {"mchid": "1999999999", "appid": "wxffffffffffffffff", "sub_mchid": "1699999999"}


def address(trade: Trade, kind: str, refund: Refund | None) -> str:
    """Payments go to the order's notify_url, refunds to their own; of closing nobody is told.  Pure."""
    if kind in _REFUND_EVENTS and refund is not None:
        return refund.details.get("notify_url", "")
    return trade.notify_url if kind == "paid" else ""


def notice(trade: Trade, kind: str, refund: Refund | None) -> dict[str, str]:
    """A notification before it is sealed: ``resource`` is the text that will be.  Pure but for the id."""
    if kind in _REFUND_EVENTS and refund is not None:
        (event, summary), original = _REFUND_EVENTS[kind], "refund"
        resource = refunds.notice(trade, refund)
    else:
        state, original = _NEVER_SENT.get(kind, "SUCCESS"), "transaction"
        event, summary = f"TRANSACTION.{state}", "支付成功" if state == "SUCCESS" else state
        resource = orders.shown(trade, state)
    return {
        "mchid": trade.app_id,
        "notify_id": str(uuid.uuid4()),
        "create_time": timing.beijing_rfc3339(timing.now()),
        "event_type": event,
        "summary": summary,
        "original_type": original,
        "resource": wire.text_of(resource),
    }


def letter(
    ring: Keyring, merchant: Merchant, signer: Signer, fields: Mapping[str, str], forge: str
) -> Letter:
    """Seal and sign a notification as it goes out now, or forge it: see the lever ``forge``."""
    resource: Node = json.loads(fields["resource"])
    secret = merchant.apiv3_key
    if forge == "other_app":  # Genuine in every way, but the news of somebody else's order.
        resource |= {name: value for name, value in _STRANGER.items() if name in resource}
    if forge == "other_secret":  # Another merchant's notification, sent here: nobody here can open it.
        secret = secrets.token_hex(16)
    if forge == "wrong_amount" and "amount" in resource:
        resource["amount"] = {
            name: value + 1 if isinstance(value, int) else value for name, value in resource["amount"].items()
        }
    sealed = wire.seal(secret, wire.text_of(resource), fields["original_type"])
    body = wire.text_of(
        {
            "id": fields["notify_id"],
            "create_time": fields["create_time"],
            "resource_type": "encrypt-resource",
            "event_type": fields["event_type"],
            "summary": fields["summary"],
            "resource": {"original_type": fields["original_type"], **sealed},
        }
    ).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Mafu-Sandbox-WeChatPay/1.0",
        "Accept": "*/*",
        **wire.signed_headers(signer, body, forge, ring.stranger_key),
    }
    return Letter(headers, body)
