"""X's own OpenAPI document as a judge of requests and answers.

The document is test input and no part of the project: X_API_DOCUMENTS names its folder, else it is
looked for beside the checkout. It is OpenAPI 3.0, whose schemas are JSON Schema but for `nullable`.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema
from support.producer import SHARED

DOCUMENT = SHARED / "openapi.json"


class Invalid(AssertionError):
    """The document does not allow this."""


@cache
def document() -> dict[str, Any]:
    return _plain(json.loads(DOCUMENT.read_text()))


def check_request(method: str, url: str, body: Any = None) -> None:
    """Raise Invalid unless path, parameters and body are as the document has them."""
    parts = urlsplit(url)
    operation = _operation(method, parts.path)
    parameters = {p["name"]: p for p in map(_resolved, operation.get("parameters", []))}
    given = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in given:
        if name not in parameters:
            raise Invalid(f"{parts.path} has no parameter {name}")
        _validate(_typed(value, _resolved(parameters[name]["schema"])), parameters[name]["schema"])
    names = [name for name, _ in given]
    missing = {n for n, p in parameters.items() if p.get("required") and p["in"] == "query"} - {
        *names
    }
    if missing or len(names) != len(set(names)):
        raise Invalid(f"parameters missing: {missing}, or given twice: {names}")
    for pair in (("start_time", "since_id"), ("end_time", "until_id")):
        if set(pair) <= set(names):
            raise Invalid(f"at most one of {pair}")
    if body is not None:
        _validate(body, operation["requestBody"]["content"]["application/json"]["schema"])


def check_requests(recorded: list[dict[str, Any]]) -> list[str]:
    """Hold what the stand-in has recorded against the document; return the URLs of API v2."""
    made = [r for r in recorded if r["url"].startswith("/2/")]
    for request in made:
        check_request(request["method"], request["url"], request.get("body"))
    return [request["url"] for request in made]


def check_answer(method: str, url: str, status: int, content_type: str, body: Any) -> None:
    """Raise Invalid unless the document knows an answer like this."""
    responses = _operation(method, urlsplit(url).path)["responses"]
    response = _resolved(responses["200" if 200 <= status < 300 else "default"])
    if content_type not in response["content"]:
        raise Invalid(f"{status} with {content_type}, not one of {list(response['content'])}")
    _validate(body, response["content"][content_type]["schema"])


def _operation(method: str, path: str) -> dict[str, Any]:
    templates = (path, f"{path.rpartition('/')[0]}/{{id}}")
    for template in templates:
        if found := document()["paths"].get(template, {}).get(method.lower()):
            return found
    raise Invalid(f"X has no {method} {path}")


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        target: Any = document()
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    return schema


def _typed(text: str, schema: dict[str, Any]) -> Any:
    """Return a query parameter's text as what its schema describes."""
    kind = schema.get("type")
    if kind == "integer":
        return int(text)
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    return text.split(",") if kind == "array" else text


def _validate(value: Any, schema: dict[str, Any]) -> None:
    whole = {"allOf": [schema], "components": document()["components"]}
    validator = jsonschema.Draft4Validator(
        whole, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER
    )
    errors = [
        f"{'/'.join(map(str, e.path))}: {e.message[:300]}" for e in validator.iter_errors(value)
    ]
    if errors:
        raise Invalid("; ".join(errors))


def _plain(schema: Any) -> Any:
    """Turn OpenAPI 3.0's `nullable` into JSON Schema's."""
    if isinstance(schema, list):
        return [_plain(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _plain(value) for name, value in schema.items()}
    if plain.pop("nullable", False) is True and isinstance(plain.get("type"), str):
        plain["type"] = [plain["type"], "null"]
    return plain
