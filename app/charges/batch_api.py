"""/v1/charges/batch: a file of charges, with a report for each line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from flask import Response, g, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field
from werkzeug.exceptions import UnsupportedMediaType

from app.answers import BODY_REFUSALS, ONCE_REFUSALS, REFUSALS, SECURITY, OnceHeader, validated
from app.charges import batch
from app.charges.batch import Outcome
from app.merchants.auth import caller, require_key
from app.merchants.once_api import done_once_in_steps

bp = APIBlueprint(
    "batch_api",
    __name__,
    url_prefix="/v1/charges",
    abp_tags=[Tag(name="Charges", description="What a shopper is asked to pay.")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)

CSV_EXAMPLE = (
    "merchant_order_no,amount,currency,description,metadata.table\n"
    "20260115-0042,1250,cny,一杯拿铁,7\n"
    "20260115-0043,900,cny,美式,8\n"
)
LINE_EXAMPLE: dict[str, Any] = {
    "line": 2,
    "merchant_order_no": "20260115-0042",
    "outcome": "created",
    "charge": "ch_01jd3w6j7hqk2m8n4p6r8t0v2x",
    "url": "https://PAY.EXAMPLE.COM/C/01JD3W6J7HQK2M8N4P6R8T0V2X7QK2M9XTB4R8W3V6Z1YJ5H0PCD",
    "error": None,
}


class LineError(BaseModel):
    """Why a line made no charge."""

    code: str
    message: str
    param: str | None = Field(description="The column at fault.")


class LineReport(BaseModel):
    """What became of one line."""

    line: int = Field(description="As a spreadsheet counts: the header is line 1.")
    merchant_order_no: str
    outcome: Literal["created", "existing", "failed"] = Field(
        description="existing: the same line made this charge before."
    )
    charge: str | None
    url: str | None = Field(description="The signed payment link.")
    error: LineError | None


class BatchAnswer(BaseModel):
    """A report for each line, in their order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "batch",
                    "livemode": False,
                    "created": 1,
                    "existing": 0,
                    "failed": 0,
                    "data": [LINE_EXAMPLE],
                }
            ]
        }
    )

    object: str = Field(pattern="^batch$")
    livemode: bool
    created: int
    existing: int
    failed: int
    data: list[LineReport]


@bp.post(
    "/batch",
    summary="Create charges from a file",
    responses={200: BatchAnswer, **ONCE_REFUSALS, **BODY_REFUSALS},
)
@validated
def create(header: OnceHeader) -> Response:
    """Up to 1,000 lines of CSV in UTF-8 or GBK, at most 2 MB, sent as `text/csv`.

    Columns: `merchant_order_no`, `description`, and `amount` in minor units or `amount_major` such as
    12.50; if wanted `currency` (else cny), `store`, `return_url`, `expires_in_s` and `metadata.…`.  Each line
    succeeds or fails by itself.  Send the file again whenever you are not sure that it arrived: a line
    that made a charge before is answered with that charge.
    """
    if request.mimetype != "text/csv":
        raise UnsupportedMediaType("send the file with Content-Type: text/csv")
    g.request_body = request.get_data()
    lines = batch.read_lines(g.request_body)
    who = caller()

    def work() -> dict[str, Any]:
        return _report(batch.create_charges(who.merchant_id, lines, livemode=who.livemode), who.livemode)

    return done_once_in_steps(header, work)


def _report(outcomes: Sequence[Outcome], livemode: bool) -> dict[str, Any]:
    words = [outcome.word for outcome in outcomes]
    return {
        "object": "batch",
        "livemode": livemode,
        **{word: words.count(word) for word in ("created", "existing", "failed")},
        "data": [_line_json(outcome) for outcome in outcomes],
    }


def _line_json(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error
    return {
        "line": outcome.number,
        "merchant_order_no": outcome.order_no,
        "outcome": outcome.word,
        "charge": None if outcome.charge is None else outcome.charge.id,
        "url": outcome.link or None,
        "error": None
        if error is None
        else {"code": error.code, "message": error.detail, "param": getattr(error, "param", None)},
    }
