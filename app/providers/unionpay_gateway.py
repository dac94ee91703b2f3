"""The one way to UnionPay's gateway: sign, send, verify, judge.

Nothing is handed on before its signature held, and an outcome that cannot be known is raised as
ProviderUnreachable here, so that the adapter above only meets definite answers.
Source: UnionPay ACP 5.1.0, common fields, synchronous answers.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

from app import clock
from app.errors import ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.providers import unionpay_codes, unionpay_wire
from app.providers.base import Outbound
from app.providers.unionpay_account import Account
from app.providers.unionpay_codes import Verdict

log = logging.getLogger(__name__)

# A day's file of a large merchant: 607 bytes a payment, packed to about 100, then base64.
FILE_BYTES_MAX = 64 << 20
FILE_TIMEOUT_S = 60.0
_ANSWER_BYTES_MAX = 1 << 20

# A code goes into logs and answers to the merchant: keep it a word.
_WORD = re.compile(r"[A-Za-z0-9_]{1,64}")
_NAMES = ("merId", "orderId")
_REPEATED = (*_NAMES, "txnTime", "settleDate")
_WITHOUT_ANSWER = frozenset({Verdict.UNKNOWN, Verdict.LATER})


@dataclass(frozen=True, slots=True)
class Verified:
    """An answer whose signature held, and what its code means."""

    fields: Mapping[str, str]
    verdict: Verdict
    code: str
    meaning: str

    def word(self, name: str) -> str:
        """A field, empty when it is missing."""
        return self.fields.get(name, "")

    def refusal(self, what: str) -> ProviderRejected:
        """The definite no that this answer is, to raise."""
        return ProviderRejected(f"unionpay refused {what}: {self.meaning}", provider_code=self.code)

    def silence(self, what: str) -> ProviderUnreachable:
        """The same answer where it settles nothing."""
        return ProviderUnreachable(f"unionpay on {what}: {self.meaning}", provider_code=self.code)


class Gateway:
    """One merchant's line to UnionPay."""

    def __init__(self, account: Account, http: Outbound) -> None:
        self._account = account
        self._http = http

    def address(self, endpoint: str) -> str:
        """``"backTransReq" -> "https://gateway.95516.com/gateway/api/backTransReq.do"``."""
        return f"{self._account.gateway}/{endpoint}.do"

    def signed(self, **fields: str) -> dict[str, str]:
        """Every field of a request, signed.  Pure."""
        common = {
            "version": "5.1.0",
            "encoding": "UTF-8",
            "signMethod": "01",
            "accessType": "0",
            "merId": self._account.mer_id,
            "certId": self._account.cert_id,
        }
        return unionpay_wire.signed_fields(common | fields, self._account.key)

    def call(self, what: str, endpoint: str, **fields: str) -> Verified:
        """One request and its verified answer, whatever that says.

        Raises ProviderUnreachable for an outcome that we cannot know: no answer, garbage, no
        signature, a wrong one, an answer to something else, and the codes that say "perhaps".
        """
        return self._exchange(what, self.address(endpoint), fields)

    def fetch(self, what: str, **fields: str) -> Verified:
        """The same, of the host for files.  Raises ProviderUnreachable."""
        return self._exchange(
            what, self._account.files, fields, timeout_s=FILE_TIMEOUT_S, answer_max_bytes=FILE_BYTES_MAX
        )

    def _exchange(
        self,
        what: str,
        url: str,
        fields: Mapping[str, str],
        *,
        timeout_s: float = 10.0,
        answer_max_bytes: int = _ANSWER_BYTES_MAX,
    ) -> Verified:
        request = self.signed(**fields)
        reply = self._http.send(
            "POST",
            url,
            headers={"content-type": "application/x-www-form-urlencoded;charset=UTF-8"},
            body=unionpay_wire.form_text(request).encode("ascii"),
            timeout_s=timeout_s,
            answer_max_bytes=answer_max_bytes,
        )
        if reply.status != 200:
            raise ProviderUnreachable(f"unionpay answered {what} with HTTP {reply.status}")
        try:
            answer = unionpay_wire.read_answer(reply.body, self._account.trust, clock.now())
        except SignatureMismatch as error:
            raise ProviderUnreachable(f"unionpay's answer to {what} is not to be believed") from error
        return _judged(what, request, answer)


def _judged(what: str, request: Mapping[str, str], answer: Mapping[str, str]) -> Verified:
    """What an answer means for its request.  Raises ProviderUnreachable where it means nothing definite."""
    code = answer.get("respCode", "")
    word = (_WORD.match(code) or [""])[0]
    judged = unionpay_codes.judge(code)
    if judged is None:
        log.warning("unionpay: unknown response code", extra={"result_code": word, "what": what})
    verdict, meaning = judged or (Verdict.UNKNOWN, "unknown response code")
    verified = Verified(answer, verdict, word, meaning)
    # An answer carries no nonce: only what it repeats ties it to this question.  One that could not
    # read the question may leave that out.
    missing = [name for name in _NAMES if name in request and not answer.get(name)]
    other = [name for name in _REPEATED if name in answer and answer[name] != request.get(name, answer[name])]
    if other or (missing and verdict is not Verdict.REJECTED):
        raise ProviderUnreachable(f"unionpay's answer to {what} is about something else")
    if verdict in _WITHOUT_ANSWER:
        raise verified.silence(what)
    return verified
