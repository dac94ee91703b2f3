"""Who sells at WeChat Pay: a merchant for itself, or a service provider for one of its sub-merchants.

A service provider signs with its own keys and names both in every call and answer; addresses have a part
``partner`` then.  Whose an answer or a notification is, is compared whole: another sub-merchant of the same
service provider is another merchant.  All of it pure.
Source: WeChat Pay API v3, 服务商 (partner): orders, queries, refunds, payments by code, notifications.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.providers.wechatpay_wire import Node

DIRECT, PARTNER = "/v3/pay/transactions", "/v3/pay/partner/transactions"


@dataclass(frozen=True, slots=True)
class Parties:
    """The app ids and merchant numbers of an account.

    In service-provider mode ``appid`` and ``mchid`` are the provider's, and ``sub_mchid`` is whose money it
    is; ``sub_appid`` is the sub-merchant's own official account, if payers are known under that.
    ``mobile_appid`` is the app's, of whichever of the two it belongs to.
    """

    appid: str
    mchid: str
    mobile_appid: str = ""
    sub_mchid: str = ""
    sub_appid: str = ""

    @property
    def is_partner(self) -> bool:
        """Whether somebody else is paid than who signs."""
        return bool(self.sub_mchid)

    @property
    def base(self) -> str:
        """Where the addresses of payments begin."""
        return PARTNER if self.is_partner else DIRECT

    @property
    def public_appid(self) -> str:
        """The official account that payers are known to, and that the pay sheet opens under."""
        return self.sub_appid or self.appid

    @property
    def app_appid(self) -> str:
        """What the merchant's own app is called."""
        return self.mobile_appid or self.public_appid

    @property
    def partnerid(self) -> str:
        """The number that an app hands to the SDK: of who is paid."""
        return self.sub_mchid or self.mchid

    @property
    def openid_name(self) -> str:
        """What an order inside WeChat calls its payer."""
        if not self.is_partner:
            return "openid"
        return "sub_openid" if self.sub_appid else "sp_openid"

    def order_fields(self, *, in_app: bool = False) -> dict[str, str]:
        """Who sells, in an order or a payment by code."""
        if not self.is_partner:
            return {"appid": self.app_appid if in_app else self.appid, "mchid": self.mchid}
        sub_appid = self.mobile_appid or self.sub_appid if in_app else self.sub_appid
        fields = {"sp_appid": self.appid, "sp_mchid": self.mchid, "sub_appid": sub_appid}
        return {name: text for name, text in {**fields, "sub_mchid": self.sub_mchid}.items() if text}

    def owner_fields(self) -> dict[str, str]:
        """Whose order it is: what closing one says."""
        if not self.is_partner:
            return {"mchid": self.mchid}
        return {"sp_mchid": self.mchid, "sub_mchid": self.sub_mchid}

    def owner_query(self) -> str:
        """The same in an address, in the order of the manual."""
        return "&".join(f"{name}={text}" for name, text in self.owner_fields().items())

    def refund_fields(self) -> dict[str, str]:
        """Whose money goes back: who signs is known otherwise."""
        return {"sub_mchid": self.sub_mchid} if self.is_partner else {}

    def owns(self, node: Node) -> bool:
        """Whether an answer or a notification, of a payment or a refund, is this merchant's."""
        if not self.is_partner:
            # A direct merchant's never names a sub-merchant.
            return node.word("mchid") == self.mchid and not node.word("sub_mchid")
        return node.word("sp_mchid") == self.mchid and node.word("sub_mchid") == self.sub_mchid

    def sells(self, node: Node) -> bool:
        """Whether a payment is this merchant's, and under one of its app ids."""
        if not self.owns(node):
            return False
        if not self.is_partner:
            return node.word("appid") in (self.appid, self.app_appid)
        known = {"", self.sub_appid, self.mobile_appid}
        return node.word("sp_appid") == self.appid and node.word("sub_appid") in known
