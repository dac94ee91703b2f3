"""Where a shopper is, read off the user agent: it decides which wallets can be offered.

A hint, never a permission: whoever lies about the user agent is offered a product that will not open.
Pure.  Sources: the networks' own words for their apps ("MicroMessenger", "AlipayClient"; UnionPay's
user agent standard, ``UnionPay/<version> <app code>``); MDN, "Browser detection using the user agent".
"""

from __future__ import annotations

import re
from functools import lru_cache

from app.providers.base import Scene

USER_AGENT_CHARS_MAX = 1000  # the longest honest ones, of WeChat on Android, have about 400

# The first row that matches decides.
_ROWS: tuple[tuple[str, Scene], ...] = (
    # Crawlers and chat previews claim to be phones; they get the page that leads nowhere by itself.
    (
        r"(?<!cu)bot\b|crawler|spider|slurp|preview|facebookexternalhit|whatsapp/",  # Cubot makes phones
        Scene.DESKTOP,
    ),
    # WeChat on a computer cannot be relied on to open its pay sheet; a code to scan always works there.
    (r"(?:windows|mac|linux)wechat|miniprogramenv/(?:windows|mac|linux)|\(pc; openharmony", Scene.DESKTOP),
    # WeCom (wxwork) carries WeChat's name too, but is another app: by the device below.
    (r"^(?!.*wxwork/).*micromessenger/", Scene.WECHAT),
    (r"alipayclient(?:hk)?/", Scene.ALIPAY),
    (r"unionpay/[0-9.]+ [a-z0-9]|cloudpay|com\.unionpay\.chsp", Scene.UNIONPAY),
    (r"iphone|ipad|ipod|android|harmony|windows phone|\bmobile\b|ucweb|opera mini", Scene.MOBILE),
)
_RULES = tuple([(re.compile(pattern, re.ASCII), scene) for pattern, scene in _ROWS])


@lru_cache(maxsize=256)  # there are few browsers, and a row of patterns takes longer than all of steps.py
def scene_of(user_agent: str) -> Scene:
    """``"… MicroMessenger/8.0.50 …" -> Scene.WECHAT``; what is unknown is a desktop.  Pure.

    An iPad that asks for desktop pages calls itself a Mac, so a page must let the shopper switch.
    """
    text = user_agent[:USER_AGENT_CHARS_MAX].lower()
    for rule, scene in _RULES:
        if rule.search(text):
            return scene
    return Scene.DESKTOP
