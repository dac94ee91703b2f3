"""What Alipay tells the merchant: notifications and the parameters of the shopper's way back.

Source: Alipay open platform, asynchronous notification and return parameters, RSA2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sandbox import rsakeys, timing
from sandbox.alipay import buyer, wire
from sandbox.alipay.apps import App
from sandbox.alipay.keys import Keyring
from sandbox.alipay.payments import status_of
from sandbox.box import Letter
from sandbox.shopper import bent
from sandbox.trades import Refund, Trade
from sandbox.yuan import fen_of, yuan_of

_FORCED = {
    "waiting": "WAIT_BUYER_PAY",
    "closed": "TRADE_CLOSED",
    "paid": "TRADE_SUCCESS",
    "finished": "TRADE_FINISHED",
}
_STRANGER_APP = "9021999999999999"


def notice(trade: Trade, app: App, kind: str, refund: Refund | None) -> dict[str, str]:
    """The fields of a notification before notify_id, notify_time and signature.  Pure.

    No field is ever empty: verifiers disagree on whether an empty one is signed.
    """
    seller_id = trade.details.get("seller_id", app.seller_id)
    fields = {
        "app_id": trade.app_id,
        "auth_app_id": trade.details.get("auth_app_id", trade.app_id),
        "body": trade.details.get("body", ""),
        "buyer_logon_id": buyer.BUYER_LOGON_ID,
        "charset": _charset_word(trade),
        "gmt_create": timing.beijing(trade.opened_ts or trade.created_ts),
        "notify_type": "trade_status_sync",
        "out_trade_no": trade.out_trade_no,
        "passback_params": trade.details.get("passback_params", ""),
        "seller_email": f"shop{seller_id[-4:]}@sandbox.example",
        "seller_id": seller_id,
        "sign_type": "RSA2",
        "subject": trade.subject,
        "total_amount": yuan_of(trade.total_minor),
        "trade_no": trade.trade_no,
        "trade_status": _FORCED.get(kind) or status_of(trade),
        "version": "1.0",
        **buyer.named(app, "buyer_id", "buyer_open_id"),
    }
    if kind in ("paid", "refunded", "finished"):
        fields |= _money(trade)
    if kind == "closed" or trade.fully_refunded:
        fields["gmt_close"] = timing.beijing(trade.closed_ts or timing.now())
    if refund is not None and refund.done_ts is not None:
        fields["gmt_refund"] = timing.beijing_millis(refund.done_ts)
        fields["out_biz_no"] = refund.out_refund_no
        fields["refund_fee"] = yuan_of(trade.refunded_minor)
    return {name: value for name, value in fields.items() if value}


def letter(ring: Keyring, app: App, fields: Mapping[str, str], charset: str, forge: str) -> Letter:
    """Sign a notification as it goes out now, or forge it: see the lever ``forge``."""
    news = {**fields, "notify_time": timing.beijing(timing.now())}
    key = signing_key(ring, app)
    if forge == "other_app":  # Genuinely signed, but the news of somebody else's trade.
        news |= {"app_id": _STRANGER_APP, "auth_app_id": _STRANGER_APP}
    if forge == "wrong_amount":  # Genuinely signed: only a comparison with the order finds it.
        news["total_amount"] = yuan_of(bent(fen_of(news["total_amount"]), "+0.01"))
    if forge == "other_key":
        key = ring.stranger_key
    news["sign"] = rsakeys.sign(key, wire.notice_bytes(news, charset))
    if forge == "bad_signature":  # A true signature, but of an order one fen cheaper.
        cheaper = {**news, "total_amount": yuan_of(bent(fen_of(news["total_amount"]), "-0.01"))}
        if cheaper["total_amount"] == news["total_amount"]:
            cheaper["total_amount"] = "0.02"
        news["sign"] = rsakeys.sign(key, wire.notice_bytes(cheaper, charset))
    headers = {
        "Content-Type": f"application/x-www-form-urlencoded; charset={charset}",
        "User-Agent": "Mafu-Sandbox-Alipay/1.0",
        "Accept": "*/*",
    }
    return Letter(headers, wire.form(news, charset))


def return_address(ring: Keyring, app: App, trade: Trade) -> str:
    """The shop's return_url with Alipay's signed parameters; "" if the shop gave none.

    For display only: the parameters say nothing of the trade's status.
    """
    if not trade.return_url:
        return ""
    charset = trade.details.get("charset", "utf-8")
    fields = {
        "charset": _charset_word(trade),
        "out_trade_no": trade.out_trade_no,
        "method": f"{trade.details.get('method', 'alipay.trade.page.pay')}.return",
        "total_amount": yuan_of(trade.total_minor),
        "trade_no": trade.trade_no,
        "auth_app_id": trade.details.get("auth_app_id", trade.app_id),
        "version": "1.0",
        "app_id": trade.app_id,
        "sign_type": "RSA2",
        "seller_id": trade.details.get("seller_id", app.seller_id),
        "timestamp": timing.beijing(timing.now()),
    }
    fields["sign"] = rsakeys.sign(signing_key(ring, app), wire.notice_bytes(fields, charset))
    glue = "&" if "?" in trade.return_url else "?"
    return f"{trade.return_url}{glue}{urlencode(fields, encoding=charset)}"


def signing_key(ring: Keyring, app: App) -> RSAPrivateKey:
    """The key whose public half this app holds: one for key mode, the certificate's in certificate mode."""
    return ring.certificate_key()[1] if app.mode == "cert" else ring.gateway_key


def _charset_word(trade: Trade) -> str:
    """As Alipay spells it: ``utf-8``, ``GBK``."""
    charset = trade.details.get("charset", "utf-8")
    return charset if charset == "utf-8" else charset.upper()


def _money(trade: Trade) -> dict[str, str]:
    money = yuan_of(trade.total_minor)
    return {
        "buyer_pay_amount": money,
        "fund_bill_list": json.dumps(
            [{"amount": money, "fundChannel": "ALIPAYACCOUNT"}], separators=(",", ":")
        ),
        "gmt_payment": timing.beijing(trade.paid_ts or timing.now()),
        "invoice_amount": money,
        "point_amount": "0.00",
        "receipt_amount": money,
    }
