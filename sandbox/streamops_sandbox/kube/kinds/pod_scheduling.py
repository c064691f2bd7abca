"""Rules of where a pod may run that take code: tolerations, gates, repetitions."""

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
def node_requirement(item: Object, field: str, found: Causes, _: Object) -> None:
    """Check which labels a node has to have."""
    if item.get("operator") not in ("Gt", "Lt"):
        found.requirement(field, item)
        return
    if len(item.get("values") or []) != 1:
        why = "must be specified single value when `operator` is 'Lt' or 'Gt'"
        found.required(f"{field}.values", why)
    found.problems(f"{field}.key", item["key"], names.label_key_problems(item["key"]))


@function
def namespace_names(namespaces: list[str] | None, field: str, found: Causes, _: Object) -> None:
    """Check the namespaces of pods; as upstream, without their indexes."""
    for name in namespaces or []:
        found.problems(field.removesuffix("s"), name, names.dns_label(name))


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
