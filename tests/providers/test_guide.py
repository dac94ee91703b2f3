"""The merchants' guide names every field that an account asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.providers import REGISTRY

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("guide", ["providers.md", "providers.zh.md"])
@pytest.mark.parametrize("provider", REGISTRY)
def test_every_field_is_explained(provider: str, guide: str) -> None:
    text = (DOCS / guide).read_text(encoding="utf-8")
    fields = [credential.name for credential in REGISTRY[provider].credentials]
    assert [name for name in fields if f"`{name}`" not in text] == []
