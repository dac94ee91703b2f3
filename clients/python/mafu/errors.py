"""Every error of this client, each telling its caller what to do.

MafuError
 +- InvalidSignature     a webhook that your Mafu did not sign: answer 401
 +- Unreachable          no answer, after all tries: the outcome is unknown, ask again with the same key
 +- ApiError             Mafu said no; status, code, param and request_id say why
     +- InvalidRequest   correct it and call again
     +- NotAuthenticated the key is wrong or revoked
     +- PermissionDenied the key may not do this
     +- NotFound         no such thing, or not yours
     +- Conflict         the thing is in a state that forbids this
     |   +- IdempotencyMismatch  the same Idempotency-Key came with another request
     +- RateLimited      too many calls, even after waiting
     +- ServerError      something went wrong there; as with Unreachable the outcome is unknown
"""

from __future__ import annotations


class MafuError(Exception):
    """The root of all of them."""


class InvalidSignature(MafuError):
    """A webhook that your Mafu did not sign, or one from too long ago."""


class Unreachable(MafuError):
    """There was no answer.  ``idempotency_key`` is what to repeat the call with, if it was a POST."""

    def __init__(self, reason: str, idempotency_key: str | None = None) -> None:
        super().__init__(reason)
        self.idempotency_key = idempotency_key


class ApiError(MafuError):
    """Mafu answered with an error.  Quote ``request_id`` when you ask for help."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        type: str = "",  # noqa: A002  # the API's word
        code: str = "",
        param: str | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(f"{message} ({status} {code}, {request_id})" if code else f"{message} ({status})")
        self.message = message
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.request_id = request_id


class InvalidRequest(ApiError):
    """400: correct it and call again."""


class NotAuthenticated(ApiError):
    """401: the key is wrong or revoked."""


class PermissionDenied(ApiError):
    """403: the key may not do this."""


class NotFound(ApiError):
    """404: no such thing, or not yours."""


class Conflict(ApiError):
    """409: the thing is in a state that forbids this."""


class IdempotencyMismatch(Conflict):
    """422: the same Idempotency-Key came with another request."""


class RateLimited(ApiError):
    """429, even after waiting."""


class ServerError(ApiError):
    """5xx: the outcome is unknown; ask again with the same key."""


BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    401: NotAuthenticated,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    422: IdempotencyMismatch,
    429: RateLimited,
}
