"""WeChat Pay API v3 as seen from the wire: gateway, signatures, notifications, bills, OAuth, H5 page."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from flask import Blueprint

from sandbox.box import Box, Letter
from sandbox.trades import Refund, Trade
from sandbox.wechatpay import control, gateway, merchants, news, orders, wallet
from sandbox.wechatpay.keys import Keyring


class WechatPay:
    """WeChat Pay's answers to the questions that the shared parts ask of a network."""

    code = merchants.NETWORK
    label = "WeChat Pay 微信支付"
    # 15s/15s/30s/3m/10m/20m/30m/30m/30m/60m/3h/3h/3h/6h/6h.
    retry_gaps_s: tuple[float, ...] = (
        *(15.0, 15.0, 30.0, 180.0, 600.0, 1200.0, 1800.0, 1800.0, 1800.0, 3600.0),
        *(10800.0, 10800.0, 10800.0, 21600.0, 21600.0),
    )
    forgeries: tuple[str, ...] = news.FORGERIES
    rotations: tuple[str, ...] = control.ROTATIONS
    code_heads: tuple[str, ...] = ("10", "11", "12", "13", "14", "15")
    code_digits = 18

    def __init__(self, box: Box) -> None:
        self._box = box
        self._ring = Keyring(box.data_dir / "wechatpay")
        self._turns = itertools.count()

    def blueprints(self) -> list[Blueprint]:
        """Gateway, wallet, and the control calls that are WeChat Pay's own."""
        return [gateway.blueprint(self._ring), wallet.blueprint(), control.blueprint(self._ring)]

    def status_of(self, trade: Trade) -> str:
        """``NOTPAY`` and so on: an order exists from the moment it is made."""
        return orders.status_of(trade)

    def address(self, trade: Trade, kind: str, refund: Refund | None) -> str:
        """Payments to the order's notify_url, refunds to their own."""
        return news.address(trade, kind, refund)

    def notice(self, trade: Trade, kind: str, refund: Refund | None) -> dict[str, str]:
        """A notification before it is sealed."""
        return news.notice(trade, kind, refund)

    def letter(self, fields: Mapping[str, str], charset: str, forge: str) -> Letter:
        """A sealed and signed notification, or a forged one.

        During a migration every other send is signed by the platform certificate.
        """
        with self._box.store.read() as db:
            merchant = merchants.find(db, fields["mchid"])
        assert merchant is not None  # A trade is entered by its merchant, and reset takes both.
        by_cert = merchant.mode == "cert" or (merchant.mode == "both" and next(self._turns) % 2 == 1)
        signer = self._ring.platform_signer() if by_cert else self._ring.public_signer(merchant.mchid)
        return news.letter(self._ring, merchant, signer, fields, forge)

    def heard(self, status: int, body: bytes) -> bool:
        """200 or 204, whatever the body says."""
        return status in (200, 204)

    def return_address(self, trade: Trade) -> str:
        """The H5 page's redirect_url, as the shop gave it: nothing is added, nothing is proved."""
        return trade.return_url

    def rotation_of(self, trade: Trade) -> str:
        """The public key where the merchant knows no other, else the platform certificate."""
        with self._box.store.read() as db:
            merchant = merchants.find(db, trade.app_id)
        assert merchant is not None  # An order is entered by its merchant, and reset takes both.
        return "public_key" if merchant.mode == "public_key" else "cert"

    def rotate(self, what: str) -> dict[str, Any]:
        """A new platform certificate, at once or in two steps, or a new public key."""
        return control.rotated(self._ring, what)
