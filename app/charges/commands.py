"""What a caller may ask of the books, checked: the same rules for the API, the dashboard and the shell."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from app.errors import InvalidRequest
from app.money import EXPONENTS, MINOR_MAX, Money

DESCRIPTION_CHARS_MAX = 127  # WeChat Pay's limit is the narrowest of the three networks'
ORDER_NO_CHARS_MAX = 64
REASON_CHARS_MAX = 80  # of a refund: WeChat Pay's limit again, and what the payer reads
METADATA_KEYS_MAX, METADATA_KEY_CHARS_MAX, METADATA_VALUE_CHARS_MAX = 20, 40, 500
URL_CHARS_MAX = 2048
EXPIRES_IN_S_MIN, EXPIRES_IN_S_MAX = 60, 15 * 86400  # Alipay's timeout_express ends at 15 days
EXPIRES_IN_S_DEFAULT = 7200  # as long as the wallets' own codes live
# At a printed code: long enough to choose a wallet and pay; what a shopper who walks away holds back of a
# limited code comes back then.
AT_CODE_S = 900

_ORDER_NO = re.compile(r"[!-~]{1,64}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class NewCharge:
    """A charge that may be made.  Building one checks it: raises InvalidRequest naming the field."""

    amount: Money
    description: str
    merchant_order_no: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    return_url: str | None = None
    expires_in_s: int = EXPIRES_IN_S_DEFAULT
    qr_code_id: str | None = None  # the merchant's own printed code, as its caller knows
    taken_by: str | None = None  # who takes it at the dashboard, and in which shift: as its caller knows
    shift_id: str | None = None
    store_id: str | None = None  # where that code hangs now, or whatever the merchant says
    topup_id: str | None = None  # of the top-up that it pays for, as its caller knows
    amount_by_shopper: bool = False  # typed at a code that asks for it

    def __post_init__(self) -> None:
        if not 1 <= self.amount.minor <= MINOR_MAX:
            raise InvalidRequest(
                f"an amount is 1 to {MINOR_MAX} minor units", code="amount_out_of_range", param="amount"
            )
        if not 1 <= len(self.description.strip()) <= DESCRIPTION_CHARS_MAX:
            raise InvalidRequest(
                f"a description has 1 to {DESCRIPTION_CHARS_MAX} characters", param="description"
            )
        _refuse_control(self.description, "description")
        if self.merchant_order_no is not None and not _ORDER_NO.fullmatch(self.merchant_order_no):
            raise InvalidRequest(
                f"an order number has 1 to {ORDER_NO_CHARS_MAX} visible ASCII characters",
                param="merchant_order_no",
            )
        if not EXPIRES_IN_S_MIN <= self.expires_in_s <= EXPIRES_IN_S_MAX:
            raise InvalidRequest(
                f"a charge lives {EXPIRES_IN_S_MIN} to {EXPIRES_IN_S_MAX} seconds", param="expires_in_s"
            )
        _check_metadata(self.metadata)
        if self.return_url is not None:
            _check_return_url(self.return_url)


@dataclass(frozen=True, slots=True)
class NewRefund:
    """A refund that may be asked for; without an amount all that is left.  Raises InvalidRequest."""

    charge_id: str
    amount_minor: int | None = None
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.amount_minor is not None and not 1 <= self.amount_minor <= MINOR_MAX:
            raise InvalidRequest(
                f"an amount is 1 to {MINOR_MAX} minor units", code="amount_out_of_range", param="amount"
            )
        if len(self.reason.strip()) > REASON_CHARS_MAX:
            raise InvalidRequest(f"a reason has at most {REASON_CHARS_MAX} characters", param="reason")
        _refuse_control(self.reason, "reason")
        _check_metadata(self.metadata)


def currency_of(code: str) -> str:
    """``"cny" -> "CNY"``.  Raises InvalidRequest."""
    currency = code.upper() if code.isascii() else ""
    if currency not in EXPONENTS:
        raise InvalidRequest(
            f"{code[:8]!r} is not a currency we can charge in", code="unknown_currency", param="currency"
        )
    return currency


def _check_metadata(metadata: dict[str, str]) -> None:
    if len(metadata) > METADATA_KEYS_MAX:
        raise InvalidRequest(f"metadata has at most {METADATA_KEYS_MAX} keys", param="metadata")
    for key, value in metadata.items():
        if not 1 <= len(key) <= METADATA_KEY_CHARS_MAX or len(value) > METADATA_VALUE_CHARS_MAX:
            raise InvalidRequest(
                f"a metadata key has 1 to {METADATA_KEY_CHARS_MAX} characters, "
                f"a value up to {METADATA_VALUE_CHARS_MAX}",
                param=f"metadata.{key[:METADATA_KEY_CHARS_MAX]}",
            )
        _refuse_control(key, "metadata")
        if "\x00" in value or re.search(r"[\ud800-\udfff]", value):
            raise InvalidRequest("text holds a character that cannot be stored", param="metadata")


def _check_return_url(url: str) -> None:
    if len(url) > URL_CHARS_MAX or not url.isascii() or re.search(r"[\x00-\x20\x7f\\<>\"]", url):
        raise InvalidRequest("not an address (non-ASCII parts must be percent-encoded)", param="return_url")
    try:
        parts = urlsplit(url)
        usable = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        usable = False
    if not usable or parts.username is not None:
        raise InvalidRequest("must look like https://shop.example.com/thanks", param="return_url")


def _refuse_control(text: str, param: str) -> None:
    if _CONTROL.search(text):
        raise InvalidRequest("text holds a control character", param=param)
