"""Which language a person reads: asked for, remembered, their browser's, or the merchant's own."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from flask import Flask, g, request
from flask_babel import Babel
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

LANGUAGES = {"zh": "中文", "en": "English"}
COOKIE = "mafu_lang"

babel = Babel()


def init_app(app: Flask) -> None:
    """Bind Flask-Babel; catalogues are in ``translations/``, English is in the source."""
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(Path(app.root_path).parent / "translations")
    app.config["BABEL_DEFAULT_LOCALE"] = "en"
    babel.init_app(app, locale_selector=language)
    app.jinja_env.globals.update(languages=LANGUAGES, language=language)


def language() -> str:
    """``"zh"`` or ``"en"`` for this request."""
    asked = request.args.get("lang") or request.cookies.get(COOKIE)
    if asked in LANGUAGES:
        return asked
    # A page may name its merchant's language as what to fall back on.
    return _preferred(request.headers.get("Accept-Language", ""), g.get("fallback_language", "zh"))


@lru_cache(maxsize=1024)  # browsers send few different headers, and reading one takes 70 µs
def _preferred(header: str, fallback: str) -> str:
    accepted = parse_accept_header(header[:200], LanguageAccept)
    return accepted.best_match(list(LANGUAGES), default=fallback) or fallback
