"""Which payment providers there are.  A new one is a file beside this, and one line here."""

from __future__ import annotations

from app.providers.alipay import Alipay
from app.providers.base import Provider
from app.providers.unionpay import UnionPay
from app.providers.wechatpay import WechatPay

REGISTRY: dict[str, type[Provider]] = {
    "alipay": Alipay,
    "wechatpay": WechatPay,
    "unionpay": UnionPay,
}
