"""UnionPay (ACP 5.1.0) as seen from the wire: gateway, certificates, notifications, settlement files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint

from sandbox import levers
from sandbox.box import Box, Letter
from sandbox.trades import Refund, State, Trade
from sandbox.unionpay import codes, control, gateway, keys, merchants, news
from sandbox.unionpay.keys import Keyring


class UnionPay:
    """UnionPay's answers to the questions that the shared parts ask of a network."""

    code = merchants.NETWORK
    label = "UnionPay 云闪付"
    # Five deliveries within a quarter of an hour.
    retry_gaps_s: tuple[float, ...] = (60.0, 120.0, 240.0, 300.0)
    forgeries: tuple[str, ...] = news.FORGERIES
    rotations: tuple[str, ...] = tuple(keys.ORGANISATIONS)
    code_heads: tuple[str, ...] = ("62",)
    code_digits = 19

    def __init__(self, box: Box) -> None:
        self._box = box
        self._ring = Keyring(box.data_dir / "unionpay")

    def blueprints(self) -> list[Blueprint]:
        """Gateway, file host and way back, and the control calls that are UnionPay's own."""
        return [gateway.blueprint(self._ring), control.blueprint(self._ring)]

    def status_of(self, trade: Trade) -> str:
        """The code that a query gives as ``origRespCode``; "" while nobody has opened the payment."""
        return "" if trade.state in (State.OFFERED, State.WITHDRAWN) else news.payment_code(trade)

    def address(self, trade: Trade, kind: str, refund: Refund | None) -> str:
        """The backUrl of the payment, or of the refund; only a success of a payment is told."""
        return news.address(trade, kind, refund)

    def notice(self, trade: Trade, kind: str, refund: Refund | None) -> dict[str, str]:
        """A notification's fields."""
        return news.notice(trade, kind, refund)

    def letter(self, fields: Mapping[str, str], charset: str, forge: str) -> Letter:
        """A signed notification, or a forged one; the lever ``paid_code`` bends a payment's code."""
        with self._box.store.read() as db:
            merchant = merchants.find(db, fields["merId"])
            code = levers.bound(db, "paid_code", fields["orderId"])
        assert merchant is not None  # A payment is entered by its merchant, and reset takes both.
        if code is not None and (fields["txnType"], fields["respCode"]) == ("01", codes.DONE):
            fields = {**fields, **codes.result(code)}
        return news.letter(self._ring, merchant.mode, fields, forge)

    def heard(self, status: int, body: bytes) -> bool:
        """HTTP status 200, whatever the body."""
        return status == 200

    def return_address(self, trade: Trade) -> str:
        """A page whose form takes the browser back to frontUrl; QR codes and apps have no way back."""
        return f"/unionpay/return/{trade.code}" if trade.return_url else ""

    def rotation_of(self, trade: Trade) -> str:
        """The certificate of the system that the merchant is at."""
        with self._box.store.read() as db:
            merchant = merchants.find(db, trade.app_id)
        assert merchant is not None  # A payment is entered by its merchant, and reset takes both.
        return merchant.mode

    def rotate(self, what: str) -> dict[str, Any]:
        """A new certificate of the same authority signs from now on."""
        return control.rotated(self._ring, what)
