"""Short ways for tests to call the API as somebody, and to count what it left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.db import Base, reading

CHARGE: dict[str, Any] = {"amount": 1250, "currency": "cny", "description": "一杯拿铁"}


@dataclass(frozen=True)
class Api:
    """The API as the owner of one key calls it."""

    client: FlaskClient
    key: str

    def get(self, path: str, **more: Any) -> TestResponse:
        return self._call("GET", path, more)

    def post(self, path: str, json: Any = None, **more: Any) -> TestResponse:
        return self._call("POST", path, more if json is None else {**more, "json": json})

    def delete(self, path: str, **more: Any) -> TestResponse:
        return self._call("DELETE", path, more)

    def charge(self, *, once: str | None = None, **more: Any) -> TestResponse:
        """Ask for a charge, under an Idempotency-Key if one is given."""
        headers = {} if once is None else {"Idempotency-Key": once}
        return self.post("/v1/charges", {**CHARGE, **more}, headers=headers)

    def refund(self, charge_id: str, *, once: str | None = None, **more: Any) -> TestResponse:
        """Ask for a refund."""
        headers = {} if once is None else {"Idempotency-Key": once}
        return self.post("/v1/refunds", {"charge": charge_id, **more}, headers=headers)

    def endpoint(self, *, once: str | None = None, **more: Any) -> TestResponse:
        """Ask for a webhook endpoint."""
        headers = {} if once is None else {"Idempotency-Key": once}
        body = {"url": "https://shop.example.com/mafu", **more}
        return self.post("/v1/webhook_endpoints", body, headers=headers)

    def _call(self, method: str, path: str, more: dict[str, Any]) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.key}", **more.pop("headers", {})}
        return self.client.open(path, method=method, headers=headers, **more)


def error_of(response: TestResponse) -> dict[str, Any]:
    """The error object of an answer, which must be complete and belong to this very answer."""
    assert response.content_type == "application/json", response.data[:200]
    assert list(response.get_json()) == ["error"]
    error: dict[str, Any] = response.get_json()["error"]
    assert list(error) == ["type", "code", "message", "param", "request_id"]
    assert error["request_id"] == response.headers["Request-Id"]
    assert response.headers["Mafu-Version"]
    assert error["message"]
    assert not error["message"].endswith(".")
    return error


def refusal(response: TestResponse) -> tuple[int, str, str | None]:
    """Status, code and param of a refused request."""
    error = error_of(response)
    return response.status_code, error["code"], error["param"]


def row_counts() -> dict[str, int]:
    """How many rows every table has."""
    with reading() as connection:
        return {
            name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for name, table in Base.metadata.tables.items()
        }
