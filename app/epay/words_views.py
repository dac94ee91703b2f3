"""What 易支付 clients are told, in Chinese and English at once: nobody knows who reads their logs."""

from __future__ import annotations

from flask_babel import force_locale
from flask_babel import lazy_gettext as _l

from app.errors import InvalidRequest, PlatformError, TooManyRequests

_BY_CODE = {
    "pid": _l("There is no such pid, or its switch is off"),
    "key": _l("The key is wrong"),
    "signature_mismatch": _l("The signature is wrong"),
    "sign_type": _l("The only sign_type is MD5"),
    "encoding": _l("The request is not in UTF-8"),
    "ambiguous": _l("A value that reads like another parameter cannot be signed safely"),
    "type": _l("This type is not supported: use alipay, wxpay or bank, or none"),
    "too_long": _l("notify_url and param are too long together"),
    "order_no_taken": _l("This out_trade_no belongs to an order with other content"),
    "paid": _l("This order is paid already"),
    "expired": _l("This order has expired: use a new out_trade_no"),
    "canceled": _l("This order was canceled: use a new out_trade_no"),
    "act": _l("There is no such act"),
    "not_found": _l("There is no such order"),
    "refunds_off": _l("Refunds over this interface are switched off at the dashboard"),
    "charge_not_paid": _l("The order is not paid"),
    "charge_already_refunded": _l("The order is refunded already"),
    "amount_too_large": _l("So much is not left of this order"),
    "too_many_requests": _l("Too many requests: slow down"),
    "http_method": _l("Send this request by POST"),
    "unforeseen": _l("Something went wrong on our side: ask for the order before you try again"),
}
_BY_PARAM = {
    "amount": _l("money is in yuan, above 0, with at most two decimals, such as 1.00"),
    "money": _l("money is in yuan, above 0, with at most two decimals, such as 1.00"),
    "out_trade_no": _l("out_trade_no has 1 to 64 letters and digits"),
    "name": _l("name is missing or holds a control character"),
    "param": _l("param has at most 500 characters, none of them a control character"),
    "notify_url": _l("notify_url is no address that we may send to"),
    "return_url": _l("return_url is no web address"),
    "out_refund_no": _l("out_refund_no has 1 to 64 letters and digits"),
}
_ANY = _l("The request is not of its form")

QUERIED = _l("The order is found")
LISTED = _l("The orders are found")
NO_SETTLEMENTS = _l("There are none: money goes to your own accounts at the wallets")
REFUNDED = _l("Refunded")
REFUNDING = _l("The refund is on its way")
AWAITING = _l("The refund waits for a second person's approval: nothing is sent yet")


def both(text: object) -> str:
    """``"签名错误 (The signature is wrong)"``."""
    with force_locale("zh"):
        chinese = str(text)
    with force_locale("en"):
        return f"{chinese} ({text})"


def words_of(error: PlatformError) -> object:
    """What is wrong, yet to be translated."""
    if isinstance(error, TooManyRequests):
        return _BY_CODE["too_many_requests"]
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    param = error.param if isinstance(error, InvalidRequest) else None
    return _BY_PARAM.get(param or "", _ANY)


def unforeseen() -> object:
    """What is said when nothing more is known."""
    return _BY_CODE["unforeseen"]
