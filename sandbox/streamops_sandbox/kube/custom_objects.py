"""Custom objects against their schema: pruning, defaulting, validation.

Wording follows k8s.io/apiextensions-apiserver and k8s.io/kube-openapi/pkg/validation.
"""

from __future__ import annotations

import base64
import binascii
import copy
import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from streamops_sandbox import timestamps
from streamops_sandbox.kube import cel, errors
from streamops_sandbox.kube import schema as s
from streamops_sandbox.kube.kinds.causes import join
from streamops_sandbox.kube.schema import FREE, Schema
from streamops_sandbox.objects import Object

_JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}


def conform(value: Any, node: Schema, path: str, unknown: list[str]) -> Any:
    """Return the value in its schema's shape.

    Fields that the schema does not know are left out, and their paths go to `unknown`; defaults are filled in, in
    place of a null where that is not allowed, too.
    """
    if isinstance(value, list) and node.items is not None:
        return [
            conform(item, node.items, f"{path}[{index}]", unknown)
            for index, item in enumerate(value)
        ]
    if not isinstance(value, dict) or node is FREE:
        return value
    result: Object = {}
    for key, item in value.items():
        child, below = node.child(key), join(path, key)
        if child is None:
            unknown.append(below)
        elif item is not None or child.nullable or not child.has_default:
            result[key] = conform(item, child, below, unknown)
    for key, child in node.properties.items():
        if child.has_default and key not in result:
            result[key] = conform(copy.deepcopy(child.default), child, join(path, key), unknown)
    return result


_ABSENT: Any = object()
_RULE_REASONS = {
    "FieldValueInvalid": "Invalid value", "FieldValueForbidden": "Forbidden",
    "FieldValueRequired": "Required value", "FieldValueDuplicate": "Duplicate value",
}  # fmt: skip


def validate(value: Any, node: Schema, old: Object | None = None) -> list[Object]:
    """Return all rules the value breaks, as causes.

    What an update leaves as it was is not judged again (ratcheting); rules in CEL are evaluated where the schema's
    other rules hold.
    """
    found: list[Object] = []
    before = _ABSENT if old is None else old
    _validate(value, node, "", before, found)
    if not any(cause["reason"] in _BLOCKING for cause in found):
        _evaluate_rules(value, node, "", before, found)
    elif _has_rules(node):
        text = (
            "some validation rules were not checked because the object was invalid; correct the "
            "existing errors to complete validation"
        )
        found.append(errors.cause("FieldValueInvalid", "<nil>", f"Invalid value: null: {text}"))
    return found


#: Violations with which rules in CEL are not evaluated.
_BLOCKING = tuple(
    f"FieldValue{word}"
    for word in ("Required", "NotSupported", "TooLong", "TooMany", "TypeInvalid")
)


def _has_rules(node: Schema | None) -> bool:
    children = (*node.properties.values(), node.items, node.additional) if node else ()
    return node is not None and (bool(node.rules) or any(map(_has_rules, children)))


def _evaluate_rules(value: Any, node: Schema, path: str, old: Any, found: list[Object]) -> None:
    """Evaluate `x-kubernetes-validations` from the top down."""
    if value is None or (old is not _ABSENT and old == value):
        return
    for rule in node.rules:
        expression = rule["rule"]
        if old is _ABSENT and "oldSelf" in expression:
            continue
        data = {
            "self": _celled(value, node),
            "oldSelf": None if old is _ABSENT else _celled(old, node),
        }
        text = ""
        try:
            if cel.evaluate(expression, rule_variables(node), data) is True:
                continue
            if rule.get("messageExpression"):
                text = cel.evaluate(rule["messageExpression"], rule_variables(node), data)
        except cel.CelError as error:
            text = text or f"{error} evaluating rule: {rule.get('message') or expression}"
        text = text or rule.get("message") or f"failed rule: {expression}"
        reason = rule.get("reason", "FieldValueInvalid")
        shown = "" if isinstance(value, (dict, list)) else f"{_show(value)}: "
        field = path + rule.get("fieldPath", "") if path else rule.get("fieldPath", "").lstrip(".")
        message = f"{_RULE_REASONS[reason]}: {shown if reason == 'FieldValueInvalid' else ''}{text}"
        found.append(errors.cause(reason, field or "<nil>", message))
    for item, child, below, before in _children(value, node, path, old):
        _evaluate_rules(item, child, below, before, found)


def _children(
    value: Any, node: Schema, path: str, old: Any
) -> Iterator[tuple[Any, Schema, str, Any]]:
    """Yield the parts of a value with their schemas and places, and what each was before."""
    if isinstance(value, dict):
        for key, item in value.items():
            child = node.child(key)
            if child is not None and child is not FREE:
                before = old.get(key, _ABSENT) if isinstance(old, dict) else _ABSENT
                yield item, child, join(path, key), before
    elif isinstance(value, list) and node.items is not None:
        earlier: dict[
            str, Any
        ] = {}  # items of other lists than associative ones cannot be correlated
        if node.list_type == "map" and isinstance(old, list):
            earlier = {_list_key(item, node): item for item in old}
        for index, item in enumerate(value):
            before = earlier.get(_list_key(item, node), _ABSENT) if earlier else _ABSENT
            yield item, node.items, f"{path}[{index}]", before


def rule_variables(node: Schema) -> cel.Variables:
    """Return the variables of a node's rules, with their types."""
    kind = node.type if node.type in (s.STRING, s.INTEGER, s.NUMBER, s.BOOLEAN) else "dyn"
    return (("self", kind), ("oldSelf", kind))


def _celled(value: Any, node: Schema) -> Any:
    return float(value) if node.type == s.NUMBER and isinstance(value, int) else value


def _list_key(item: Any, node: Schema) -> str:
    keys = item if isinstance(item, dict) else {}
    return _show([keys.get(key) for key in node.list_keys])


def _show(value: Any) -> str:
    return orjson.dumps(value).decode()


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    return _JSON_TYPES[type(value)]


def _type_fits(value: Any, type_: str) -> bool:
    found = _json_type(value)
    if type_ in (s.OBJECT, s.MAP):
        return found == "object"
    if type_ in (s.INT_OR_STRING, s.QUANTITY):
        return found in ("integer", "string")
    if type_ == s.NUMBER:
        return found in ("integer", "number")
    return type_ in (s.ANY, found)


def _invalid(path: str, value: Any, message: str, kind: str = "FieldValueInvalid") -> Object:
    shown = path or "<nil>"
    return errors.cause(kind, shown, f"Invalid value: {_show(value)}: {message}")


def _validate(value: Any, node: Schema, path: str, old: Any, found: list[Object]) -> None:
    if (value is None and node.nullable) or (old is not _ABSENT and old == value):
        return
    if not _type_fits(value, node.type):
        wanted = {s.MAP: "object", s.INT_OR_STRING: "integer,string"}.get(node.type, node.type)
        name = _json_type(value)
        message = f'{path or ""} in body must be of type {wanted}: "{name}"'
        found.append(_invalid(path, name, message, "FieldValueTypeInvalid"))
        return
    if node.checks:
        _check(value, node.checks, path, found)
    if isinstance(value, dict):
        for key in node.required:
            if key not in value:
                found.append(errors.cause("FieldValueRequired", join(path, key), "Required value"))
    for item, child, below, before in _children(value, node, path, old):
        _validate(item, child, below, before, found)
    if isinstance(value, list):
        _check_identity(value, node, path, found)


def _check_identity(items: list[Any], node: Schema, path: str, found: list[Object]) -> None:
    """Associative lists and sets hold each identity once."""
    if node.list_type not in ("map", "set"):
        return
    seen = set()
    for index, item in enumerate(items):
        identity: Any = item
        if node.list_type == "map" and isinstance(item, dict):
            identity = {
                key: item.get(key, node.element().properties.get(key, FREE).default)
                for key in node.list_keys
            }
        text = _show(identity)
        if text in seen:
            field = f"{path}[{index}]"
            found.append(errors.cause("FieldValueDuplicate", field, f"Duplicate value: {text}"))
        seen.add(text)


def _check(value: Any, checks: Object, path: str, found: list[Object]) -> None:
    for keyword, bound in checks.items():
        if keyword == "enum" and value not in bound:
            allowed = ", ".join(_show(item) for item in bound)
            text = f"Unsupported value: {_show(value)}: supported values: {allowed}"
            found.append(errors.cause("FieldValueNotSupported", path, text))
        elif keyword == "format" and not format_fits(value, bound):
            text = f"{path} in body must be of type {bound}: {_show(value)}"
            found.append(_invalid(path, value, text, "FieldValueTypeInvalid"))
        elif keyword in ("anyOf", "oneOf", "allOf", "not"):
            _check_combination(value, keyword, bound, path, found)
        elif keyword in _LIMITS or keyword in _WORDS:
            exclusive = _EXCLUSIVE.get(keyword, "")
            is_exclusive = checks.get(exclusive) is True
            if not _fits(value, {keyword: bound} | ({exclusive: True} if is_exclusive else {})):
                found.append(_broken(value, keyword, bound, path, is_exclusive=is_exclusive))


def _broken(value: Any, keyword: str, bound: Any, path: str, *, is_exclusive: bool) -> Object:
    """Return the cause of a value that breaks a keyword."""
    if keyword == "maxLength":
        text = f"Too long: may not be more than {bound} bytes"
        return errors.cause("FieldValueTooLong", path, text)
    if keyword in _LIMITS:
        text = f"Too many: {len(value)}: must have at most {bound} items"
        return errors.cause("FieldValueTooMany", path, text)
    words = _WORDS[keyword].replace(" or equal to", "") if is_exclusive else _WORDS[keyword]
    return _invalid(path, value, f"{path} in body {words.format(bound)}")


#: Keywords with a reason of their own.
_LIMITS = ("maxLength", "maxItems", "maxProperties")
_EXCLUSIVE = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}
#: What is wrong where a value breaks a keyword.
_WORDS = {
    "minimum": "should be greater than or equal to {}",
    "maximum": "should be less than or equal to {}",
    "multipleOf": "should be a multiple of {}",
    "pattern": "should match '{}'",
    "minLength": "should be at least {} chars long",
    "minItems": "should have at least {} items",
    "uniqueItems": "shouldn't contain duplicates",
    "minProperties": "should have at least {} properties",
}


_FORMAT_PATTERNS = {
    "date": re.compile(r"\d{4}-\d\d-\d\d\Z"),
    "uuid": re.compile(r"(?i)[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}\Z"),
    "duration": re.compile(r"(-?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+|0)\Z"),
}
_FORMAT_PARSERS: dict[str, Callable[[str], object]] = {
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "cidr": lambda text: ipaddress.ip_network(text, strict=False),
    "byte": lambda text: base64.b64decode(text, validate=True),
    "date-time": timestamps.parse,
}


def format_fits(value: Any, name: str) -> bool:
    """Whether a text or a number has a format; formats nobody checks always fit."""
    if not isinstance(value, str):
        limit = {"int32": 2**31, "int64": 2**63}.get(name, float("inf"))
        return not isinstance(value, (int, float)) or bool(-limit <= value < limit)
    pattern = _FORMAT_PATTERNS.get(name)
    if pattern is not None:
        return pattern.match(value) is not None
    parse = _FORMAT_PARSERS.get(name)
    if parse is None:
        return True
    try:
        parse(value)
    except (ValueError, binascii.Error):
        return False
    return True


def _check_combination(
    value: Any, keyword: str, bound: Any, path: str, found: list[Object]
) -> None:
    branches = [bound] if keyword == "not" else bound
    good = sum(_fits(value, branch) for branch in branches)
    none = f"Found {good} valid alternatives" if good else "Found none valid"
    holds, message = {
        "anyOf": (good >= 1, "must validate at least one schema (anyOf)"),
        "oneOf": (good == 1, f"must validate one and only one schema (oneOf). {none}"),
        "allOf": (good == len(branches), "must validate all the schemas (allOf)"),
        "not": (good == 0, "must not validate the schema (not)"),
    }[keyword]
    if not holds:
        text = f'Invalid value: "": "{path}" {message}'
        found.append(errors.cause("FieldValueInvalid", "<nil>", text))


def _fits(value: Any, source: Object) -> bool:
    """Whether a value fits a schema that only states restrictions."""
    from jsonschema import Draft4Validator  # noqa: PLC0415 - slow to import

    if "pattern" in source:
        source = {**source, "pattern": source["pattern"].replace(r"\z", r"\Z")}
    return bool(Draft4Validator(source).is_valid(value))
