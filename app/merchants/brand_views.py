"""A merchant's logo and colour for whoever looks at its pages, and how those pages name them.

Both addresses change with what they show, so browsers keep it for good and ask no second time.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from flask import Blueprint, Response, current_app, request, url_for

from app.errors import InvalidRequest, NotFound
from app.merchants import brand
from app.merchants.accent import css_of
from app.qr.print.card import Look

_FOR_GOOD = "public, max-age=31536000, immutable"
_TOKENS = "css/tokens.css"

bp = Blueprint("brand", __name__)


@bp.get("/logo/<version>.png")
def logo(version: str) -> Response:
    """The logo of this version, drawn by us from somebody's pixels.  Raises NotFound."""
    response = Response(brand.screen_logo(version), content_type="image/png")
    # Opened on its own it is a picture and nothing else, whatever a browser makes of it.
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["Cache-Control"] = _FOR_GOOD
    return response


@bp.get("/accent/<colour>.css")
def accent(colour: str) -> Response:
    """The design system's constants in this colour, ``1f3f77``: one file, as without a colour.

    Raises NotFound for a colour that no merchant can have chosen.
    """
    try:
        Look(accent=f"#{colour}")
    except InvalidRequest:
        raise NotFound("no such colour") from None
    tokens = (Path(current_app.static_folder or "") / _TOKENS).read_text("utf-8")
    response = Response(tokens + css_of(f"#{colour}"), content_type="text/css; charset=utf-8")
    response.headers["Cache-Control"] = _FOR_GOOD
    return response


def dress(accent: str | None, logo_version: str | None) -> dict[str, str]:
    """What a shopper's page is dressed in: addresses by the names that templates use.

    ``look`` is the file of constants, ``icon`` the tab's; ``logo`` is empty where there is none.  The tab
    shows the logo, which costs no request of its own: it is the same picture.
    """
    tokens, icon = _files_of_all(request.root_path)
    shown = f"/logo/{logo_version}.png" if logo_version else ""
    return {
        "look": f"/accent/{accent[1:]}.css?{tokens.partition('?')[2]}" if accent else tokens,
        "icon": shown or icon,
        "logo": shown,
    }


@lru_cache(maxsize=16)  # writing these two took a fifth of a payment's first page
def _files_of_all(_root_path: str) -> tuple[str, str]:
    """The addresses of the constants and of our own icon, as the application is mounted."""
    return url_for("static", filename=_TOKENS), url_for("static", filename="img/favicon.svg")
