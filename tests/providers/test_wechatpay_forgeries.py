"""None of a corpus of forged and twisted notifications is taken for WeChat Pay's."""

from __future__ import annotations

import pytest

from app.errors import SignatureMismatch
from app.providers.base import Outcome
from app.providers.wechatpay import WechatPay
from tests.providers import wechatpay_forge as far
from tests.providers.contract import REFUND, Wire
from tests.providers.wechatpay_forgeries import FORGERIES, resealed, with_headers


@pytest.fixture(scope="module")
def reader() -> WechatPay:
    """An adapter that is only asked to read: any call out fails the test."""
    return WechatPay(far.BOTH_MODES, Wire())


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_refused_as_such(name: str, reader: WechatPay) -> None:
    with pytest.raises(SignatureMismatch) as refused:
        reader.read_callback(FORGERIES[name]())
    assert refused.value.detail.isascii()
    assert far.API_KEY not in refused.value.detail


def test_the_corpus_is_large_and_its_original_is_genuine(reader: WechatPay) -> None:
    assert len(FORGERIES) >= 100
    assert reader.read_callback(with_headers()).outcome is Outcome.SUCCEEDED
    assert reader.read_callback(with_headers(signature_type=None)).outcome is Outcome.SUCCEEDED
    assert reader.read_callback(resealed()).outcome is Outcome.SUCCEEDED
    refund = reader.read_callback(far.refund_notice(far.refund_notice_fields(REFUND, "SUCCESS")))
    assert refund.outcome is Outcome.SUCCEEDED
