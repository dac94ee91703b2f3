"""Every error Mafu raises on purpose, each telling its caller what to do.

PlatformError
 +- InvalidRequest          the caller's input is wrong: correct it and call again
 |   +- MissingGlyph        characters that the fonts for paper do not have: write them otherwise
 +- NotAuthenticated        no valid key or session: sign in
 +- PermissionDenied        known, but not allowed to do this
 +- NotFound                no such thing, or not yours: the two look the same
 +- Conflict                the thing is in a state that forbids this
 |   +- PaymentStopped      a rule of the merchant's stops this payment; nothing was begun
 |   +- IdempotencyMismatch the same Idempotency-Key came with another request
 |   +- RequestUnderWay     what was asked before under this key still goes on: ask again in a moment
 +- TooManyRequests         wait ``retry_after_s`` seconds
 +- BadLink                 a payment link that we did not sign, or not for this charge
 +- SignatureMismatch       a message that its claimed sender did not sign
 +- UnknownPayment          a genuine message about a payment that is not ours
 +- ProviderError
     +- ProviderRejected    a definite no: nothing happened over there
     +- ProviderUnreachable outcome unknown: query with the same number, never assume failure
         +- NumberTaken     what was opened under this number cannot be had again: retire it, take another
SettingsError               the process must not start (not a PlatformError: nobody catches it)

Only ``problems.py`` turns these into HTTP.
"""

from __future__ import annotations


class PlatformError(Exception):
    """The root.  ``code`` is for machines, ``detail`` for people; neither carries a secret.

    Examples: ``InvalidRequest("must be at least 1", code="amount_too_small", param="amount")``.
    """

    code = "error"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class InvalidRequest(PlatformError):
    """The caller's input is wrong.  ``param`` is the dotted name of the field."""

    code = "invalid_request"

    def __init__(self, detail: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.param = param


class MissingGlyph(InvalidRequest):
    """Text that cannot be printed; ``characters`` are those that the fonts lack, each once."""

    code = "missing_glyph"

    def __init__(self, characters: str, *, param: str | None = None) -> None:
        super().__init__(f"the fonts for paper have no {characters[:40]!r}", param=param)
        self.characters = characters


class NotAuthenticated(PlatformError):
    """No valid key or session."""

    code = "not_authenticated"


class PermissionDenied(PlatformError):
    """Known, but not allowed to do this."""

    code = "permission_denied"


class NotFound(PlatformError):
    """No such thing, or another merchant's: the two are answered alike."""

    code = "not_found"


class Conflict(PlatformError):
    """The thing is in a state that forbids this."""

    code = "conflict"


class PaymentStopped(Conflict):
    """A rule of the merchant's stops this payment, for good or until a person has looked at it."""

    code = "payment_blocked"


class IdempotencyMismatch(Conflict):
    """The same Idempotency-Key came with another method, path or body."""

    code = "idempotency_key_reused"


class RequestUnderWay(Conflict):
    """The first request with this Idempotency-Key still goes on: call again after ``retry_after_s``."""

    code = "request_under_way"
    retry_after_s = 2


class TooManyRequests(PlatformError):
    """Wait ``retry_after_s`` seconds and call again."""

    code = "too_many_requests"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class BadLink(PlatformError):
    """A payment link that we did not sign, or that names another charge, amount or merchant."""

    code = "bad_link"


class SignatureMismatch(PlatformError):
    """A message that its claimed sender did not sign, or that is meant for another account."""

    code = "signature_mismatch"


class UnknownPayment(PlatformError):
    """A genuine message about a payment that this account never started here."""

    code = "unknown_payment"


class ProviderError(PlatformError):
    """Something went wrong at a payment provider.  ``provider_code`` is the provider's own word."""

    code = "provider_error"

    def __init__(self, detail: str, *, provider_code: str | None = None) -> None:
        super().__init__(detail)
        self.provider_code = provider_code


class ProviderRejected(ProviderError):
    """A definite no: nothing happened at the provider, and nothing will."""

    code = "provider_rejected"


class ProviderUnreachable(ProviderError):
    """The outcome is unknown: query with the same number, never assume failure.

    ``needs_person``: it stays so until the merchant does something over there.  ``retry_after_s``: the
    provider takes one such call at a time, this far apart.
    """

    code = "provider_unreachable"

    def __init__(
        self,
        detail: str,
        *,
        provider_code: str | None = None,
        needs_person: bool = False,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail, provider_code=provider_code)
        self.needs_person = needs_person
        self.retry_after_s = retry_after_s


class NumberTaken(ProviderUnreachable):
    """The provider knows this number already, and will not hand out again what was opened under it.

    That payment may still be made: retire its attempt, then start another under a new number.
    """

    code = "number_taken"


class SettingsError(Exception):
    """The settings cannot be used; the message lists every fault, one a line."""
