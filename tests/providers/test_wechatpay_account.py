"""What may be entered to be spoken for at WeChat Pay."""

from __future__ import annotations

import pytest

from app.errors import InvalidRequest
from app.providers import rsa, wechatpay_keys
from app.providers.base import Scene
from app.providers.wechatpay import WechatPay
from app.providers.wechatpay_account import read_account
from tests.providers.contract import Wire, order
from tests.providers.wechatpay_forge import (
    BASE,
    BOTH_MODES,
    CERTIFICATE_MODE,
    KEYS,
    MERCHANT_SERIAL,
    PLATFORM_SERIAL,
    PUBLIC_KEY_ID,
    PUBLIC_KEY_MODE,
    checked,
)


@pytest.mark.parametrize("key", ["wx_mch.pkcs1.pem", "wx_mch.pkcs8.pem"])
def test_the_private_key_may_come_in_either_form(key: str) -> None:
    for text in (KEYS[key], "".join(KEYS[key].splitlines()[1:-1])):
        account = read_account({**BASE, "private_key": text})
        assert rsa.same_key(account.signer.key.public_key(), rsa.public_key(KEYS["wx_mch.pub.pem"], "x"))


@pytest.mark.parametrize(
    "text",
    [
        MERCHANT_SERIAL,
        MERCHANT_SERIAL.lower(),
        " 444f 4864 ea9b34415d2a6b1d9e0c1b7a11223344\n",
        ":".join(MERCHANT_SERIAL[i : i + 2] for i in range(0, 40, 2)),
        KEYS["wx_mch.crt"],
        KEYS["wx_mch.crt"] + KEYS["wx_ca.crt"],
    ],
)
def test_the_merchants_number_is_typed_in_or_read_from_the_certificate(text: str) -> None:
    assert read_account({**BASE, "merchant_cert": text}).signer.serial == MERCHANT_SERIAL


def test_a_number_keeps_its_leading_zeros() -> None:
    zeros = "00" + MERCHANT_SERIAL[2:]
    assert read_account({**BASE, "merchant_cert": zeros}).signer.serial == zeros

    class Certificate:
        serial_number = int(zeros, 16)

    assert wechatpay_keys.number_of(Certificate()) == zeros  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (BASE, set()),
        (PUBLIC_KEY_MODE, {PUBLIC_KEY_ID}),
        (CERTIFICATE_MODE, {PLATFORM_SERIAL}),
        (BOTH_MODES, {PUBLIC_KEY_ID, PLATFORM_SERIAL}),
        ({**BASE, "platform_certs": KEYS["wx_platform.crt"] * 2}, {PLATFORM_SERIAL}),
        (
            {**BASE, "platform_certs": "".join(KEYS["wx_platform.crt"].splitlines()[1:-1])},
            {PLATFORM_SERIAL},
        ),
    ],
)
def test_either_kind_of_key_or_both_or_none_may_be_entered(mode: dict[str, str], names: set[str]) -> None:
    assert set(read_account(mode).keys) == names


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"appid": "wx 1"}, "appid"),
        ({"appid": "w" * 33}, "appid"),
        ({"mchid": "19 0"}, "mchid"),
        ({"mchid": '1"2'}, "mchid"),
        ({"private_key": KEYS["wx_mch.crt"]}, "private_key"),
        ({"merchant_cert": "444F"}, "merchant_cert"),
        ({"merchant_cert": "Z" * 40}, "merchant_cert"),
        ({"merchant_cert": '444F4864"'}, "merchant_cert"),
        ({"merchant_cert": KEYS["wx_platform.crt"]}, "merchant_cert"),
        ({"merchant_cert": "-----BEGIN CERTIFICATE-----"}, "merchant_cert"),
        ({"api_v3_key": "0" * 31}, "api_v3_key"),
        ({"api_v3_key": "0" * 33}, "api_v3_key"),
        ({"api_v3_key": "é" * 16}, "api_v3_key"),
        ({"public_key_id": ""}, "public_key_id"),
        ({"public_key_id": PLATFORM_SERIAL}, "public_key_id"),
        ({"public_key": ""}, "public_key"),
        ({"public_key": "text"}, "public_key"),
        ({"public_key": KEYS["wx_mch.pub.pem"]}, "public_key"),
        ({"platform_certs": "text"}, "platform_certs"),
        ({"platform_certs": KEYS["wx_platform.pub.pem"]}, "platform_certs"),
        ({"platform_certs": KEYS["wx_mch.crt"]}, "platform_certs"),
        ({"platform_certs": KEYS["wx_platform.crt"] + KEYS["wx_mch.crt"]}, "platform_certs"),
        ({"platform_certs": KEYS["alipay_root_ec.crt"]}, "platform_certs"),
        ({"app_secret": "short"}, "app_secret"),
        ({"mobile_appid": "wx/1"}, "mobile_appid"),
        ({"api_url": "ftp://api.mch.weixin.qq.com"}, "api_url"),
        ({"api_url": "https://api.mch.weixin.qq.com/v3"}, "api_url"),
        ({"api_url": "http://"}, "api_url"),
        ({"api_url": "https://["}, "api_url"),
        ({"api_url": "https://host:99999"}, "api_url"),
        ({"open_url": "https://open.weixin.qq.com?x=1"}, "open_url"),
        ({"sns_url": "https://user@api.weixin.qq.com"}, "sns_url"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(changes: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_account({**BOTH_MODES, **changes})
    assert (refused.value.param, refused.value.code) == (param, "bad_credential")
    for value in changes.values():
        assert not value or value not in refused.value.detail


def test_addresses_default_to_wechats_own_and_may_end_with_a_slash() -> None:
    given = {name: value for name, value in BASE.items() if not name.endswith("_url")}
    account = read_account(given)
    assert account.api_url == "https://api.mch.weixin.qq.com"
    assert (account.open_url, account.sns_url) == ("https://open.weixin.qq.com", "https://api.weixin.qq.com")
    assert read_account({**given, "api_url": "http://127.0.0.1:8080/"}).api_url == "http://127.0.0.1:8080"


def test_an_account_shows_nothing_of_itself() -> None:
    account = read_account(BOTH_MODES)
    assert str(account.api_key) not in repr(account)
    assert account.app_secret not in repr(account)


def test_the_number_in_a_request_is_the_one_of_the_certificate() -> None:
    wire = Wire()
    wire.gives(RuntimeError("enough"))
    with pytest.raises(RuntimeError):
        WechatPay({**BASE, "merchant_cert": KEYS["wx_mch.crt"]}, wire).start(order(Scene.DESKTOP))
    checked(wire.sent[0])
