"""The names of the events, as merchants' systems see them."""

from __future__ import annotations

CHARGE_CREATED = "charge.created"
CHARGE_PAID = "charge.paid"
CHARGE_PAID_LATE = "charge.paid_late"
CHARGE_DOUBLE_PAID = "charge.double_paid"
CHARGE_AMOUNT_MISMATCHED = "charge.amount_mismatched"
CHARGE_EXPIRED = "charge.expired"
CHARGE_CANCELED = "charge.canceled"
CHARGE_BLOCKED = "charge.blocked"
CHARGE_REVIEW_OPENED = "charge.review_opened"
CHARGE_REVIEW_CLOSED = "charge.review_closed"
REFUND_CREATED = "refund.created"
REFUND_SUCCEEDED = "refund.succeeded"
REFUND_FAILED = "refund.failed"
RECONCILIATION_COMPLETED = "reconciliation.completed"
DISCREPANCY_OPENED = "discrepancy.opened"
TOPUP_SUCCEEDED = "topup.succeeded"
TOPUP_REFUNDED = "topup.refunded"
MEMBER_BALANCE_CHANGED = "member.balance_changed"
QR_CODE_CREATED = "qr_code.created"
QR_CODE_UPDATED = "qr_code.updated"
QR_CODE_DISABLED = "qr_code.disabled"
QR_CODE_ENABLED = "qr_code.enabled"
QR_CODE_QUIET = "qr_code.quiet"
WEBHOOK_ENDPOINT_DISABLED = "webhook_endpoint.disabled"
PROVIDER_ACCOUNT_UNHEALTHY = "provider_account.unhealthy"
PROVIDER_ACCOUNT_RECOVERED = "provider_account.recovered"
ENDPOINT_PING = "endpoint.ping"  # sent to the one endpoint that asked for it

ALL = (
    CHARGE_CREATED,
    CHARGE_PAID,
    CHARGE_PAID_LATE,
    CHARGE_DOUBLE_PAID,
    CHARGE_AMOUNT_MISMATCHED,
    CHARGE_EXPIRED,
    CHARGE_CANCELED,
    CHARGE_BLOCKED,
    CHARGE_REVIEW_OPENED,
    CHARGE_REVIEW_CLOSED,
    REFUND_CREATED,
    REFUND_SUCCEEDED,
    REFUND_FAILED,
    RECONCILIATION_COMPLETED,
    DISCREPANCY_OPENED,
    TOPUP_SUCCEEDED,
    TOPUP_REFUNDED,
    MEMBER_BALANCE_CHANGED,
    QR_CODE_CREATED,
    QR_CODE_UPDATED,
    QR_CODE_DISABLED,
    QR_CODE_ENABLED,
    QR_CODE_QUIET,
    WEBHOOK_ENDPOINT_DISABLED,
    PROVIDER_ACCOUNT_UNHEALTHY,
    PROVIDER_ACCOUNT_RECOVERED,
    ENDPOINT_PING,
)
SUBSCRIBABLE = tuple(name for name in ALL if name != ENDPOINT_PING)
EVERY = "*"
