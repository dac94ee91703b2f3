"""A zero byte, which PostgreSQL has in no text: whoever sends one is told as for any other unknown name."""

from __future__ import annotations

import re

import pytest

from app.epay import switch

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def test_rooms_of_members_and_epay_hold_no_zero(owner):
    owner.get("/members")
    for path in ("/members/%00", "/epay/orders/%00"):
        assert owner.get(path).status_code == 404, path
    for path in ("/epay/orders/%00/resend", "/members/bonus/%00/withdraw", "/members/%00/block"):
        assert owner.post(path).status_code == 404, path
    assert "No member fits this search." in owner.get("/members?q=%00").text


def test_no_address_holds_a_zero(owner, app):
    rooms = [rule for rule in app.url_map.iter_rules() if rule.arguments and "GET" in rule.methods]
    for rule in rooms:
        path = re.sub(r"<[^>]+>", "%00", rule.rule)
        assert owner.get(path).status_code < 500, path
    assert owner.get("/logs?q=%00").status_code == 200


def test_what_programs_ask_for_holds_no_zero(client, merchant):
    key = switch.enable(merchant.id, livemode=False)
    pid = switch.find_row(merchant.id, livemode=False).pid
    assert client.get("/epay/return/%00").status_code == 404
    for named in ("out_trade_no=%00", "trade_no=%00"):
        told = client.get(f"/api.php?act=order&pid={pid}&key={key}&{named}").get_json()
        assert "There is no such order" in told["msg"], named
    headers = {"Authorization": f"Bearer {merchant.key}"}
    assert client.get("/v1/members?search=%00", headers=headers).get_json()["data"] == []
    wish = {"member": "\x00", "amount": 1}
    assert client.post("/v1/topups", json=wish, headers=headers).status_code == 404
