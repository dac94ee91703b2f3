"""Printed codes in the print shop: one of them, or a whole series on as many pages as it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, Response, url_for
from flask_babel import force_locale, gettext

from app import paper
from app.codes import codes
from app.codes.present import address_of_code
from app.codes.terms import LabelKind
from app.errors import NotFound
from app.merchants import accounts, brand
from app.merchants.auth import me
from app.merchants.views import open_room
from app.money import Money
from app.paper import Order
from app.qr.print.card import Card, Words
from app.qr.print.marks import joined
from app.qr.short_code import in_groups
from app.runtime import settings

bp = Blueprint("code_printing", __name__)
open_room(bp)


@bp.get("/codes/<code_id>/print")
def show(code_id: str) -> Response:
    """Choose what to print of one code."""
    row = codes.find(me().merchant_id, code_id)
    return _page(
        [row],
        here=partial(url_for, "code_printing.show", code_id=row.id),
        file=partial(url_for, "code_printing.draw", code_id=row.id),
        back=(url_for("codes.show", code_id=row.id), row.name),
    )


@bp.get("/codes/<code_id>/print/file")
def draw(code_id: str) -> Response:
    """One file of one code."""
    row = codes.find(me().merchant_id, code_id)
    return _file([row], in_groups(row.code))


@bp.get("/codes/series/<series_id>/print")
def show_series(series_id: str) -> Response:
    """Choose what to print of a series; codes that are disabled are left out."""
    rows = _series(series_id)
    return _page(
        rows,
        here=partial(url_for, "code_printing.show_series", series_id=rows[0].series_id),
        file=partial(url_for, "code_printing.draw_series", series_id=rows[0].series_id),
        back=(url_for("codes.list_codes", series=rows[0].series_id), rows[0].series),
    )


@bp.get("/codes/series/<series_id>/print/file")
def draw_series(series_id: str) -> Response:
    """One file of all of them."""
    rows = _series(series_id)
    return _file(rows, str(rows[0].series_id))


def cards_of(rows: Sequence[sa.Row[Any]], merchant_name: str) -> Callable[[Order], Sequence[Card]]:
    """What paper says of these codes of one merchant, once it is known how it is wanted."""
    first = rows[0]
    wallets = {row.provider for row in accounts.list_accounts(first.merchant_id, livemode=first.livemode)}

    def cards(order: Order) -> Sequence[Card]:
        words = paper.words_for(order.language, wallets)
        return [_card(row, merchant_name, words, has_price=order.price) for row in rows]

    return cards


def _series(series_id: str) -> Sequence[sa.Row[Any]]:
    rows = codes.in_series(me().merchant_id, series_id)
    if not rows:
        raise NotFound("no such series, or none of its codes is enabled")
    return rows


def _page(
    rows: Sequence[sa.Row[Any]],
    *,
    here: Callable[..., str],
    file: Callable[..., str],
    back: tuple[str, str],
) -> Response:
    return paper.page(
        cards_of(rows, me().merchant_name),
        here=here,
        file=file,
        back=back,
        room="codes",
        livemode=rows[0].livemode,
        usual=brand.find(rows[0].merchant_id).on_paper,
        has_price=any(row.amount_minor is not None for row in rows),
    )


def _file(rows: Sequence[sa.Row[Any]], name: str) -> Response:
    usual = brand.find(rows[0].merchant_id).on_paper
    return paper.file(cards_of(rows, me().merchant_name), name=name, usual=usual)


def _card(row: sa.Row[Any], merchant_name: str, words: tuple[Words, ...], *, has_price: bool) -> Card:
    is_open = row.amount_minor is None
    places = [_place(row, each.language) for each in words] if row.label_kind else []
    return Card(
        address=address_of_code(row),
        title=joined(merchant_name, row.store_name or ""),
        words=words,
        amount="" if is_open or not has_price else Money(row.amount_minor, row.currency).text(),
        label=" / ".join(places) or row.name,
        code=in_groups(row.code),
        verify=f"{settings().origin.partition('://')[2]}/v",
        open=is_open,
        test=not row.livemode,
    )


def _place(row: sa.Row[Any], language: str) -> str:
    """``"7 号桌"`` or ``"Table 7"``."""
    with force_locale(language):
        match row.label_kind:
            case LabelKind.TABLE:
                return gettext("Table %(label)s", label=row.label_text)
            case LabelKind.SEAT:
                return gettext("Seat %(label)s", label=row.label_text)
            case LabelKind.TERMINAL:
                return gettext("Till %(label)s", label=row.label_text)
            case _:
                return gettext("Served by %(label)s", label=row.label_text)
