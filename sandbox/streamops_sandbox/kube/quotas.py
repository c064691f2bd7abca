"""ResourceQuotas: what a namespace uses, and whether something more fits."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from streamops_sandbox.kube import builtin_schemas, errors, managed, quantity
from streamops_sandbox.objects import Object

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Review
    from streamops_sandbox.kube.store import Store

Amounts = dict[str, Decimal]
_QUOTAS = "resourcequotas"
_COUNTED = frozenset(
    {"configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas",
     "secrets", "services"}
)  # fmt: skip
_COMPUTED = ("cpu", "ephemeral-storage", "memory")
_CONTROLLER = managed.Manager("kube-controller-manager", managed.UPDATE, "v1", "status")


class Quotas:
    """The quotas of one server's namespaces."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def check(self, review: Review) -> None:
        """Refuse an object that exceeds a quota of its namespace; raises a 403."""
        resource, obj = review.resource, review.obj
        if review.operation != "CREATE" or review.subresource or obj is None:
            return
        for quota in self._quotas(review.namespace):
            if resource.collection == "pods" and not _in_scope(quota, obj):
                continue
            given = (quota.get("spec") or {}).get("hard") or {}
            hard = {name: quantity.parse(amount) for name, amount in given.items()}
            asked = {name: n for name, n in usage(resource.collection, obj).items() if name in hard}
            if resource.collection == "pods":
                _check_computed(quota, hard, obj, review.name)
            used = self._used(quota)
            over = {name: n for name, n in asked.items() if n and used[name] + n > hard[name]}
            if over:
                parts = [
                    f"{word}: {','.join(f'{name}={_show(values[name])}' for name in sorted(over))}"
                    for word, values in (("requested", asked), ("used", used), ("limited", hard))
                ]
                why = f"exceeded quota: {quota['metadata']['name']}, {', '.join(parts)}"
                raise errors.forbidden(resource.group, resource.plural, review.name, why)

    def refresh(self, namespace: str) -> None:
        """Bring the statuses of a namespace's quotas up to date."""
        for quota in self._quotas(namespace):
            hard = (quota.get("spec") or {}).get("hard") or {}
            used = {name: _show(amount) for name, amount in self._used(quota).items()}
            status = {"hard": hard, "used": used}
            if status != quota.get("status"):
                schema = builtin_schemas.of_kind(("", "v1", "ResourceQuota"))
                changed = managed.track_update(
                    quota, {**quota, "status": status}, _CONTROLLER, schema
                )
                self._store.put(_QUOTAS, changed)

    def _quotas(self, namespace: str) -> list[Object]:
        if not namespace:
            return []
        return [stored.load() for stored in self._store.collection(_QUOTAS).items(namespace)]

    def _used(self, quota: Object) -> Amounts:
        """Return what is used of each resource that a quota limits."""
        total = dict.fromkeys((quota.get("spec") or {}).get("hard") or {}, Decimal(0))
        for collection in {name for key in total for name in _collections(key)}:
            for stored in self._store.collection(collection).items(quota["metadata"]["namespace"]):
                obj = stored.load()
                phase = (obj.get("status") or {}).get("phase")
                ended = phase in ("Succeeded", "Failed")
                if collection == "pods" and (ended or not _in_scope(quota, obj)):
                    continue
                for name, amount in usage(collection, obj).items():
                    if name in total:
                        total[name] += amount
        return total


def _collections(name: str) -> Iterator[str]:
    """Yield the collections whose objects a limited resource is about."""
    if name.startswith("count/"):
        yield name.removeprefix("count/")
    elif name in _COUNTED:
        yield name
    elif name.startswith("services."):
        yield "services"
    elif name == "requests.storage":
        yield "persistentvolumeclaims"
    else:
        yield "pods"


def usage(collection: str, obj: Object) -> Amounts:
    """Return what one object counts for, by the name of the limited resource."""
    found: Amounts = {f"count/{collection}": Decimal(1)}
    spec = obj.get("spec") or {}
    if collection in _COUNTED:
        found[collection] = Decimal(1)
    if collection == "pods":
        for kind in ("requests", "limits"):
            for name in _COMPUTED:
                amount = _pod_sum(spec, kind, name)
                found[f"{kind}.{name}"] = amount
                if kind == "requests":
                    found[name] = amount
    elif collection == "services":
        type_, ports = spec.get("type"), len(spec.get("ports") or [])
        found["services.loadbalancers"] = Decimal(type_ == "LoadBalancer")
        found["services.nodeports"] = Decimal(ports if type_ in ("NodePort", "LoadBalancer") else 0)
    elif collection == "persistentvolumeclaims":
        requests = (spec.get("resources") or {}).get("requests") or {}
        found["requests.storage"] = quantity.parse(requests.get("storage", "0"))
    return found


def _pod_sum(spec: Object, kind: str, name: str) -> Decimal:
    """Return a pod's request or limit: its containers' sum, or an init container's if that is more."""

    def amount(container: Object) -> Decimal:
        return quantity.parse(((container.get("resources") or {}).get(kind) or {}).get(name, "0"))

    total = sum(map(amount, spec.get("containers") or []), Decimal(0))
    return max([total, *map(amount, spec.get("initContainers") or [])])


def _check_computed(quota: Object, hard: Amounts, pod: Object, name: str) -> None:
    """Refuse a pod without an amount that the quota limits."""
    missing: dict[str, list[str]] = {}
    for key in hard:
        kind, _, resource = key.partition(".") if "." in key else ("requests", "", key)
        if resource not in _COMPUTED or kind not in ("requests", "limits"):
            continue
        for container in pod["spec"].get("containers") or []:
            if resource not in ((container.get("resources") or {}).get(kind) or {}):
                missing.setdefault(key, []).append(container["name"])
    if missing:
        parts = [f"{key} for: {','.join(names)}" for key, names in sorted(missing.items())]
        why = f"failed quota: {quota['metadata']['name']}: must specify {'; '.join(parts)}"
        raise errors.forbidden("", "pods", name, why)


def _in_scope(quota: Object, pod: Object) -> bool:
    """Whether a pod is one of those the quota is about."""
    terminating = pod["spec"].get("activeDeadlineSeconds") is not None
    resources = [item.get("resources") or {} for item in pod["spec"].get("containers") or []]
    best_effort = not any(item.get("requests") or item.get("limits") for item in resources)
    holds = {
        "Terminating": terminating, "NotTerminating": not terminating,
        "BestEffort": best_effort, "NotBestEffort": not best_effort,
    }  # fmt: skip
    return all(holds.get(scope, True) for scope in (quota.get("spec") or {}).get("scopes") or [])


def _show(amount: Decimal) -> str:
    return quantity.canonical(f"{amount:f}")
