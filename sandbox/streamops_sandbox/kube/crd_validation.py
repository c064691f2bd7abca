"""Rules of CustomResourceDefinitions: names, versions, and that schemas are structural.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

import re

from streamops_sandbox.kube import builtin_schemas, cel, custom_objects, names
from streamops_sandbox.kube import schema as s
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import check_shape, function
from streamops_sandbox.objects import Object

_APPROVED = "api-approved.kubernetes.io"
_REASONS = ("FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate")
#: What has to be outside of allOf, anyOf, oneOf and not.
_OUTSIDE = (
    "description", "title", "default", "type", "nullable", "additionalProperties",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string",
)  # fmt: skip


def validate(obj: Object, found: Causes) -> None:
    """Collect the violations of a definition."""
    spec, name = obj["spec"], obj["metadata"].get("name", "")
    chosen, versions = spec.get("names") or {}, spec.get("versions") or []
    if name != f"{chosen.get('plural', '')}.{spec.get('group', '')}":
        found.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    _versions(versions, found)
    _names(chosen, found)
    _conversion(spec.get("conversion") or {}, found)
    _schemas(versions, found)
    if not versions and not (obj.get("status") or {}).get("storedVersions"):
        found.invalid("status.storedVersions", None, "must have at least one stored version")
    _approval(spec.get("group", ""), obj["metadata"].get("annotations") or {}, found)


def _approval(group: str, annotations: Object, found: Causes) -> None:
    """Ask for Kubernetes' own approval of its groups, or a word that there is none."""
    if not f".{group}".endswith((".k8s.io", ".kubernetes.io")):
        return
    field, given = f"metadata.annotations[{_APPROVED}]", annotations.get(_APPROVED, "")
    why = f'protected groups must have approval annotation "{_APPROVED}"'
    see = ", see https://github.com/kubernetes/enhancements/pull/1111"
    if not given:
        found.required(field, why + see)
    elif not given.startswith("unapproved") and not re.match(r"\w+://[^/]", given):
        how = ' with either a URL or a reason starting with "unapproved"'
        found.invalid(field, given, why + how + see)


def _versions(versions: list[Object], found: Causes) -> None:
    seen: set[str] = set()
    for index, version in enumerate(versions):
        field, name = f"spec.versions[{index}]", version.get("name", "")
        if name in seen:
            found.invalid("spec.versions", name, "must contain unique version names")
        seen.add(name)
        found.problems(f"{field}.name", name, names.dns_1035_label(name))
        if version.get("deprecationWarning") is not None and not version.get("deprecated"):
            text = "can only be set for deprecated versions"
            found.invalid(f"{field}.deprecationWarning", version["deprecationWarning"], text)
        for number, item in enumerate(version.get("selectableFields") or []):
            path, root = (
                item.get("jsonPath", ""),
                (version.get("schema") or {}).get("openAPIV3Schema"),
            )
            if not _leads_somewhere(path, root or {}):
                text = "is an invalid path: does not refer to a valid field"
                found.invalid(f"spec.selectableFields[{number}].jsonPath", path, text)
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            found.required(f"{field}.schema.openAPIV3Schema")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        shown = [version.get("name", "") for version in versions]
        text = "must have exactly one version marked as storage version"
        found.invalid("spec.versions", shown, text)


def _names(chosen: Object, found: Causes) -> None:
    for key in ("plural", "singular", "kind", "listKind"):
        value = chosen.get(key, "")
        problems = names.dns_1035_label(value.lower())
        if key in ("plural", "singular"):
            problems = names.dns_1035_label(value)
        elif problems:
            problems = [f"may have mixed case, but should otherwise match: {problems[0]}"]
        if not value and key in ("plural", "kind"):
            found.required(f"spec.names.{key}")
        elif value:
            found.problems(f"spec.names.{key}", value, problems)
    for index, name in enumerate(chosen.get("shortNames") or []):
        found.problems(f"spec.names.shortNames[{index}]", name, names.dns_1035_label(name))
    if chosen.get("kind") and chosen.get("kind") == chosen.get("listKind"):
        text = "kind and listKind may not be the same"
        found.invalid("spec.names.listKind", chosen["listKind"], text)


def _conversion(conversion: Object, found: Causes) -> None:
    client = (conversion.get("webhook") or {}).get("clientConfig")
    if conversion.get("strategy") == "Webhook" and client is not None:
        check_shape(client, "client_config", found, "spec.conversion.webhookClientConfig")
    check_shape(conversion, "definition_conversion", found, "spec.conversion")


def _schemas(versions: list[Object], found: Causes) -> None:
    """Check what each version has, at the place where the API server keeps what all versions share."""
    for key, shared, check in (
        ("schema", "spec.validation", _schema),
        ("subresources", "spec.subresources", _subresources),
        ("additionalPrinterColumns", "spec.additionalPrinterColumns", _columns),
    ):
        values = [version.get(key) for version in versions]
        same = all(value == values[0] for value in values)
        for index, value in enumerate(values[:1] if same else values):
            if value:
                check(value, shared if same else f"spec.versions[{index}].{key}", found)


def _subresources(value: Object, path: str, found: Causes) -> None:
    if value.get("scale") is not None:
        check_shape(value["scale"], "definition_scale", found, f"{path}.scale")


def _columns(columns: list[Object], path: str, found: Causes) -> None:
    for index, column in enumerate(columns):
        field, place = f"{path}[{index}]", column.get("jsonPath")
        check_shape(column, "definition_column", found, field)
        if not place:
            found.required(f"{field}.JSONPath")
        elif not place.startswith("."):
            text = "must be a simple json path starting with ."
            found.invalid(f"{field}.JSONPath", place, text)


def _schema(value: Object, path: str, found: Causes) -> None:
    root, field = value.get("openAPIV3Schema"), f"{path}.openAPIV3Schema"
    if not root:
        return
    _structural(root, field, found, "at the root")
    if root.get("type", "object") != "object":
        found.invalid(f"{field}.type", root["type"], "must be object at the root")
    for key in ((root.get("properties") or {}).get("metadata") or {}).get("properties") or {}:
        if key not in ("name", "generateName"):
            text = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            found.forbidden(f"{field}.properties[metadata]", text)
            break


def _structural(node: Object, field: str, found: Causes, place: str, single: str = "") -> None:
    """Check one node and all below it."""
    check_shape(node, "json_schema", found, field)
    free = ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string", "$ref", "type")
    if not any(map(node.get, free)):
        found.required(f"{field}.type", f"must not be empty {place}")
    _list_keys(node, field, found)
    for key in ("allOf", "anyOf", "oneOf"):
        for index, branch in enumerate(node.get(key) or []):
            if not node.get("x-kubernetes-int-or-string"):
                _branch(branch, f"{field}.{key}[{index}]", found)
    if node.get("not"):
        _branch(node["not"], f"{field}.not", found)
    for key, child in (node.get("properties") or {}).items():
        text = "for specified object fields"
        _structural(child, f"{field}.properties[{key}]", found, text, single)
    if isinstance(node.get("items"), dict):
        lost = single or ("" if node.get("x-kubernetes-list-type") == "map" else field)
        _structural(node["items"], f"{field}.items", found, "for specified array items", lost)
    if isinstance(node.get("additionalProperties"), dict):
        text = "for specified object fields"
        path = f"{field}.additionalProperties"
        _structural(node["additionalProperties"], path, found, text, single)
    if node.get("default") is not None:
        schema, unknown = s.compiled(node, builtin_schemas.named), list[str]()
        custom_objects.conform(node["default"], schema, "", unknown)
        if unknown:
            found.invalid(f"{field}.default", node["default"], "must not have unknown fields")
        causes = custom_objects.validate(node["default"], schema)
        found += [{**cause, "field": f"{field}.default"} for cause in causes]
    for index, rule in enumerate(node.get("x-kubernetes-validations") or []):
        _rule(rule, node, f"{field}.x-kubernetes-validations[{index}]", found, single)


def _list_keys(node: Object, field: str, found: Causes) -> None:
    items, keys = node.get("items") or {}, node.get("x-kubernetes-list-map-keys") or []
    for key in keys if node.get("x-kubernetes-list-type") == "map" else []:
        if key not in (items.get("properties") or {}):
            path = f"{field}.x-kubernetes-list-map-keys"
            found.invalid(path, keys, "entries must all be names of item properties")
        elif key not in (items.get("required") or []) and "default" not in items["properties"][key]:
            text = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            found.required(f"{field}.items.properties[{key}].default", text)


@function
def regular_expression(pattern: str | None, field: str, found: Causes, _: Object) -> None:
    """Check that a pattern is a regular expression."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        text = f"must be a valid regular expression, but isn't: {error}"
        found.invalid(field, pattern, text)


def _branch(node: Object, field: str, found: Causes) -> None:
    for key in _OUTSIDE:
        if node.get(key):
            found.forbidden(f"{field}.{key}", "must be empty to be structural")
    for key, child in (node.get("properties") or {}).items():
        _branch(child, f"{field}.properties[{key}]", found)


def _leads_somewhere(path: str, node: Object) -> bool:
    for key in path.strip(".").split("."):
        child = (node.get("properties") or {}).get(key) or node.get("additionalProperties")
        if not isinstance(child, dict):
            return False
        node = child
    return True


def _rule(rule: Object, node: Object, field: str, found: Causes, single: str) -> None:
    """Check a rule; `single` is the list around it whose items have no earlier state, if there is one."""
    text = rule.get("rule", "")
    if not text.strip():
        found.required(f"{field}.rule", "rule is not specified")
        return
    variables = custom_objects.rule_variables(s.compiled(node, builtin_schemas.named))
    found.one_of(rule, "reason", field, _REASONS)
    path = rule.get("fieldPath", "")
    if path and not _leads_somewhere(path, node):
        found.invalid(f"{field}.fieldPath", path, "must be a valid path")
    shown = {
        "Rule": text, "Message": rule.get("message", ""),
        "MessageExpression": rule.get("messageExpression", ""), "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath", ""), "OptionalOldSelf": rule.get("optionalOldSelf"),
    }  # fmt: skip
    problem = cel.problem(text, variables, mistyped="cel expression must evaluate to a bool")
    if problem:
        found.invalid(f"{field}.rule", shown, problem)
    message = rule.get("messageExpression")
    if message:
        why = "messageExpression must evaluate to a string"
        problem = cel.problem(message, variables, "STRING", why).replace(
            "compilation failed", "messageExpression compilation failed"
        )
        if problem:
            found.invalid(f"{field}.messageExpression", shown, problem)
    if single and re.search(r"\boldSelf\b", text):
        why = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {single}"
        found.invalid(f"{field}.rule", text, why)
