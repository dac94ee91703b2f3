"""How the shopper inside WeChat gets an openid: out through the browser, and back with a code."""

from __future__ import annotations

import json
import logging
from urllib.parse import parse_qsl, urlsplit

import pytest

from app.errors import InvalidRequest, PlatformError, ProviderRejected, ProviderUnreachable
from app.providers import wechatpay_openid
from app.providers.base import HttpAnswer, Scene
from app.providers.wechatpay import WechatPay
from tests.providers import wechatpay_forge as far
from tests.providers.contract import Wire
from tests.providers.wechatpay_forge import BOTH_MODES

RETURN_URL = "https://pay.example/C/TOKEN?scene=wechat&who=1#x"
OPENID = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
STATE = "Abc0123456789"


@pytest.fixture(scope="module")
def line() -> Wire:
    return Wire()


@pytest.fixture(scope="module")
def wechatpay(line: Wire) -> WechatPay:
    return WechatPay(BOTH_MODES, line)


@pytest.fixture
def wire(line: Wire) -> Wire:
    line.clear()
    return line


def said(**fields: object) -> HttpAnswer:
    return HttpAnswer(200, {"content-type": "text/plain"}, json.dumps(fields).encode())


def test_the_browser_is_sent_to_wechat_with_the_parameters_in_their_order(wechatpay: WechatPay) -> None:
    address = wechatpay.identify(Scene.WECHAT, RETURN_URL, STATE)
    assert address is not None
    parts = urlsplit(address)
    assert address.startswith("https://open.example/connect/oauth2/authorize?appid=")
    assert parse_qsl(parts.query) == [
        ("appid", far.APPID),
        ("redirect_uri", RETURN_URL),
        ("response_type", "code"),
        ("scope", "snsapi_base"),
        ("state", STATE),
    ]
    assert parts.fragment == "wechat_redirect"


@pytest.mark.parametrize("scene", [Scene.DESKTOP, Scene.MOBILE, Scene.APP])
def test_elsewhere_nobody_needs_to_be_known(scene: Scene, wechatpay: WechatPay) -> None:
    assert wechatpay.identify(scene, RETURN_URL, STATE) is None


@pytest.mark.parametrize("state", ["", "a-b", "a_b", "é", "a" * 129, "a b", "1\n"])
def test_a_state_that_wechat_would_refuse_is_refused_here(state: str, wechatpay: WechatPay) -> None:
    with pytest.raises(InvalidRequest) as refused:
        wechatpay.identify(Scene.WECHAT, RETURN_URL, state)
    assert refused.value.param == "state"


def test_without_the_app_secret_nobody_is_sent_anywhere(wire: Wire) -> None:
    wechatpay = WechatPay({**BOTH_MODES, "app_secret": ""}, wire)
    with pytest.raises(ProviderRejected):
        wechatpay.identify(Scene.WECHAT, RETURN_URL, STATE)
    with pytest.raises(ProviderRejected):
        wechatpay.payer_from({"code": "0"})
    assert wechatpay.identify(Scene.DESKTOP, RETURN_URL, STATE) is None
    assert not wire.sent


def test_a_code_is_exchanged_for_the_openid(wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(said(access_token="A", expires_in=7200, refresh_token="R", openid=OPENID, scope="snsapi_base"))
    assert wechatpay.payer_from({"code": "00+1/a&b", "state": STATE}) == OPENID
    [sent] = wire.sent
    assert (sent.method, sent.body) == ("GET", b"")
    assert sent.url.startswith("https://sns.example/sns/oauth2/access_token?")
    assert parse_qsl(urlsplit(sent.url).query) == [
        ("appid", far.APPID),
        ("secret", far.APP_SECRET),
        ("code", "00+1/a&b"),
        ("grant_type", "authorization_code"),
    ]
    assert "authorization" not in sent.headers


@pytest.mark.parametrize("query", [{}, {"code": ""}, {"code": "x" * 513}, {"state": STATE}])
def test_without_a_code_nothing_is_asked(query: dict[str, str], wechatpay: WechatPay, wire: Wire) -> None:
    with pytest.raises(ProviderRejected):
        wechatpay.payer_from(query)
    assert not wire.sent


@pytest.mark.parametrize("errcode", sorted(wechatpay_openid.REFUSALS))
def test_a_refused_code_is_a_definite_no(errcode: int, wechatpay: WechatPay, wire: Wire) -> None:
    wire.gives(said(errcode=errcode, errmsg="invalid code, rid: 1"))
    with pytest.raises(ProviderRejected) as refused:
        wechatpay.payer_from({"code": "1"})
    assert refused.value.provider_code == str(errcode)


@pytest.mark.parametrize(
    "answer",
    [
        said(errcode=-1, errmsg="system error"),
        said(errcode=45011, errmsg="api minute-quota reach limit"),
        said(errcode=99999),
        said(errcode=99999, openid=OPENID),
        said(),
        said(openid=""),
        said(openid="a b"),
        said(openid="<script>"),
        said(openid="o" * 129),
        said(openid=7),
        HttpAnswer(200, {}, b"<html>"),
        HttpAnswer(200, {}, b"[" * 100_000),
        HttpAnswer(500, {}, b'{"openid":"oUpF8uMuAJO"}'),
        HttpAnswer(302, {}, b""),
        ProviderUnreachable("timed out"),
    ],
)
def test_anything_else_means_not_now(
    answer: HttpAnswer | Exception, wechatpay: WechatPay, wire: Wire
) -> None:
    wire.gives(answer)
    with pytest.raises(ProviderUnreachable):
        wechatpay.payer_from({"code": "1"})


def test_the_secret_and_the_openid_are_told_to_nobody(
    wechatpay: WechatPay, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    heard = []
    with caplog.at_level(logging.DEBUG):
        for answer in (said(openid=OPENID), said(errcode=40029), said(errcode=-1), HttpAnswer(200, {}, b"")):
            wire.gives(answer)
            try:
                wechatpay.payer_from({"code": "half\ud800"})
            except PlatformError as error:
                heard.append(str(error))
    heard += [str(vars(record)) for record in caplog.records]
    assert len(heard) >= 3
    assert not [text for text in heard if far.APP_SECRET in text or OPENID in text]
