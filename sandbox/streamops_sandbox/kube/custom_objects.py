"""Custom objects against their schema: pruning, defaulting, validation.

Wording follows k8s.io/apiextensions-apiserver and k8s.io/kube-openapi/pkg/validation.
"""

from __future__ import annotations

import base64
import copy
import ipaddress
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from streamops_sandbox import timestamps
from streamops_sandbox.kube import cel, errors
from streamops_sandbox.kube import schema as s
from streamops_sandbox.kube.kinds.causes import Causes, join, show
from streamops_sandbox.kube.schema import FREE, Schema
from streamops_sandbox.objects import Object

_JSON_TYPES = {
    dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "integer",
    type(None): "null",
}  # fmt: skip
#: The JSON types of those types that are not one.
_FITTING = {
    s.MAP: ("object",), s.INT_OR_STRING: ("integer", "string"), s.QUANTITY: ("integer", "string"),
    s.NUMBER: ("integer", "number"),
}  # fmt: skip


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


def validate(value: Any, node: Schema, old: Object | None = None) -> Causes:
    """Return all rules the value breaks, as causes.

    What an update leaves as it was is not judged again (ratcheting); rules in CEL are evaluated where the schema's
    other rules hold.
    """
    found = Causes()
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


def _evaluate_rules(value: Any, node: Schema, path: str, old: Any, found: Causes) -> None:
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
        shown = "" if isinstance(value, (dict, list)) else f"{show(value)}: "
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
        # Items of other lists than associative ones cannot be correlated.
        keyed = old if node.list_type == "map" and isinstance(old, list) else []
        earlier = {_list_key(item, node): item for item in keyed}
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
    return show([keys.get(key) for key in node.list_keys])


def _json_type(value: Any) -> str:
    if isinstance(value, float) and not value.is_integer():
        return "number"
    return _JSON_TYPES[type(value)]


def _validate(value: Any, node: Schema, path: str, old: Any, found: Causes) -> None:
    if (value is None and node.nullable) or (old is not _ABSENT and old == value):
        return
    kind = _json_type(value)
    if node.type != s.ANY and kind not in _FITTING.get(node.type, (node.type,)):
        wanted = {s.MAP: "object", s.INT_OR_STRING: "integer,string"}.get(node.type, node.type)
        _mistyped(path, kind, f'{path} in body must be of type {wanted}: "{kind}"', found)
        return
    for keyword, bound in (node.checks or {}).items():
        _check(value, keyword, bound, node.checks or {}, path, found)
    for key in node.required if isinstance(value, dict) else ():
        if key not in value:
            found.required(join(path, key))
    for item, child, below, before in _children(value, node, path, old):
        _validate(item, child, below, before, found)
    if isinstance(value, list) and node.list_type in ("map", "set"):
        found.unique(f"{path}[]", [_identity(item, node) for item in value])


def _mistyped(path: str, shown: Any, why: str, found: Causes) -> None:
    text = f"Invalid value: {show(shown)}: {why}"
    found.append(errors.cause("FieldValueTypeInvalid", path or "<nil>", text))


def _identity(item: Any, node: Schema) -> Any:
    """Return what an associative list or a set holds once."""
    if node.list_type == "set" or not isinstance(item, dict):
        return item
    fields = node.element().properties
    return {key: item.get(key, fields.get(key, FREE).default) for key in node.list_keys}


def _check(value: Any, keyword: str, bound: Any, checks: Object, path: str, found: Causes) -> None:
    if keyword == "enum" and value not in bound:
        found.unsupported(path, value, bound)
    elif keyword == "format" and not format_fits(value, bound):
        text = f"{path} in body must be of type {bound}: {show(value)}"
        _mistyped(path, value, text, found)
    elif keyword in ("anyOf", "oneOf", "allOf", "not"):
        _check_combination(value, keyword, bound, path, found)
    elif keyword in _LIMITS or keyword in _WORDS:
        key = _EXCLUSIVE.get(keyword, "")
        exclusive = {key: True} if checks.get(key) is True else {}
        if _fits(value, {keyword: bound, **exclusive}):
            return
        if keyword == "maxLength":
            found.too_long(path, bound)
        elif keyword in _LIMITS:
            text = f"Too many: {len(value)}: must have at most {bound} items"
            found.append(errors.cause("FieldValueTooMany", path, text))
        else:
            words = _WORDS[keyword].format(bound)
            words = words.replace(" or equal to", "") if exclusive else words
            found.invalid(path or "<nil>", value, f"{path} in body {words}")


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


_DURATION = re.compile(r"(-?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+|0)\Z")


def _parse_duration(text: str) -> None:
    if not _DURATION.match(text):
        raise ValueError(text)


#: Raise ValueError or TypeError where a text does not have the format.
_FORMATS: dict[str, Callable[[str], object]] = {
    "date": lambda text: datetime.strptime(text, "%Y-%m-%d"),
    "uuid": uuid.UUID,
    "duration": _parse_duration,
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
    try:
        _FORMATS.get(name, str)(value)
    except (ValueError, TypeError):
        return False
    return True


def _check_combination(value: Any, keyword: str, bound: Any, path: str, found: Causes) -> None:
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
