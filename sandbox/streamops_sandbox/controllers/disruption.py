"""PodDisruptionBudgets: how many pods may be missing, for the eviction API to honour."""

from __future__ import annotations

import copy

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Controller, Key, controller_of, key_of
from streamops_sandbox.controllers.workloads import (
    is_active,
    is_ready,
    resolve_percent,
    set_condition,
    write_status,
)
from streamops_sandbox.label_selectors import matches
from streamops_sandbox.objects import Object


class DisruptionController(Controller):
    """Writes the budgets' status."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._budgets = self.watch(client.informer("policy/v1", "PodDisruptionBudget"))
        self._pods = self.watch(client.informer("v1", "Pod"), self._budgets_of)
        self._owners = {
            kind: client.informer("apps/v1", kind) for kind in ("ReplicaSet", "StatefulSet")
        }

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Reconcile a budget."""
        budget = self._budgets.get(name, namespace)
        if budget is None or budget["metadata"].get("deletionTimestamp"):
            return
        pods = [
            pod
            for pod in self._pods.list(namespace)
            if is_active(pod) and key_of(budget) in self._budgets_of(pod)
        ]
        spec, expected = budget["spec"], self._expected(pods)
        if "maxUnavailable" in spec:
            missing = resolve_percent(spec["maxUnavailable"], expected, up=True)
            desired = max(0, expected - missing)
        elif isinstance(desired := spec.get("minAvailable", 1), int):
            expected = len(pods)
        else:
            desired = resolve_percent(desired, expected, up=True)
        healthy = sum(map(is_ready, pods))
        allowed = max(0, healthy - desired) if expected else 0
        observed = {"observedGeneration": budget["metadata"].get("generation", 1)}
        conditions = copy.deepcopy(budget.get("status", {}).get("conditions") or [])
        text = (str(allowed > 0), "SufficientPods" if allowed else "InsufficientPods", "")
        set_condition(conditions, "DisruptionAllowed", *text)
        conditions[0] |= observed
        status = {
            **observed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "disruptionsAllowed": allowed,
            "conditions": conditions,
        }
        await write_status(self.client, budget, status)

    def _budgets_of(self, pod: Object) -> list[Key]:
        namespace, labels = pod["metadata"]["namespace"], pod["metadata"].get("labels")
        return [
            key_of(budget)
            for budget in self._budgets.list(namespace)
            if matches(budget["spec"].get("selector"), labels)
        ]

    def _expected(self, pods: list[Object]) -> int:
        """Return how many pods the owners of these pods want; one without counts itself."""
        wanted: dict[str, int] = {}
        for pod in pods:
            owner = controller_of(pod) or pod
            informer = self._owners.get(owner.get("kind", ""))
            found = informer and informer.get(owner["name"], pod["metadata"]["namespace"])
            obj = found or pod
            wanted[obj["metadata"]["uid"]] = obj["spec"].get("replicas", 1)
        return sum(wanted.values())
