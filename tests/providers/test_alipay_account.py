"""Credentials that cannot work are refused by name."""

from __future__ import annotations

import pytest

from app.errors import InvalidRequest
from app.providers.alipay import Alipay
from tests.providers.alipay_forge import CERT_MODE, KEY_MODE, KEYS
from tests.providers.contract import Wire


@pytest.mark.parametrize(
    ("broken", "param"),
    [
        ({"alipay_public_key": ""}, "alipay_public_key"),
        ({"alipay_public_key": KEYS["app.pub.pem"]}, "alipay_public_key"),
        ({"alipay_public_key": "nonsense"}, "alipay_public_key"),
        ({"gateway_url": "ftp://alipay.example/"}, "gateway_url"),
        ({"gateway_url": "https://alipay.example/gateway.do?a=b"}, "gateway_url"),
        ({"gateway_url": "https://["}, "gateway_url"),
        ({"desktop_product": "pigeon"}, "desktop_product"),
        ({"in_app_product": "pigeon"}, "in_app_product"),
        ({"auth_url": "openauth.alipay.com"}, "auth_url"),
        ({"auth_url": "https://alipay.example/?a=b"}, "auth_url"),
        ({"auth_url": "https://["}, "auth_url"),
    ],
)
def test_a_credential_that_cannot_work_is_named(broken: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Alipay({**KEY_MODE, **broken}, Wire())
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("broken", "param"),
    [
        ({"app_cert": ""}, "app_cert"),
        ({"alipay_cert": ""}, "alipay_cert"),
        ({"alipay_root_cert": ""}, "alipay_root_cert"),
        ({"app_cert": KEYS["alipay_public.crt"]}, "app_cert"),
        ({"alipay_cert": KEYS["app_public.crt"]}, "alipay_cert"),
        ({"alipay_cert": "nonsense"}, "alipay_cert"),
        ({"alipay_root_cert": KEYS["alipay_root_ec.crt"]}, "alipay_root_cert"),
        ({"alipay_root_cert": "nonsense"}, "alipay_root_cert"),
    ],
)
def test_a_certificate_that_cannot_work_is_named(broken: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Alipay({**CERT_MODE, **broken}, Wire())
    assert refused.value.param == param
