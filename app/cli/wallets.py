"""The wallets on a shopper's phone: how each calls itself, what its camera reads, its bridge and its SDK.

What a wallet does with its own network stays between the two: here it is said to the sandbox's control
API, which plays the network's side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from app.cli.browser import Browser, GaveUp

_PHONE = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko)"
_DESKTOP = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
_IN_APP = f"{_PHONE} Version/4.0 Chrome/130.0.0.0 Mobile Safari/537.36"
USER_AGENTS = {
    "browser": f"{_PHONE} Chrome/130.0.0.0 Mobile Safari/537.36",
    "alipay": f"{_IN_APP} AlipayClient/10.6.0",
    "wechat": f"{_IN_APP} MicroMessenger/8.0.50",
    "unionpay": f"{_IN_APP} (com.unionpay.mobilepay) (UnionPay/1.0 CloudPay)",
    "desktop": f"{_DESKTOP} Chrome/130.0.0.0 Safari/537.36",
}
# The app whose camera reads a network's code.
CAMERAS = {"alipay": "alipay", "wechatpay": "wechat", "unionpay": "unionpay"}

_WEIXIN_CODE = "weixin://"


@dataclass(frozen=True, slots=True)
class Bridge:
    """A JavaScript bridge: in which app, and how the sandbox is told what a page asked of it.

    ``body`` makes the call's fields of the page's parameters; ``told`` names the answer's field for people.
    """

    place: str
    path: str
    body: Callable[[Mapping[str, Any]], dict[str, Any]]
    told: str


@dataclass(frozen=True, slots=True)
class Sdk:
    """A wallet's mobile SDK: the parameters it takes, the answer's field, and the value that says "paid"."""

    path: str
    takes: frozenset[str]
    told: str
    paid: str


BRIDGES = {
    "WeixinJSBridge": Bridge("wechat", "control/wechatpay/jsapi_pay", dict, "err_msg"),
    "AlipayJSBridge": Bridge(
        "alipay",
        "control/alipay/jsapi_pay",
        lambda params: {"trade_no": params.get("tradeNO", "")},
        "resultCode",
    ),
}
SDKS = {
    "alipay": Sdk("control/alipay/sdk_pay", frozenset({"order_string"}), "resultStatus", "9000"),
    "wechatpay": Sdk(
        "control/wechatpay/sdk_pay",
        frozenset({"appid", "partnerid", "prepayid", "package", "noncestr", "timestamp", "sign"}),
        "errCode",
        "0",
    ),
    "unionpay": Sdk("control/unionpay/sdk_pay", frozenset({"tn"}), "pay_result", "success"),
}


def address_in(code: str, sandbox: str) -> str:
    """Where a wallet's camera goes with a code: those of WeChat's are no addresses.  Pure."""
    if code.startswith(_WEIXIN_CODE):
        return f"{sandbox}/control/wechatpay/scan?{urlencode({'code_url': code})}"
    return code


def call_bridge(
    browser: Browser, sandbox: str, place: str, name: str, params: Mapping[str, Any], action: str
) -> str:
    """What the app does when a page calls its bridge; the app's answer in its own words.

    Raises GaveUp in an app that has no such bridge.
    """
    bridge = BRIDGES.get(name)
    if bridge is None or bridge.place != place:
        raise GaveUp(f"the page calls {name}, which is not to be had there")
    answer = browser.ask("POST", f"{sandbox}/{bridge.path}", bridge.body(params) | {"action": action})
    why = answer.get("err_desc", "")
    return f"{answer.get(bridge.told)}" + (f" ({why})" if why else "")


def call_sdk(
    browser: Browser, sandbox: str, provider: str, params: Mapping[str, Any], action: str
) -> tuple[bool, str]:
    """What the wallet does with an app's parameters: whether it says "paid", and its answer.

    Raises GaveUp for parameters of another wallet.
    """
    sdk = SDKS[provider]
    missing = sdk.takes - params.keys()
    if missing:
        raise GaveUp(f"{provider}'s SDK finds no {', '.join(sorted(missing))} in the parameters")
    answer = browser.ask("POST", f"{sandbox}/{sdk.path}", {**params, "action": action})
    said = str(answer.get(sdk.told))
    why = answer.get("errStr") or answer.get("memo") or ""
    return said == sdk.paid, f"{sdk.told} {said}" + (f" ({why})" if why else "")
