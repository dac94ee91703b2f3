"""What a stranger is given: an account at the sandbox, and what our own side signed, for it to judge.

The requests come from the adapters as they would go out, the notifications from the forges with which
the adapters are tested.  A stranger that accepts both vouches for the two at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from app.providers.alipay import Alipay
from app.providers.base import (
    AppParams,
    CallBridge,
    HttpAnswer,
    Inbound,
    NextStep,
    Outcome,
    PaymentOrder,
    Redirect,
    Scene,
)
from app.providers.wechatpay import WechatPay
from tests.providers import alipay_forge, wechatpay_forge
from tests.providers.contract import DAY, PRICE, REF, REFUND, Forge, Sent, Verb, Wire, act, order

NEWS = (Outcome.PENDING, Outcome.SUCCEEDED, Outcome.CLOSED)
# A seal's nonce is 12 bytes by the rule, but not in WeChat Pay's own examples.
ODD_NONCE = "fdasflkja484w7c5"


def account(far: Any, network: str, mode: str) -> dict[str, Any]:
    """An account at the sandbox, under the merchant's key of the known-answer vectors."""
    path, key = {
        "alipay": ("/control/alipay/apps", alipay_forge.KEYS["app.pub.pem"]),
        "wechatpay": ("/control/wechatpay/merchants", wechatpay_forge.KEYS["wx_mch.pub.pem"]),
    }[network]
    answer = far.post(path, {"mode": mode, "public_key": key})
    assert answer.status in (200, 201), answer.text
    facts: dict[str, Any] = answer.json
    return facts


def alipay_ours(mode: str) -> dict[str, Any]:
    """What our Alipay adapter signs in this mode, what our forge signs as Alipay, and both keys."""
    keys = alipay_forge.KEYS
    return {
        "private_key": keys["app.pkcs8.pem"],
        "private_key_pkcs1": keys["app.pkcs1.pem"],
        "public_key": keys["app.pub.pem"],
        "requests": [{"name": name, "params": params} for name, params in _alipay_requests(mode)],
        "network_key": keys["alipay.pub.pem"],
        "notices": [
            {"name": name, "body": inbound.body.decode("ascii")} for name, inbound in _alipay_notices()
        ],
    }


def wechat_ours(mode: str) -> dict[str, Any]:
    """What our WeChat Pay adapter signs in this mode, what our forge signs as WeChat Pay, and the keys.

    ``papers`` are what the pay sheet and the mobile SDK check: lines, and the signature over them.
    """
    keys = wechatpay_forge.KEYS
    requests, papers = _wechat_requests(mode)
    return {
        "private_key": keys["wx_mch.pkcs8.pem"],
        "public_key": keys["wx_mch.pub.pem"],
        "requests": requests,
        "papers": papers,
        "apiv3_key": wechatpay_forge.API_KEY,
        "network_key_id": wechatpay_forge.PUBLIC_KEY_ID,
        "network_key": keys["wx_pubkey.pub.pem"],
        "network_serial": wechatpay_forge.PLATFORM_SERIAL,
        "network_cert": keys["wx_platform.crt"],
        "network_public_key": keys["wx_platform.pub.pem"],
        "notices": [
            {"name": name, "headers": inbound.headers, "body": inbound.body.decode(), "resource": resource}
            for name, inbound, resource in _wechat_notices()
        ],
    }


OURS = {"alipay": alipay_ours, "wechatpay": wechat_ours}


def _alipay_requests(mode: str) -> Iterator[tuple[str, dict[str, str]]]:
    wire = Wire()
    forge = alipay_forge.AlipayForge()
    adapter = Alipay(alipay_forge.CERT_MODE if mode == "cert" else alipay_forge.KEY_MODE, wire)
    for scene in sorted(adapter.info.scenes):
        wire.clear()
        asked = _order(scene)
        wire.gives(*forge.started(asked))
        step = adapter.start(asked)
        yield f"start {scene}", alipay_forge.sent_params(wire) if wire.sent else _unsent_params(step)
    for verb in (Verb.QUERY, Verb.CLOSE, Verb.REFUND, Verb.QUERY_REFUND, Verb.STATEMENT):
        wire.clear()
        wire.gives(*_answers(forge, verb))
        act(adapter, verb, Scene.DESKTOP)
        yield verb.value, alipay_forge.sent_params(wire)


def _order(scene: Scene) -> PaymentOrder:
    """One that is sent the moment it was begun, which was years ago."""
    asked = order(scene)
    return replace(asked, asked_at=asked.ref.started_at)


def _unsent_params(step: NextStep) -> dict[str, str]:
    """The parameters that a browser or an app takes to Alipay."""
    match step:
        case Redirect(url=url):
            return dict(parse_qsl(urlsplit(url).query))
        case AppParams(params=params):
            return dict(parse_qsl(params["order_string"]))
        case _:
            raise AssertionError(f"nothing signed in {step}")


def _alipay_notices() -> Iterator[tuple[str, Inbound]]:
    forge = alipay_forge.AlipayForge()
    for outcome in NEWS:
        yield outcome.value, forge.callback(REF.out_trade_no, outcome, PRICE)
    refunded = forge.refund_callback(REFUND, Outcome.SUCCEEDED)
    assert refunded is not None
    yield "refund", refunded


def _wechat_requests(mode: str) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    wire = Wire()
    by_certificate = mode == "cert"
    serial = wechatpay_forge.PLATFORM_SERIAL if by_certificate else wechatpay_forge.PUBLIC_KEY_ID
    settings = wechatpay_forge.CERTIFICATE_MODE if by_certificate else wechatpay_forge.PUBLIC_KEY_MODE
    forge = wechatpay_forge.WechatPayForge(settings, serial)
    adapter = WechatPay(settings, wire)
    requests, papers = [], []
    for scene in sorted(adapter.info.scenes):
        wire.clear()
        asked = _order(scene)
        wire.gives(*forge.started(asked))
        papers += _papers(adapter.start(asked))
        requests += [_signed(f"start {scene}", sent) for sent in wire.sent]
    for verb in (Verb.QUERY, Verb.CLOSE, Verb.REFUND, Verb.QUERY_REFUND, Verb.STATEMENT):
        wire.clear()
        wire.gives(*_answers(forge, verb))
        act(adapter, verb, Scene.DESKTOP)
        requests += [_signed(verb.value, sent) for sent in wire.sent]
    return requests, papers


def _signed(name: str, sent: Sent) -> dict[str, str]:
    """A request and what its Authorization header says."""
    _, _, said = sent.headers["authorization"].partition(" ")
    words = {key: value.strip('"') for key, _, value in (part.partition("=") for part in said.split(","))}
    parts = urlsplit(sent.url)
    return {
        "name": name,
        "method": sent.method,
        "path": f"{parts.path}?{parts.query}" if parts.query else parts.path,
        "timestamp": words["timestamp"],
        "nonce": words["nonce_str"],
        "body": sent.body.decode(),
        "signature": words["signature"],
    }


def _papers(step: NextStep) -> list[dict[str, Any]]:
    match step:
        case CallBridge(params=said):
            lines = [said[name] for name in ("appId", "timeStamp", "nonceStr", "package")]
            return [{"name": "bridge", "lines": lines, "signature": said["paySign"]}]
        case AppParams(params=said):
            lines = [said[name] for name in ("appid", "timestamp", "noncestr", "prepayid")]
            return [{"name": "app", "lines": lines, "signature": said["sign"]}]
        case _:
            return []


def _wechat_notices() -> Iterator[tuple[str, Inbound, dict[str, Any]]]:
    forge = wechatpay_forge
    paid = forge.transaction(REF.out_trade_no, "SUCCESS", PRICE)
    refunded = forge.refund_notice_fields(REFUND, "SUCCESS")
    for serial in (forge.PUBLIC_KEY_ID, forge.PLATFORM_SERIAL):
        yield f"paid, by {serial}", forge.payment_notice(paid, serial), paid
        yield f"refund, by {serial}", forge.refund_notice(refunded, serial=serial), refunded
    yield "without associated data", forge.payment_notice(paid, associated=None), paid
    yield "with empty associated data", forge.payment_notice(paid, associated=""), paid
    yield "with a nonce of 16 bytes", forge.payment_notice(paid, nonce=ODD_NONCE), paid


def _answers(forge: Forge, verb: Verb) -> list[HttpAnswer]:
    """What a verb gets, so that it says all it has to say."""
    match verb:
        case Verb.QUERY:
            return forge.queried(REF, Outcome.SUCCEEDED, PRICE)
        case Verb.CLOSE:
            return forge.closed(REF)
        case Verb.REFUND:
            return forge.refunded(REFUND, Outcome.SUCCEEDED)
        case Verb.QUERY_REFUND:
            return forge.refund_queried(REFUND, Outcome.SUCCEEDED)
        case _:
            return forge.statement(DAY, [])
