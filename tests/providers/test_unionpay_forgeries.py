"""None of a corpus of forged and twisted notifications is taken for UnionPay's."""

from __future__ import annotations

import pytest

from app.errors import SignatureMismatch
from app.providers.base import Outcome
from tests.providers import unionpay_forge as far
from tests.providers.unionpay_forge import certificate
from tests.providers.unionpay_forgeries import FORGERIES, SIGN, certified, genuine, signed, signed_as

READER, _ = far.connected()


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_refused_as_such(name: str) -> None:
    with pytest.raises(SignatureMismatch) as refused:
        READER.read_callback(FORGERIES[name]())
    assert refused.value.detail.isascii()


def test_the_corpus_is_large_and_its_original_is_genuine() -> None:
    assert len(FORGERIES) >= 100
    for inbound in (genuine(), signed(), signed_as(SIGN), certified(certificate())):
        assert READER.read_callback(inbound).outcome is Outcome.SUCCEEDED
