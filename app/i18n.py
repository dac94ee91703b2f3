"""Which language a person reads: asked for, remembered, their browser's, or the merchant's own."""

from __future__ import annotations

from pathlib import Path

from flask import Flask, g, request
from flask_babel import Babel

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
    for choice in (request.args.get("lang"), request.cookies.get(COOKIE)):
        if choice in LANGUAGES:
            return choice
    # A page may name its merchant's language as what to fall back on.
    fallback: str = g.get("fallback_language", "zh")
    return request.accept_languages.best_match(list(LANGUAGES), default=fallback) or fallback
