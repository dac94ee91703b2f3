"""What a hostile receiver of webhooks may answer without harm to others."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.webhooks.delivery import retry_after_s


@pytest.mark.parametrize(
    "header",
    [
        "Mon, 01 Jan 2024 00:00:00 +" + "9" * 30,
        "9" * 30 + " Jan 2024 00:00:00 GMT",
        "Mon, 01 Jan 2024 " + "9" * 40 + ":00:00 GMT",
    ],
)
def test_a_date_that_fits_no_clock_says_nothing(header):
    """An exception here would stop every webhook: the results of a batch are recorded together."""
    assert retry_after_s(header, datetime.now(UTC)) is None
