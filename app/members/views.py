"""The dashboard's rooms for members: who they are, what each has and why, and what comes on top."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as BaseResponse

from app import clock
from app.charges import topups
from app.charges.commands import currency_of
from app.charges.forms import amount_of
from app.charges.topups import TopupFilter
from app.clock import day_of, start_of
from app.db import retried, transaction
from app.errors import Conflict, InvalidRequest
from app.members import statement
from app.merchants import policy
from app.merchants.auth import actor, me
from app.merchants.views import faults_of, livemode, money_text, open_room
from app.money import EXPONENTS
from app.purses import adjustments, bonus, members
from app.purses.adjustments import NewAdjustment
from app.purses.bonus import NewRule, Tier
from app.purses.members import Changes, MemberFilter, NewMember
from app.purses.models import MoveKind
from app.purses.present import available_of, link_of

PAGE = 25
ROWS_OF_TIERS = 5  # of the form; the API takes more
_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)  # of a movement; more digits no database could hold
_FAULTS = {
    "account": _l("An account has 1 to 64 letters, digits and . _ : @ + -, and none of our ids."),
    "name": _l("A name has at most 80 characters, on one line."),
    "phone": _l("A phone number has 5 to 20 digits and nothing else."),
    "amount": _l("Enter an amount such as 12.50, for the balance, the bonus or both."),
    "reason": _l("Say why in up to 200 characters."),
    "tiers": _l("From the top down the amounts rise; a bonus is more than 0 and at most what is paid."),
    "from": _l("Enter a day such as 2026-01-15, today or later."),
    "currency": _l("Choose one of the currencies."),
}
KINDS = {
    MoveKind.TOPUP: _l("Top-up"),
    MoveKind.TOPUP_TAKEN_BACK: _l("Top-up taken back"),
    MoveKind.TOPUP_GIVEN_BACK: _l("Top-up given back: its refund failed"),
    MoveKind.TOPUP_TAKEN_AGAIN: _l("Top-up taken back after all"),
    MoveKind.DEBIT: _l("Spent"),
    MoveKind.REVERSAL: _l("Spending reversed"),
    MoveKind.ADJUSTMENT: _l("Changed by hand"),
}

bp = Blueprint("members", __name__, url_prefix="/members")
open_room(bp)


@bp.get("")
def list_members() -> Response:
    """All of them, newest first, or those that somebody looks for."""
    return _list_page()


@bp.post("")
def add_member() -> Response | BaseResponse:
    """Add one by hand."""
    form = request.form
    try:
        new = NewMember(
            form.get("account", "").strip(),
            form.get("name", ""),
            form.get("phone", "").strip() or None,
            currency_of(form.get("currency", "CNY")),
        )
        with transaction() as tx:
            member, _ = members.put(tx, me().merchant_id, new, livemode=livemode(), by=actor())
    except InvalidRequest as error:
        return _list_page(faults_of(error, _FAULTS), 400)
    except Conflict as refusal:
        return _list_page(_taken(refusal), 409)
    return _back_to(member.id, "saved")


@bp.get("/<member_id>")
def show(member_id: str) -> Response:
    """One: what they have, everything that led there, and their top-ups."""
    return _page(member_id)


@bp.post("/<member_id>")
def change(member_id: str) -> Response | BaseResponse:
    """Another name or phone number."""
    wanted = Changes(request.form.get("name", ""), request.form.get("phone", "").strip())
    try:
        _change(member_id, wanted)
    except InvalidRequest as error:
        return _page(member_id, faults_of(error, _FAULTS), 400)
    except Conflict as refusal:
        return _page(member_id, _taken(refusal), 409)
    return _back_to(member_id, "saved")


@bp.post("/<member_id>/block")
def block(member_id: str) -> BaseResponse:
    """No top-ups and no spending from now on."""
    _change(member_id, Changes(blocked=True))
    return _back_to(member_id, "blocked")


@bp.post("/<member_id>/unblock")
def unblock(member_id: str) -> BaseResponse:
    """As before."""
    _change(member_id, Changes(blocked=False))
    return _back_to(member_id, "unblocked")


@bp.post("/<member_id>/adjust")
def adjust(member_id: str) -> Response | BaseResponse:
    """Give or take by hand, with a reason."""
    member = members.find(me().merchant_id, member_id, livemode=livemode())
    form = request.form
    sign = -1 if form.get("deed") == "take" else 1
    try:
        move = (sign * _part(form.get("amount", ""), member), sign * _part(form.get("bonus", ""), member))
        _adjust(NewAdjustment(member.id, *move, form.get("reason", "")))
    except InvalidRequest as error:
        return _page(member_id, faults_of(error, _FAULTS), 400)
    except Conflict:
        return _back_to(member_id, "too_low")
    return _back_to(member_id, "adjusted")


@bp.get("/<member_id>/statement.csv")
def export(member_id: str) -> Response:
    """Everything that moved this purse."""
    member = members.find(me().merchant_id, member_id, livemode=livemode())
    columns = {
        "time": gettext("Time (UTC+8)"),
        "number": gettext("Number"),
        "kind": gettext("What"),
        "balance": gettext("Balance +/-"),
        "bonus": gettext("Bonus +/-"),
        "balance_after": gettext("Balance then"),
        "bonus_after": gettext("Bonus then"),
        "cause": gettext("Cause"),
        "charge": gettext("Charge"),
        "note": gettext("Reason"),
        "currency": gettext("Currency"),
    }
    kinds = {str(kind): str(text) for kind, text in KINDS.items()}
    response = Response(
        "".join(statement.csv_of(member, columns, kinds)), content_type="text/csv; charset=utf-8"
    )
    response.headers["Content-Disposition"] = f'attachment; filename="mafu-{member.id}.csv"'
    return response


@bp.get("/bonus")
def show_rules() -> Response:
    """What comes on top, from when on."""
    return _rules_page()


@bp.post("/bonus")
def add_rule() -> Response | BaseResponse:
    """A rule that follows the one before."""
    try:
        currency = currency_of(request.form.get("currency", "CNY"))
        new = NewRule(currency, _tiers(currency), _since(request.form.get("from", "").strip()))
        bonus.add_rule(me().merchant_id, new, livemode=livemode(), by=actor())
    except InvalidRequest as error:
        return _rules_page(faults_of(error, _FAULTS), 400)
    except Conflict:
        return redirect(url_for("members.show_rules", notice="rule_exists"), 303)
    return redirect(url_for("members.show_rules", notice="rule_added"), 303)


@bp.post("/bonus/<rule_id>/withdraw")
def withdraw_rule(rule_id: str) -> BaseResponse:
    """Take back one that has not begun."""
    notice = "rule_withdrawn"
    try:
        bonus.withdraw_rule(me().merchant_id, rule_id, livemode=livemode(), by=actor())
    except Conflict:
        notice = "rule_begun"
    return redirect(url_for("members.show_rules", notice=notice), 303)


def _change(member_id: str, wanted: Changes) -> None:
    with transaction() as tx:
        members.change_member(tx, me().merchant_id, member_id, wanted, livemode=livemode(), by=actor())


@retried
def _adjust(new: NewAdjustment) -> None:
    with transaction() as tx:
        adjustments.adjust(tx, me().merchant_id, new, livemode=livemode(), by=actor())


def _list_page(faults: dict[str, str] | None = None, status: int = 200) -> Response:
    text = request.args.get("q", "").strip()
    wanted = MemberFilter(
        text=text,
        starting_after=request.args.get("after"),
        ending_before=request.args.get("before"),
        limit=PAGE,
    )
    rows, has_more = members.list_members(me().merchant_id, livemode=livemode(), wanted=wanted)
    backwards = wanted.ending_before is not None
    page = render_template(
        "dashboard/members.html",
        members=rows,
        text=text,
        older=rows and (backwards or has_more) and _turn(text, after=rows[-1].id),
        newer=rows
        and (has_more if backwards else wanted.starting_after is not None)
        and _turn(text, before=rows[0].id),
        is_first=wanted.starting_after is None and not backwards,
        currencies=_currencies(),
        faults=faults or {},
        form=request.form,
    )
    return make_response(page, status)


def _page(member_id: str, faults: dict[str, str] | None = None, status: int = 200) -> Response:
    member = members.find(me().merchant_id, member_id, livemode=livemode())
    before = request.args.get("before", "")
    rows, has_more = members.list_movements(
        member.merchant_id, member.id, before=int(before) if _NUMBER.fullmatch(before) else None, limit=PAGE
    )
    latest, _ = topups.list_topups(
        member.merchant_id, livemode=livemode(), wanted=TopupFilter(member=member.id, limit=PAGE)
    )
    page = render_template(
        "dashboard/member.html",
        member=member,
        available_minor=available_of(member),
        link=link_of(member),
        movements=rows,
        kinds=KINDS,
        topups=latest,
        older=url_for("members.show", member_id=member.id, before=rows[-1].number) if has_more else "",
        newer=url_for("members.show", member_id=member.id) if before else "",
        may_owe=policy.policy_of(member.merchant_id).members_may_owe,
        faults=faults or {},
        form=request.form,
    )
    return make_response(page, status)


def _rules_page(faults: dict[str, str] | None = None, status: int = 200) -> Response:
    rules = bonus.list_rules(me().merchant_id, livemode=livemode())
    now = clock.now()
    holding: dict[str, str] = {}
    for rule in rules:
        if rule.valid_from <= now:
            holding.setdefault(rule.currency, rule.id)
    page = render_template(
        "dashboard/bonus.html",
        rules=rules,
        holding=set(holding.values()),
        now=now,
        rows=range(ROWS_OF_TIERS),
        currencies=_currencies(),
        faults=faults or {},
        form=request.form,
    )
    return make_response(page, status)


def _tiers(currency: str) -> tuple[Tier, ...]:
    """The rows of the form that are filled in.  Raises InvalidRequest."""
    pairs = zip(request.form.getlist("pay"), request.form.getlist("get"), strict=False)
    try:
        return tuple(
            (amount_of(pay, currency).minor, amount_of(on_top, currency).minor)
            for pay, on_top in pairs
            if pay.strip() or on_top.strip()
        )
    except InvalidRequest:
        raise InvalidRequest("not an amount", param="tiers") from None


def _since(text: str) -> datetime | None:
    """The beginning of the day from which it holds; None: now.  Raises InvalidRequest."""
    if not text:
        return None
    today = day_of(clock.now())
    try:
        begins = today.fromisoformat(text[:10])
    except ValueError:
        raise InvalidRequest("no day", param="from") from None
    if begins < today:
        raise InvalidRequest("a day that is over", param="from")
    return None if begins == today else start_of(begins)


def _part(text: str, member: Any) -> int:
    """Minor units that somebody typed; nothing is 0.  Raises InvalidRequest."""
    minor = amount_of(text, member.currency).minor if text.strip() else 0
    if minor < 0:
        raise InvalidRequest("an amount is not below 0", param="amount")
    return minor


def _taken(refusal: Conflict) -> dict[str, str]:
    if refusal.code == "phone_taken":
        return {"phone": gettext("Another member has this phone number.")}
    return {"currency": gettext("This account is there already, in another currency.")}


def _back_to(member_id: str, notice: str) -> BaseResponse:
    return redirect(url_for("members.show", member_id=member_id, notice=notice), 303)


def _turn(text: str, **cursor: Any) -> str:
    """This list, from another page on."""
    kept: dict[str, Any] = {"q": text} if text else {}
    return url_for("members.list_members", **kept, **cursor)


def _currencies() -> list[str]:
    return sorted(EXPONENTS, key=lambda each: (each != "CNY", each))


@bp.app_template_filter("signed_money")
def signed_money(minor: int, currency: str) -> str:
    """``(1250, "CNY") -> "+¥12.50"``; nothing for nothing."""
    return "" if not minor else ("+" if minor > 0 else "") + money_text(minor, currency)
