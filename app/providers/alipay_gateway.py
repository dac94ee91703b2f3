"""The one way to Alipay's gateway: sign, send, verify, judge.

Nothing is handed on before its signature held, and an outcome that cannot be known is raised as
ProviderUnreachable here, so that the adapter above only meets definite answers.
Source: Alipay open platform, common parameters, response verification, certificate mode.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from app import clock
from app.errors import InvalidRequest, ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.providers import alipay_certs, alipay_codes, alipay_payer, alipay_wire, rsa
from app.providers.alipay_account import Account
from app.providers.alipay_codes import Verdict
from app.providers.base import Outbound, PaymentOrder

log = logging.getLogger(__name__)

BILL_BYTES_MAX = 64 << 20
BILL_TIMEOUT_S = 60.0

# A code goes into logs and answers to the merchant, perhaps from an unsigned text: keep it a word.
_WORD = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


@dataclass(frozen=True, slots=True)
class Verified:
    """An answer whose signature held, and what its code means."""

    answer: alipay_wire.Answer
    verdict: Verdict
    code: str
    meaning: str

    def refusal(self, method: str) -> ProviderRejected:
        """The definite no that this answer is, to raise."""
        return ProviderRejected(f"alipay refused {method}: {self.meaning}", provider_code=self.code)


class Gateway:
    """One application's line to Alipay.  Keeps nothing but certificates that it was sent on the way."""

    def __init__(self, account: Account, http: Outbound) -> None:
        self._account = account
        self._http = http
        # By certificate number; a successor that was downloaded joins the key we hold.
        self._alipay_keys = {account.held_number: account.alipay_key}

    def alipay_keys(self) -> list[RSAPublicKey]:
        """The keys that may have signed a notification."""
        return list(self._alipay_keys.values())

    def page(self, method: str, biz: Mapping[str, Any], order: PaymentOrder) -> str:
        """A signed address at the gateway; the browser's visit is the request.  Pure but for the time."""
        params = self.params(method, biz, notify_url=order.notify_url, return_url=order.return_url)
        return f"{self._account.gateway}?{alipay_wire.query_text(params)}"

    def params(
        self,
        method: str,
        biz: Mapping[str, Any],
        *,
        notify_url: str = "",
        return_url: str = "",
        beside: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Every parameter of a request, signed.  The time is ``clock.now()`` in Beijing.

        ``beside``: what a method of the older kind takes beside ``biz_content``.
        """
        held = self._account.certificates
        params = {
            "app_id": self._account.app_id,
            "method": method,
            "format": "json",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": clock.to_beijing(clock.now()),
            "version": "1.0",
            "notify_url": notify_url,
            "return_url": return_url,
            "app_auth_token": self._account.app_auth_token,
            "app_cert_sn": held.app_number if held else "",
            "alipay_root_cert_sn": held.root_number if held else "",
            "biz_content": alipay_wire.compact_json(biz) if biz else "",
        }
        return alipay_wire.signed_params({**params, **(beside or {})}, self._account.key)

    def call(self, method: str, biz: Mapping[str, Any], notify_url: str = "") -> Verified:
        """One request and its verified answer, whatever that says.

        Raises ProviderUnreachable for an outcome that we cannot know: no answer, garbage, no
        signature, a wrong one, and the codes that say "perhaps".
        """
        answer = self._exchange(method, self.params(method, biz, notify_url=notify_url))
        word = _word_of(answer)
        if not answer.signature:
            raise ProviderUnreachable(f"alipay's answer to {method} is not signed", provider_code=word)
        self._verify(answer, method)
        verdict, meaning = _judged(answer, method)
        if verdict in (Verdict.UNKNOWN, Verdict.UNFUNDED):
            raise ProviderUnreachable(
                f"alipay on {method}: {meaning}", provider_code=word, needs_person=verdict is Verdict.UNFUNDED
            )
        return Verified(answer, verdict, word, meaning)

    def payer(self, query: Mapping[str, str]) -> str:
        """Exchange what the browser came back with for who pays.

        A success names nobody unless it is signed.  A refusal is believed unsigned, as it mostly is: a
        false one costs the payer another round trip.  Raises ProviderRejected or ProviderUnreachable.
        """
        method = alipay_payer.METHOD
        params = self.params(method, {}, beside=alipay_payer.exchange_params(query))
        answer = self._exchange(method, params)
        if answer.word("access_token"):  # a success has no code in this method
            self._verify(answer, method)
            return alipay_payer.read_payer(answer)
        verdict, meaning = _judged(answer, method)
        kind = ProviderRejected if verdict is Verdict.REJECTED else ProviderUnreachable
        raise kind(f"alipay names no payer: {meaning}", provider_code=_word_of(answer))

    def download(self, url: str) -> bytes:
        """Fetch a bill.  Raises ProviderUnreachable."""
        bill = self._http.send(
            "GET",
            _guarded(url, self._account.gateway),
            timeout_s=BILL_TIMEOUT_S,
            answer_max_bytes=BILL_BYTES_MAX,
        )
        if bill.status != 200:
            raise ProviderUnreachable(f"alipay answered the bill download with HTTP {bill.status}")
        return bill.body

    def _exchange(self, method: str, params: Mapping[str, str]) -> alipay_wire.Answer:
        """One request on the wire: parameters in the address, ``biz_content`` in the form.

        That is how Alipay's own SDKs split them; the gateway takes the charset from the address.
        """
        body = alipay_wire.query_text({k: v for k, v in params.items() if k == "biz_content"})
        params = {k: v for k, v in params.items() if k != "biz_content"}
        reply = self._http.send(
            "POST",
            f"{self._account.gateway}?{alipay_wire.query_text(params)}",
            headers={"content-type": "application/x-www-form-urlencoded;charset=utf-8"},
            body=body.encode("ascii"),
        )
        if reply.status != 200:  # refusals come as 200 too, so this is not Alipay's application
            raise ProviderUnreachable(f"alipay answered {method} with HTTP {reply.status}")
        try:
            return alipay_wire.read_answer(reply.body, method)
        except ValueError:
            raise ProviderUnreachable(f"alipay's answer to {method} cannot be read") from None

    def _verify(self, answer: alipay_wire.Answer, method: str) -> None:
        """Raises ProviderUnreachable for a signature that does not hold."""
        try:
            rsa.verify(self._key_for(answer.cert_number), answer.signed, answer.signature)
        except SignatureMismatch as error:
            raise ProviderUnreachable(f"alipay's answer to {method} has a wrong signature") from error

    def _key_for(self, number: str) -> RSAPublicKey:
        """The key behind a certificate number in an answer; a new number is fetched and checked."""
        if self._account.certificates is None or not number:
            number = self._account.held_number
        if number not in self._alipay_keys:
            self._alipay_keys[number] = self._successor(number)
        return self._alipay_keys[number]

    def _successor(self, number: str) -> RSAPublicKey:
        """Alipay signs with a newer certificate: fetch it.  It proves itself, so the answer need not.

        Source: Alipay open platform, certificate mode, alipay.open.app.alipaycert.download.
        """
        held = self._account.certificates
        method = "alipay.open.app.alipaycert.download"
        answer = self._exchange(method, self.params(method, {"alipay_cert_sn": number}))
        try:
            if held is None:
                raise SignatureMismatch("there is no root to check a certificate with")
            content = base64.b64decode(answer.word("alipay_cert_content"), validate=True).decode("ascii")
            heir = alipay_certs.successor(content, held.alipay, number, held.roots, clock.now())
            key = rsa.certificate_key(heir, "alipay_cert")
        except (SignatureMismatch, InvalidRequest, ValueError) as error:
            raise ProviderUnreachable("alipay's new certificate cannot be trusted") from error
        # Notifications name no certificate and cannot fetch one: until the settings hold the new
        # one, they may be refused and payments are found by query alone.
        log.critical("alipay signs with a new certificate: store it", extra={"alipay_cert_sn": number})
        return key


def _word_of(answer: alipay_wire.Answer) -> str:
    return (_WORD.match(answer.word("sub_code")) or _WORD.match(answer.word("code")) or [""])[0]


def _judged(answer: alipay_wire.Answer, method: str) -> tuple[Verdict, str]:
    judged = alipay_codes.judge(answer.word("code"), answer.word("sub_code"))
    if judged is None:
        log.warning("alipay: unknown result code", extra={"result_code": _word_of(answer), "method": method})
    return judged or (Verdict.UNKNOWN, "unknown result code")


def _guarded(url: str, gateway: str) -> str:
    """A bill's address, no less guarded than the gateway.

    The file is not signed, so over https it is fetched even where the answer says http, as the
    example in the manual does.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ProviderUnreachable("alipay's bill has no usable address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ProviderUnreachable("alipay's bill has no usable address")
    return urlunsplit(parts._replace(scheme="https")) if gateway.startswith("https:") else url
