"""LimitRanges: defaults for the containers of a namespace, and bounds (the plugin LimitRanger)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.api import Api, Review
from streamops_sandbox.kube.kinds import declared
from streamops_sandbox.kube.quantity import parse
from streamops_sandbox.objects import Object

_ANNOTATION = "kubernetes.io/limit-ranger"


def _items(api: Api, namespace: str) -> list[Object]:
    return [
        item
        for stored in api.store.collection("limitranges").items(namespace)
        for item in (stored.load().get("spec") or {}).get("limits") or []
    ]


async def complete(api: Api, review: Review) -> Object | None:
    """Give a new pod's containers the namespace's default requests and limits."""
    pod = review.obj
    if pod is None or not review.creates("pods"):
        return None
    items = [item for item in _items(api, review.namespace) if item.get("type") == "Container"]
    default = {
        "requests": _merged(items, "defaultRequest"), "limits": _merged(items, "default"),
    }  # fmt: skip
    spec, notes = dict(pod["spec"]), list[str]()
    for key, what in (("containers", "container"), ("initContainers", "init container")):
        if spec.get(key):
            spec[key] = [_completed(item, default, what, notes) for item in spec[key]]
    if not notes:
        return None
    annotations = {
        **(pod["metadata"].get("annotations") or {}),
        _ANNOTATION: f"LimitRanger plugin set: {'; '.join(notes)}",
    }
    return {**pod, "spec": spec, "metadata": {**pod["metadata"], "annotations": annotations}}


async def check(api: Api, review: Review) -> None:
    """Refuse what is out of bounds; raises a 403."""
    obj, collection = review.obj, review.resource.collection
    if obj is None or not review.creates("pods", "persistentvolumeclaims"):
        return
    problems = [
        problem
        for item in _items(api, review.namespace)
        for resources in _judged(item.get("type", ""), collection, obj)
        for problem in _problems(item, resources)
    ]
    if problems:
        why = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise errors.forbidden("", collection, review.name, why)


def _merged(items: list[Object], key: str) -> Object:
    return {name: amount for item in items for name, amount in (item.get(key) or {}).items()}


def _completed(
    container: Object, default: dict[str, Object], what: str, notes: list[str]
) -> Object:
    resources = {**(container.get("resources") or {})}
    for kind in ("requests", "limits"):
        given = resources.get(kind) or {}
        missing = {name: value for name, value in default[kind].items() if name not in given}
        if missing:
            resources[kind] = {**given, **missing}
            notes.append(f"{', '.join(sorted(missing))} {kind[:-1]} for {what} {container['name']}")
    return {**container, "resources": resources}


def _judged(kind: str, collection: str, obj: Object) -> Iterator[Object]:
    """Yield the resources a limit of a kind is about."""
    spec = obj.get("spec") or {}
    if kind == "PersistentVolumeClaim" and collection == "persistentvolumeclaims":
        requests = (spec.get("resources") or {}).get("requests") or {}
        yield {"requests": requests, "limits": requests}
    elif kind == "Container" and collection == "pods":
        for resources in declared.values(spec, "containers|initContainers[].resources"):
            yield resources or {}
    elif kind == "Pod" and collection == "pods":
        yield {key: _sum(spec.get("containers") or [], key) for key in ("requests", "limits")}


def _sum(containers: list[Object], kind: str) -> dict[str, str]:
    total: dict[str, Decimal] = {}
    for container in containers:
        for name, amount in ((container.get("resources") or {}).get(kind) or {}).items():
            total[name] = total.get(name, Decimal(0)) + parse(amount)
    return {name: f"{amount:f}" for name, amount in total.items()}


def _problems(item: Object, resources: Object) -> Iterator[str]:
    kind = item.get("type", "")
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for key, amounts, what, sign in (("min", requests, "request", 1), ("max", limits, "limit", -1)):
        for name, bound in sorted((item.get(key) or {}).items()):
            text = f"{key}imum {name} usage per {kind} is {bound}"
            if name not in amounts:
                yield f"{text}.  No {what} is specified"
            elif sign * parse(amounts[name]) < sign * parse(bound):
                yield f"{text}, but {what} is {amounts[name]}"
    for name, bound in sorted((item.get("maxLimitRequestRatio") or {}).items()):
        text = f"{name} max limit to request ratio per {kind} is {bound}"
        if not parse(requests.get(name, "0")) or name not in limits:
            yield f"{text}, but no request is specified or request is 0"
        elif (ratio := parse(limits[name]) / parse(requests[name])) > parse(bound):
            yield f"{text}, but provided ratio is {ratio:.6f}"
