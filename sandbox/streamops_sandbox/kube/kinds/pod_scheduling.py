"""Rules of where a pod may run: affinity, tolerations, gates and topology."""

from __future__ import annotations

from streamops_sandbox.kube import names
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import function
from streamops_sandbox.objects import Object


@function
def scheduling_gates(gates: list[Object] | None, field: str, found: Causes, _: Object) -> None:
    """Check what a pod's scheduling waits for."""
    chosen = [gate.get("name", "") for gate in gates or []]
    for index, name in enumerate(chosen):
        found.problems(f"{field}[{index}]", name, names.label_key_problems(name))
    found.unique(f"{field}[]", chosen)


@function
def repeated_constraints(items: list[Object] | None, path: str, found: Causes, _: Object) -> None:
    """Check that no topology is spread over twice in the same way."""
    pairs = [(item.get("topologyKey"), item.get("whenUnsatisfiable")) for item in items or []]
    for index, pair in enumerate(pairs):
        if pair in pairs[index + 1 :]:
            place = f"{path}[{index}].{{topologyKey, whenUnsatisfiable}}"
            found.duplicate(place, f"{{{pair[0]}, {pair[1]}}}")


@function
def affinity(affinity: Object | None, path: str, found: Causes, _: Object) -> None:
    """Check node and pod affinity."""
    affinity = affinity or {}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    node = affinity.get("nodeAffinity") or {}
    field = f"{path}.nodeAffinity"
    if node.get(required) is not None:
        terms = node[required].get("nodeSelectorTerms") or []
        if not terms:
            why = "must have at least one node selector term"
            found.required(f"{field}.{required}.nodeSelectorTerms", why)
        for index, term in enumerate(terms):
            place = f"{field}.{required}.nodeSelectorTerms[{index}]"
            _node_term(term, place, found, values=True)
    for index, item in enumerate(node.get(preferred) or []):
        place = f"{field}.{preferred}[{index}]"
        _weight(item, place, found)
        _node_term(item.get("preference") or {}, f"{place}.preference", found)
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        for index, term in enumerate(rules.get(required) or []):
            _pod_term(term, f"{path}.{kind}.{required}[{index}]", found)
        for index, item in enumerate(rules.get(preferred) or []):
            place = f"{path}.{kind}.{preferred}[{index}]"
            _weight(item, place, found)
            _pod_term(item.get("podAffinityTerm") or {}, f"{place}.podAffinityTerm", found)


def _weight(item: Object, place: str, found: Causes) -> None:
    if not 1 <= item.get("weight", 0) <= 100:
        found.invalid(f"{place}.weight", item.get("weight", 0), "must be in the range 1-100")


def _node_term(term: Object, path: str, found: Causes, *, values: bool = False) -> None:
    for index, item in enumerate(term.get("matchExpressions") or []):
        field = f"{path}.matchExpressions[{index}]"
        if item.get("operator") in ("Gt", "Lt"):
            if len(item.get("values") or []) != 1:
                why = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                found.required(f"{field}.values", why)
            found.problems(f"{field}.key", item["key"], names.label_key_problems(item["key"]))
        else:
            found.requirement(field, item)
        for number, value in enumerate(item.get("values") or [] if values else []):
            problems = names.label_value_problems(value)
            found.problems(f"{field}.values[{number}]", value, problems)
    for index, item in enumerate(term.get("matchFields") or []):
        field = f"{path}.matchFields[{index}]"
        if item.get("operator") not in ("In", "NotIn"):
            why = "not a valid selector operator"
            found.invalid(f"{field}.operator", item.get("operator", ""), why)
        elif len(item.get("values") or []) != 1:
            why = (
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            )
            found.required(f"{field}.values", why)
        if item.get("key") != "metadata.name":
            found.invalid(f"{field}.key", item.get("key", ""), "not a valid field selector key")


def _pod_term(term: Object, path: str, found: Causes) -> None:
    found.selector(f"{path}.labelSelector", term.get("labelSelector"))
    found.selector(f"{path}.namespaceSelector", term.get("namespaceSelector"))
    for name in term.get("namespaces") or []:
        found.problems(f"{path}.namespace", name, names.dns_label(name))
    key = term.get("topologyKey", "")
    if not key:
        found.required(f"{path}.topologyKey", "can not be empty")
    found.problems(f"{path}.topologyKey", key, names.label_key_problems(key))


@function
def toleration(item: Object, field: str, found: Causes, _: Object) -> None:
    """Check a toleration."""
    key, operator, value = item.get("key"), item.get("operator", ""), item.get("value", "")
    if key:
        found.problems(f"{field}.key", key, names.label_key_problems(key))
    elif operator != "Exists":
        why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        found.invalid(f"{field}.operator", operator, why)
    if item.get("tolerationSeconds") is not None and item.get("effect") != "NoExecute":
        why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        found.invalid(f"{field}.effect", item.get("effect", ""), why)
    if operator in ("", "Equal"):
        problems = names.label_value_problems(value)
        found.problems(f"{field}.operator", value, [";".join(problems)] if problems else ())
    elif operator != "Exists":
        known = ("Equal", "Exists")
        more = known if operator not in ("Lt", "Gt") else (*known, "Lt", "Gt")
        found.unsupported(f"{field}.operator", operator, more)
    elif value:
        why = "value must be empty when `operator` is 'Exists'"
        found.invalid(f"{field}.operator", value, why)
    if item.get("effect"):
        found.one_of(item, "effect", field, ("NoSchedule", "PreferNoSchedule", "NoExecute"))
