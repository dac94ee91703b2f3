"""/docs: the API's description as a page for people, drawn from the document that machines read.

Nothing here is written twice: what an operation does, takes and answers, and its example, come from
/v1/openapi.json, so page and document cannot disagree.  The page needs no script and nobody else's
server.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, render_template, request
from flask_babel import lazy_gettext as _l
from markupsafe import Markup, escape

from app import i18n
from app.document import current_document
from app.runtime import settings

bp = Blueprint("guide", __name__)

_METHODS = ("get", "post", "delete")
_SUCCESS = ("200", "201")


# What heads a chapter or an operation in the document, to be found in the catalogues; the rest stays English.
TITLES = (
    _l("Charges"),
    _l("Refunds"),
    _l("Balance"),
    _l("Printed codes"),
    _l("Stores"),
    _l("API keys"),
    _l("Request log"),
    _l("Webhook endpoints"),
    _l("Events"),
    _l("Deliveries"),
    _l("Test helpers"),
    _l("What a shopper is asked to pay."),
    _l("Money on its way back to the shopper."),
    _l("Sums of your books; the money itself is at your wallets."),
    _l("Signs that hang in a shop; each scan makes a charge."),
    _l("Places where printed codes hang; shoppers read of them."),
    _l("Who may do what in your name."),
    _l("Every call of your keys, secrets masked."),
    _l("Addresses that hear of every change."),
    _l("What has happened, in order, for ever the same."),
    _l("Events on their way to endpoints, with every try."),
    _l("In test mode, your tests play the shopper at the sandbox.  A live key gets 404."),
    _l("List charges"),
    _l("Create a charge"),
    _l("Read a charge"),
    _l("Cancel a charge"),
    _l("Pay in your app"),
    _l("The code as SVG"),
    _l("The code as PNG"),
    _l("Create charges from a file"),
    _l("Charge a payment code"),
    _l("List refunds"),
    _l("Refund a charge"),
    _l("Read a refund"),
    _l("Read the balance"),
    _l("List printed codes"),
    _l("Create a printed code"),
    _l("Create a series of printed codes"),
    _l("Read a printed code"),
    _l("Change a printed code"),
    _l("A printed code as SVG"),
    _l("A printed code as PNG"),
    _l("A printed code on paper"),
    _l("A series on paper"),
    _l("List stores"),
    _l("Create a store"),
    _l("Read a store"),
    _l("Change a store"),
    _l("List keys"),
    _l("Create a key"),
    _l("Read a key"),
    _l("Change a key"),
    _l("Roll a key"),
    _l("Revoke a key"),
    _l("List calls"),
    _l("Read a call"),
    _l("List endpoints"),
    _l("Add an endpoint"),
    _l("Read an endpoint"),
    _l("Change an endpoint"),
    _l("Delete an endpoint"),
    _l("Change the secret"),
    _l("Send a test event"),
    _l("List events"),
    _l("Read an event"),
    _l("Send a span of events again"),
    _l("List deliveries"),
    _l("Read a delivery"),
    _l("Send it again"),
    _l("Choose a wallet"),
    _l("Pay as a shopper"),
    _l("Decline as a shopper"),
    _l("Let a charge expire"),
    _l("Bend what happens next"),
    _l("Let a printed code go quiet"),
    _l("Members"),
    _l("Customers of your app, and what each has to spend."),
    _l("Top-ups"),
    _l("Charges whose money is a member's to spend."),
    _l("Debits"),
    _l("What members have spent of their balance."),
    _l("Bonus rules"),
    _l("What comes on top of a top-up, and from when on."),
    _l("List members"),
    _l("Add or update a member"),
    _l("Read a member"),
    _l("Change a member"),
    _l("A member's statement"),
    _l("List top-ups"),
    _l("Begin a top-up"),
    _l("Read a top-up"),
    _l("Ask the wallet"),
    _l("List a member's debits"),
    _l("Spend from a balance"),
    _l("Read a debit"),
    _l("Give back a debit"),
    _l("Adjustments"),
    _l("What was given or taken by hand."),
    _l("Give or take by hand"),
    _l("List bonus rules"),
    _l("Add a bonus rule"),
    _l("Take back a bonus rule"),
    _l("Reconciliation"),
    _l("Wallets' daily bills, held against your books."),
    _l("Routing"),
    _l("Which account a payment goes through, and what that costs."),
    _l("Risk"),
    _l("Rules about who may begin to pay, and what they decided."),
    _l("List reconciliations"),
    _l("Read a reconciliation"),
    _l("List discrepancies"),
    _l("Read a discrepancy"),
    _l("Preview a route"),
    _l("List provider accounts"),
    _l("List rules"),
    _l("Add a rule"),
    _l("Read a rule"),
    _l("Replace a rule"),
    _l("End a rule"),
    _l("Try a rule"),
    _l("Release or refuse a held charge"),
    _l("List decisions"),
    _l("Read a decision"),
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something that an operation takes, or a field of what it takes."""

    name: str
    place: str  # path, query, header, body
    kind: str  # "string", "integer", "one of pending, paid"
    text: str
    is_required: bool


@dataclass(frozen=True, slots=True)
class Operation:
    """One address and method."""

    anchor: str
    method: str
    path: str
    title: str
    text: str
    scope: str
    parameters: tuple[Parameter, ...]
    curl: str
    status: str
    answer: str  # JSON, or what else comes
    refusals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chapter:
    """The operations on one kind of thing."""

    anchor: str
    title: str
    text: str
    operations: tuple[Operation, ...]


@bp.get("/docs")
def show() -> str:
    """The whole API on one page."""
    return render_template(
        "docs/api.html",
        chapters=chapters_of(current_document(), settings().origin),
        origin=settings().origin,
        turned_to={code: f"{request.path}?lang={code}" for code in i18n.LANGUAGES},
        in_words=in_words,
    )


def chapters_of(document: dict[str, Any], origin: str) -> tuple[Chapter, ...]:
    """The document in chapters, in the order of its tags.  Pure."""
    operations: dict[str, list[Operation]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                operation = methods[method]
                operations[operation["tags"][0]].append(_operation(document, origin, path, method))
    return tuple(
        Chapter(
            tag["name"].lower().replace(" ", "-"),
            tag["name"],
            tag["description"],
            tuple(operations[tag["name"]]),
        )
        for tag in document["tags"]
    )


def in_words(text: str) -> Markup:
    """Paragraphs, with what stands in backticks as code.  Pure."""
    paragraphs = []
    for paragraph in text.split("\n\n"):
        parts = [
            Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
            for number, part in enumerate(paragraph.split("`"))
        ]
        paragraphs.append(Markup("<p>{}</p>").format(Markup("").join(parts)))
    return Markup("\n").join(paragraphs)


def _operation(document: dict[str, Any], origin: str, path: str, method: str) -> Operation:
    drawn = document["paths"][path][method]
    text, _, scope = drawn["description"].rpartition("\n\nScope: ")
    status = next(code for code in _SUCCESS if code in drawn["responses"])
    return Operation(
        anchor=drawn["operationId"],
        method=method.upper(),
        path=path,
        title=drawn["summary"],
        text=text,
        scope=scope.strip("`."),
        parameters=(*_parameters(drawn), *_fields(document, drawn)),
        curl=_curl(document, origin, path, method),
        status=status,
        answer=_answer(document, drawn["responses"][status]),
        refusals=tuple(sorted(code for code in drawn["responses"] if code >= "400")),
    )


def _parameters(drawn: dict[str, Any]) -> list[Parameter]:
    return [
        Parameter(
            each["name"],
            each["in"],
            _kind(each["schema"]),
            each.get("description", ""),
            bool(each.get("required")),
        )
        for each in drawn.get("parameters", [])
    ]


def _fields(document: dict[str, Any], drawn: dict[str, Any]) -> list[Parameter]:
    """The fields of a JSON body."""
    schema = _schema_of(document, drawn.get("requestBody", {}))
    required = schema.get("required", [])
    return [
        Parameter(name, "body", _kind(field), field.get("description", ""), name in required)
        for name, field in schema.get("properties", {}).items()
    ]


def _kind(schema: dict[str, Any]) -> str:
    options = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    chosen = options[0] if options else schema
    if "enum" in chosen:
        return "one of " + ", ".join(str(value) for value in chosen["enum"])
    kind = str(chosen.get("type", "one of several"))
    if kind == "array":
        return f"list: {_kind(chosen.get('items', {}))}"
    return kind + (f", {chosen['format']}" if "format" in chosen else "")


def _schema_of(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    schema = part.get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else {}


def _curl(document: dict[str, Any], origin: str, path: str, method: str) -> str:
    drawn = document["paths"][path][method]
    examples = {
        each["name"]: each["schema"]["examples"][0]
        for each in drawn.get("parameters", [])
        if each["in"] in ("path", "header") and each["schema"].get("examples")
    }
    address = re.sub(r"\{(\w+)\}", lambda name: examples[name[1]], f"{origin}{path}")
    lines = [f"curl {'' if method == 'get' else f'-X {method.upper()} '}{address}"]
    lines.append('-H "Authorization: Bearer $MAFU_KEY"')
    if "Idempotency-Key" in examples:
        lines.append(f'-H "Idempotency-Key: {examples["Idempotency-Key"]}"')
    content = drawn.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        schema = _schema_of(document, drawn["requestBody"])
        example = _ordered(document, schema, schema["examples"][0])
        lines.append('-H "Content-Type: application/json"')
        lines.append(f"-d '{json.dumps(example, ensure_ascii=False)}'")
    elif "text/csv" in content:
        lines.append('-H "Content-Type: text/csv"')
        lines.append(f"--data-binary '{content['text/csv']['example'].strip()}'")
    return " \\\n  ".join(lines)


def _answer(document: dict[str, Any], response: dict[str, Any]) -> str:
    schema = _schema_of(document, response)
    if "examples" in schema:
        example = _ordered(document, schema, schema["examples"][0])
        return json.dumps(example, ensure_ascii=False, indent=2)
    return ", ".join(response.get("content", {}))


def _ordered(document: dict[str, Any], schema: dict[str, Any], value: Any) -> Any:
    """An example with its fields in the order of the answer; in the document they stand by the alphabet."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if isinstance(value, list):
        return [_ordered(document, schema.get("items", {}), item) for item in value]
    if not isinstance(value, dict):
        return value
    fields = schema.get("properties", {})
    names = [name for name in fields if name in value] + [name for name in value if name not in fields]
    return {name: _ordered(document, fields.get(name, {}), value[name]) for name in names}
