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
        self._sets = client.informer("apps/v1", "ReplicaSet")
        self._stateful_sets = client.informer("apps/v1", "StatefulSet")

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Reconcile a budget."""
        budget = self._budgets.get(name, namespace)
        if budget is None or budget["metadata"].get("deletionTimestamp"):
            return
        spec = budget["spec"]
        pods = [
            pod
            for pod in self._pods.list(namespace)
            if is_active(pod) and matches(spec.get("selector"), pod["metadata"].get("labels"))
        ]
        expected = self._expected(pods)
        if "maxUnavailable" in spec:
            missing = resolve_percent(spec["maxUnavailable"], expected, up=True)
            desired = max(0, expected - missing)
        elif isinstance(spec.get("minAvailable"), int):
            desired, expected = spec["minAvailable"], len(pods)
        else:
            desired = resolve_percent(spec.get("minAvailable", 1), expected, up=True)
        healthy = sum(is_ready(pod) for pod in pods)
        allowed = max(0, healthy - desired) if expected else 0
        conditions = copy.deepcopy(budget.get("status", {}).get("conditions") or [])
        generation = budget["metadata"].get("generation", 1)
        set_condition(
            conditions,
            "DisruptionAllowed",
            "True" if allowed else "False",
            "SufficientPods" if allowed else "InsufficientPods",
            "",
        )
        conditions[0]["observedGeneration"] = generation
        status = {
            "observedGeneration": generation,
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
        """Return how many pods the controllers of these pods want."""
        wanted: dict[str, int] = {}
        alone = 0
        for pod in pods:
            owner = controller_of(pod)
            informer = {"ReplicaSet": self._sets, "StatefulSet": self._stateful_sets}.get(
                owner["kind"] if owner else ""
            )
            found = None
            if informer is not None and owner is not None:
                found = informer.get(owner["name"], pod["metadata"]["namespace"])
            if found is None:
                alone += 1
            else:
                wanted[found["metadata"]["uid"]] = found["spec"].get("replicas", 1)
        return alone + sum(wanted.values())
