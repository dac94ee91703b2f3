"""A small typed client of Mafu 码付.  No dependencies.

from mafu import Mafu, verify

mafu = Mafu("mafu_sk_test_…", "http://127.0.0.1:8000")
charge = mafu.charges.create(amount=1250, currency="cny", description="拿铁", merchant_order_no="1001")
print(charge.url)                                  # the shopper pays here
event = verify(request_body, request_headers, "whsec_…")   # what a webhook says
"""

from mafu.client import Mafu
from mafu.errors import (
    ApiError,
    Conflict,
    IdempotencyMismatch,
    InvalidRequest,
    InvalidSignature,
    MafuError,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
    Unreachable,
)
from mafu.objects import (
    BatchLine,
    BonusRule,
    Charge,
    Debit,
    Event,
    Member,
    Movement,
    Refund,
    Topup,
    WebhookEndpoint,
)
from mafu.webhook import verify

__all__ = [
    "ApiError",
    "BatchLine",
    "BonusRule",
    "Charge",
    "Conflict",
    "Debit",
    "Event",
    "IdempotencyMismatch",
    "InvalidRequest",
    "InvalidSignature",
    "Mafu",
    "MafuError",
    "Member",
    "Movement",
    "NotAuthenticated",
    "NotFound",
    "PermissionDenied",
    "RateLimited",
    "Refund",
    "ServerError",
    "Topup",
    "Unreachable",
    "WebhookEndpoint",
    "verify",
]
