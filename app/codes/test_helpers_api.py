"""/v1/test_helpers/qr_codes: in test mode, what else takes a printed code a month happens at once."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask_openapi import APIBlueprint, Tag
from sqlalchemy import Connection

from app.answers import ONCE_REFUSALS, REFUSALS, SECURITY, ErrorAnswer, OnceHeader, validated
from app.charges.test_helpers import only_in_test_mode
from app.codes import codes, quiet
from app.codes.present import Counts, code_json
from app.codes.schema import CodeAnswer, CodePath
from app.merchants.auth import caller, require_key
from app.merchants.once_api import done_once

bp = APIBlueprint(
    "code_test_helpers_api",
    __name__,
    url_prefix="/v1/test_helpers/qr_codes",
    abp_tags=[Tag(name="Test helpers")],
    abp_security=SECURITY,
    abp_responses=REFUSALS,
)
bp.before_request(require_key)


@bp.post(
    "/<code_id>/go_quiet",
    summary="Let a printed code go quiet",
    responses={200: CodeAnswer, 404: ErrorAnswer, **ONCE_REFUSALS},
)
@validated
def go_quiet(path: CodePath, header: OnceHeader) -> Response:
    """As if it had been busy for a month and nobody scanned it any more: `qr_code.quiet` is sent."""
    who = caller()
    only_in_test_mode(who.livemode)

    def work(tx: Connection) -> dict[str, Any]:
        row = quiet.go_quiet(tx, who.merchant_id, path.code_id)
        return code_json(row, codes.count_in(tx, who.merchant_id, [row.id]).get(row.id, Counts()))

    return done_once(header, work)
