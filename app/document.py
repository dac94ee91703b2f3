"""The API describes itself in OpenAPI 3.1: read off the code, completed where that says too little."""

from __future__ import annotations

from typing import Any, cast

from flask import Flask, current_app
from flask_openapi import OpenAPI

from app.catalogue import add_events
from app.charges import api as charges_api
from app.charges import batch_api, refunds_api
from app.codes import schema as codes_schema
from app.members import adjustments_api, bonus_rules_api, debits_api, topups_api
from app.members import api as members_api
from app.merchants import keys_api, stores_api
from app.merchants.scopes import ROUTES, Scope
from app.webhooks import schema as webhooks_schema

# Bodies whose schema flask-openapi does not draw whole.
_BODIES = (
    charges_api.ChargeBody,
    refunds_api.RefundBody,
    members_api.MemberBody,
    members_api.MemberChanges,
    topups_api.TopupBody,
    debits_api.DebitBody,
    debits_api.ReversalBody,
    adjustments_api.AdjustmentBody,
    bonus_rules_api.RuleBody,
    keys_api.KeyBody,
    keys_api.KeyChanges,
    codes_schema.CodeBody,
    codes_schema.SeriesBody,
    codes_schema.CodeChanges,
    stores_api.StoreBody,
    stores_api.StoreChanges,
    webhooks_schema.EndpointBody,
)


_NAME = "mafu.document"
_CSV = {
    "required": True,
    "content": {"text/csv": {"schema": {"type": "string"}, "example": batch_api.CSV_EXAMPLE}},
}


def current_document() -> dict[str, Any]:
    """The running application's; drawn once, because the code does not change under it."""
    known = current_app.extensions.get(_NAME)
    if known is None:
        known = current_app.extensions[_NAME] = document_of(cast(OpenAPI, current_app))
    return cast(dict[str, Any], known)


def document_of(app: OpenAPI) -> dict[str, Any]:
    """The API's own description.

    flask-openapi writes docstrings for HTML, where readers of JSON want Markdown, and leaves out of a
    schema what it has no name for, such as the limits of a mapping's keys.
    """
    document: dict[str, Any] = app.api_doc
    needed = _scopes_by_operation(app)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            text = operation["description"].replace("<br/>", "\n").replace("``", "`")
            operation["description"] = f"{text}\n\nScope: `{needed[method, path]}`."
    document["paths"]["/v1/charges/batch"]["post"]["requestBody"] = _CSV
    for model in _BODIES:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schema.pop("$defs", None)
        document["components"]["schemas"][model.__name__] = schema
    add_events(document)
    return document


def _scopes_by_operation(app: Flask) -> dict[tuple[str, str], Scope]:
    """What a key needs for each operation of the document."""
    return {
        (method.lower(), rule.rule.replace("<", "{").replace(">", "}")): ROUTES[rule.endpoint]
        for rule in app.url_map.iter_rules()
        if rule.endpoint in ROUTES
        for method in rule.methods or ()
    }
