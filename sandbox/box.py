"""What every part of the sandbox shares: the store, the addresses, the pace and the networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from flask import Blueprint, current_app

from sandbox.store import Store
from sandbox.trades import Refund, Trade


@dataclass(frozen=True, slots=True)
class Letter:
    """A notification ready for the post."""

    headers: Mapping[str, str]
    body: bytes


class Network(Protocol):
    """One payment network: what the shared trade book, notifier and panel need to know of it."""

    code: str
    label: str
    retry_gaps_s: tuple[float, ...]  # at full length; the notifier divides by the speed
    forgeries: tuple[str, ...]  # the values of the lever ``forge`` that it can act on
    rotations: tuple[str, ...]  # the keys of its own that it can renew
    code_heads: tuple[str, ...]  # the first two digits of its wallet's payment codes
    code_digits: int  # how many such a code has

    def blueprints(self) -> list[Blueprint]:
        """The network's gateway and its own control calls."""
        ...

    def status_of(self, trade: Trade) -> str:
        """The network's word for where a trade is; "" while the network knows no such trade."""
        ...

    def address(self, trade: Trade, kind: str, refund: Refund | None) -> str:
        """Where news of this kind goes; "" when the network tells nobody of it."""
        ...

    def notice(self, trade: Trade, kind: str, refund: Refund | None) -> dict[str, str]:
        """The unsigned fields of a notification; a ``notify_id`` among them stays over the retries.

        ``kind``: paid, closed, waiting, finished, refunded, refund_closed or refund_abnormal.
        """
        ...

    def letter(self, fields: Mapping[str, str], charset: str, forge: str) -> Letter:
        """Sign the fields as they go out now, or forge them in the manner named."""
        ...

    def heard(self, status: int, body: bytes) -> bool:
        """Whether the merchant's answer means that the news was taken."""
        ...

    def return_address(self, trade: Trade) -> str:
        """Where the shopper's browser goes after paying, signed parameters included; "" for nowhere."""
        ...

    def rotation_of(self, trade: Trade) -> str:
        """Which of ``rotations`` renews what signs this trade's news; "" if nothing does."""
        ...

    def rotate(self, what: str) -> dict[str, Any]:
        """Renew a key, one of ``rotations``; what merchants can see of the new one."""
        ...


@dataclass(slots=True)
class Box:
    """One sandbox.  ``public_url`` is how shoppers' phones reach it, without a slash at the end."""

    data_dir: Path
    public_url: str
    speed: float
    store: Store
    networks: dict[str, Network] = field(default_factory=dict)
    magic: bool = True

    def network_of(self, trade: Trade) -> Network:
        """The network that keeps this trade."""
        return self.networks[trade.network]


def here() -> Box:
    """The box of the request being served."""
    box = current_app.extensions["sandbox"]
    assert isinstance(box, Box)
    return box
