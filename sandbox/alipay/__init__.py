"""Alipay as seen from the wire: gateway, signatures, notifications, bills, certificates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint

from sandbox.alipay import apps, bills, control, gateway, news, oauth, payments
from sandbox.alipay.apps import App
from sandbox.alipay.keys import Keyring
from sandbox.box import Box, Letter
from sandbox.trades import Refund, Trade


class Alipay:
    """Alipay's answers to the questions that the shared parts ask of a network."""

    code = apps.NETWORK
    label = "Alipay 支付宝"
    # Eight deliveries within 25 hours.
    retry_gaps_s: tuple[float, ...] = (240.0, 600.0, 600.0, 3600.0, 7200.0, 21600.0, 54000.0)
    forgeries: tuple[str, ...] = ("bad_signature", "other_key", "other_app", "wrong_amount")
    rotations: tuple[str, ...] = ("cert",)
    code_heads: tuple[str, ...] = ("25", "26", "27", "28", "29", "30")
    code_digits = 18

    def __init__(self, box: Box) -> None:
        self._box = box
        self._ring = Keyring(box.data_dir / "alipay")

    def blueprints(self) -> list[Blueprint]:
        """Gateway, authorisation page, bill file, and the control calls that are Alipay's own."""
        return [
            gateway.blueprint(self._ring),
            oauth.blueprint(),
            bills.blueprint(self._ring),
            control.blueprint(self._ring),
        ]

    def status_of(self, trade: Trade) -> str:
        """``TRADE_SUCCESS`` and so on; "" while nobody has opened the trade."""
        return payments.status_of(trade)

    def address(self, trade: Trade, kind: str, refund: Refund | None) -> str:
        """One address for everything: Alipay takes none with a refund."""
        return trade.notify_url

    def notice(self, trade: Trade, kind: str, refund: Refund | None) -> dict[str, str]:
        """A notification's fields."""
        return news.notice(trade, self._app(trade.app_id), kind, refund)

    def letter(self, fields: Mapping[str, str], charset: str, forge: str) -> Letter:
        """A signed notification, or a forged one."""
        return news.letter(self._ring, self._app(fields["app_id"]), fields, charset, forge)

    def heard(self, status: int, body: bytes) -> bool:
        """Exactly the seven bytes ``success``; anything else is asked again."""
        return status == 200 and body == b"success"

    def return_address(self, trade: Trade) -> str:
        """The shop's return_url with signed parameters."""
        return news.return_address(self._ring, self._app(trade.app_id), trade)

    def rotation_of(self, trade: Trade) -> str:
        """Certificates come to an end; the key of key mode stays until a merchant asks for another."""
        return "cert" if self._app(trade.app_id).mode == "cert" else ""

    def rotate(self, what: str) -> dict[str, Any]:
        """A new certificate over a new key signs from now on."""
        return {"alipay_cert_sn": self._ring.rotate()}

    def _app(self, app_id: str) -> App:
        with self._box.store.read() as db:
            app = apps.find(db, app_id)
        assert app is not None  # A trade is entered by its app, and reset takes both.
        return app
