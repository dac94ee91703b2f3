"""The one way to WeChat Pay: sign, send, verify, judge.

Nothing is handed on before its signature held, but for two things that decide nothing: that an order
or refund is not there (which is read as "not yet"), and a bill's file (whose hash was signed).  An
outcome that cannot be known is raised as ProviderUnreachable here, so that the adapter above only meets
definite answers.
Source: WeChat Pay API v3, signing, verification, platform certificates, error codes.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from app import clock
from app.errors import ProviderError, ProviderRejected, ProviderUnreachable, SignatureMismatch
from app.providers import wechatpay_codes, wechatpay_keys, wechatpay_openid, wechatpay_wire
from app.providers.base import HttpAnswer, Outbound
from app.providers.wechatpay_account import Account
from app.providers.wechatpay_codes import Verdict
from app.providers.wechatpay_keys import Keyring
from app.providers.wechatpay_wire import Node, Request, Stamp

log = logging.getLogger(__name__)

BILL_BYTES_MAX = 64 << 20
BILL_TIMEOUT_S = 60.0
TIMEOUT_S = 10.0
# A payer waits for the call that comes after it.
RENEWAL_TIMEOUT_S = 3.0
# Of one order it takes a partial refund a minute; a little more, so that the next is not too early.
REFUNDS_APART_S = 65

_CERTIFICATES = "/v3/certificates"
_NOTHING = Node({})
# A code goes into logs and answers to the merchant, perhaps from an unsigned text: keep it a word.
_CODE = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_FILE = re.compile(r"/v3/[\x21-\x7e]{1,2000}")


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer, and what it means.  Unsigned it can only be ABSENT."""

    node: Node
    verdict: Verdict
    code: str = ""
    meaning: str = ""
    is_signed: bool = True

    def refusal(self, call: str) -> ProviderError:
        """The no that this answer is, to raise; without a signature it is not a definite one."""
        kind = ProviderRejected if self.is_signed else ProviderUnreachable
        return kind(f"wechatpay refused {call}: {self.meaning}", provider_code=self.code)


class Doubtful(ProviderUnreachable):
    """A refusal that is not signed, or in a word that we do not know: only a query can tell."""

    def __init__(self, heard: Heard) -> None:
        signed = "" if heard.is_signed else ", and nobody signed it"
        super().__init__(f"wechatpay: {heard.meaning}{signed}", provider_code=heard.code or None)
        self.heard = heard


class Gateway:
    """One merchant's line to WeChat Pay.  Keeps nothing but the keys that it learnt on the way."""

    def __init__(self, account: Account, http: Outbound) -> None:
        self._account = account
        self._http = http
        self._keys = Keyring(account.keys, clock.now())

    @property
    def keys(self) -> Keyring:
        """The keys that may have signed a notification."""
        return self._keys

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, refunding: bool = False
    ) -> Heard:
        """One request and its verified answer, whatever that says.

        Raises ProviderUnreachable for an outcome that we cannot know: no answer, garbage, no signature,
        a wrong one, and the codes that say "perhaps"; Doubtful, which is one, for a 4xx that may be a no.
        """
        request = Request(method, path, wechatpay_wire.compact_json(body) if body is not None else b"")
        if self._keys.is_stale(clock.now()):
            with suppress(ProviderUnreachable):
                self._download_keys(RENEWAL_TIMEOUT_S)
        answer = self._exchange(request)
        if wechatpay_wire.is_probe(answer.headers):
            # The request was carried out; every verb of ours may be repeated, so ask once more.
            answer = self._exchange(request)
        if 200 <= answer.status < 300:
            return Heard(self._accepted(request, answer), Verdict.DONE)
        return self._refused(request, answer, refunding=refunding)

    def download(self, url: str) -> bytes:
        """Fetch a bill's file, which is not signed.  Raises ProviderUnreachable.

        Only the address's path is used, at the host that we always call: our signature in the
        request is for nobody else.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ProviderUnreachable("wechatpay's bill has no usable address") from None
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        if parts.scheme not in ("https", "http") or _FILE.fullmatch(path) is None:
            raise ProviderUnreachable("wechatpay's bill has no usable address")
        bill = self._exchange(Request("GET", path), BILL_TIMEOUT_S, BILL_BYTES_MAX)
        if bill.status != 200:
            raise ProviderUnreachable(f"wechatpay answered the bill download with HTTP {bill.status}")
        return bill.body

    def openid(self, query: Mapping[str, str]) -> str:
        """Exchange what the browser came back with.  Raises ProviderRejected or ProviderUnreachable."""
        url = wechatpay_openid.exchange_url(self._account, query)
        return wechatpay_openid.read_openid(
            self._http.send("GET", url, headers={"accept": "application/json", "user-agent": "Mafu"})
        )

    def _accepted(self, request: Request, answer: HttpAnswer) -> Node:
        try:
            self._verify(answer)
            node = wechatpay_wire.read_node(answer.body) if answer.body else _NOTHING
        except SignatureMismatch as error:
            raise ProviderUnreachable(f"wechatpay's answer: {error.detail}") from error
        except ValueError:
            raise ProviderUnreachable("wechatpay's answer cannot be read") from None
        if answer.status == 202 and not node.word("trade_state"):
            # With a state (USERPAYING) it is an answer like any other.
            raise ProviderUnreachable(f"wechatpay has not finished {request.method} yet")
        return node

    def _refused(self, request: Request, answer: HttpAnswer, *, refunding: bool) -> Heard:
        try:
            word = wechatpay_wire.read_node(answer.body).word("code")
        except ValueError:
            word = ""
        code = (_CODE.match(word) or [""])[0]
        judged = wechatpay_codes.judge(answer.status, code, refunding=refunding)
        if judged is None:
            log.warning("wechatpay: unknown error code", extra={"error_code": code, "status": answer.status})
            heard = Heard(_NOTHING, Verdict.UNKNOWN, code, "unknown error code", self._is_signed(answer))
            raise Doubtful(heard)
        verdict, meaning = judged
        if verdict in (Verdict.UNKNOWN, Verdict.UNFUNDED):
            raise ProviderUnreachable(
                f"wechatpay: {meaning}",
                provider_code=code or None,
                needs_person=verdict is Verdict.UNFUNDED,
                retry_after_s=REFUNDS_APART_S if refunding and code == "FREQUENCY_LIMITED" else None,
            )
        heard = Heard(_NOTHING, verdict, code, meaning, self._is_signed(answer))
        if not heard.is_signed and verdict is not Verdict.ABSENT:
            raise Doubtful(heard)
        return heard

    def _is_signed(self, answer: HttpAnswer) -> bool:
        try:
            self._verify(answer)
        except SignatureMismatch:
            return False
        return True

    def _verify(self, answer: HttpAnswer) -> None:
        """Raises SignatureMismatch.  A certificate that is not held is downloaded first, where due."""
        now, name = clock.now(), wechatpay_wire.key_name(answer.headers)
        if self._keys.key(name, now) is None and self._keys.may_fetch(name, now):
            with suppress(ProviderUnreachable):
                self._download_keys(TIMEOUT_S)
        wechatpay_wire.verify(answer.headers, answer.body, now, self._keys.key(name, now))

    def _download_keys(self, timeout_s: float) -> None:
        """Learn the present platform certificates.  Raises ProviderUnreachable.

        The caller has taken the turn.  The answer is verified with a certificate that it brought, or
        with a key that was held before.
        """
        answer = self._exchange(Request("GET", _CERTIFICATES), timeout_s)
        now = clock.now()
        if answer.status == 404:  # a merchant made in public-key mode has none
            self._keys.nothing_there(now)
        if answer.status != 200:
            raise ProviderUnreachable(f"wechatpay answered for certificates with HTTP {answer.status}")
        try:
            node = wechatpay_wire.read_node(answer.body)
            fetched = wechatpay_keys.read_certificates(node, self._account.api_key, now)
            name = wechatpay_wire.key_name(answer.headers)
            key = Keyring(fetched, now).key(name, now) or self._keys.key(name, now)
            wechatpay_wire.verify(answer.headers, answer.body, now, key)
        except (SignatureMismatch, ValueError) as error:
            log.warning("wechatpay: platform certificates refused", extra={"reason": str(error)})
            raise ProviderUnreachable("wechatpay's certificates cannot be trusted") from error
        self._keys.learn(fetched, now)
        log.info("wechatpay: platform certificates learnt", extra={"count": len(fetched)})

    def _exchange(
        self, request: Request, timeout_s: float = TIMEOUT_S, answer_max_bytes: int = 1 << 20
    ) -> HttpAnswer:
        """One signed request on the wire.  Without Accept and User-Agent it would be refused."""
        now = clock.now()
        stamp = Stamp(str(int(now.timestamp())), secrets.token_hex(16).upper())
        headers = {
            "accept": "application/json",
            "authorization": self._account.signer.authorization(request, stamp),
            "user-agent": "Mafu",
        }
        if request.body:
            headers["content-type"] = "application/json"
        if self._account.public_key_id:
            headers["wechatpay-serial"] = self._account.public_key_id  # sign the answer with this one
        return self._http.send(
            request.method,
            f"{self._account.api_url}{request.path}",
            headers=headers,
            body=request.body,
            timeout_s=timeout_s,
            answer_max_bytes=answer_max_bytes,
        )
