"""None of a corpus of forged and twisted notifications is taken for Alipay's."""

from __future__ import annotations

import pytest

from app.errors import SignatureMismatch
from app.providers.alipay import Alipay
from app.providers.base import Outcome
from tests.providers.alipay_forge import KEY_MODE
from tests.providers.alipay_forgeries import FORGERIES, SIGN, genuine, signed, signed_as
from tests.providers.contract import Wire


@pytest.fixture(scope="module")
def attacked() -> Alipay:
    """An adapter that is only asked to read: any call out fails the test."""
    return Alipay(KEY_MODE, Wire())


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_refused_as_such(name: str, attacked: Alipay) -> None:
    with pytest.raises(SignatureMismatch) as refused:
        attacked.read_callback(FORGERIES[name]())
    assert refused.value.detail.isascii()


def test_the_corpus_is_large_and_its_original_is_genuine(attacked: Alipay) -> None:
    assert len(FORGERIES) >= 100
    for inbound in (genuine(), signed(), signed_as(SIGN)):
        assert attacked.read_callback(inbound).outcome is Outcome.SUCCEEDED
