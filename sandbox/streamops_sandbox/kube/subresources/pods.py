"""pods/binding and pods/eviction."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from streamops_sandbox import label_selectors, timestamps
from streamops_sandbox.kube import deletion, errors
from streamops_sandbox.kube.rest import Call
from streamops_sandbox.objects import Object

_DISRUPTION_BUDGETS = "poddisruptionbudgets.policy"


async def bind(call: Call) -> web.StreamResponse:
    """Assign a pod to a node."""
    body = call.object("Binding")
    name = call.info.name or (body.get("metadata") or {}).get("name", "")
    node = (body.get("target") or {}).get("name")
    kind = (body.get("target") or {}).get("kind") or "Node"
    if kind != "Node":
        why = f'target.kind: Unsupported value: "{kind}": supported values: "Node", "<empty>"'
        raise errors.StatusError(500, "", why)
    if not node:
        raise errors.StatusError(500, "", "target.name: Required value")
    pods = call.server.api.registry.find("", "v1", "pods")
    assert pods is not None

    def assign(pod: Object) -> Object:
        if pod["spec"].get("nodeName"):
            why = f'pod {name} is already assigned to node "{pod["spec"]["nodeName"]}"'
            raise errors.conflict("", "pods/binding", name, why)
        if pod["metadata"].get("deletionTimestamp"):
            raise errors.conflict("", "pods/binding", name, f"pod {name} is being deleted")
        pod["spec"]["nodeName"] = node
        conditions = [
            condition
            for condition in (pod.setdefault("status", {}).get("conditions") or [])
            if condition["type"] != "PodScheduled"
        ]
        conditions.append(
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": timestamps.now()}
        )
        pod["status"]["conditions"] = conditions
        return pod

    write = replace(call.write, resource=pods, name=name, subresource="binding")
    await call.server.objects.update(assign, write)
    return call.answer(201, errors.success(201))


async def evict(call: Call) -> web.StreamResponse:
    """Delete a pod unless that would break a disruption budget."""
    body = call.object("Eviction") if call.body.strip() else {}
    namespace, name = call.info.namespace, call.info.name
    if (body.get("metadata") or {}).get("name", name) != name:
        raise errors.bad_request("name in URL does not match name in Eviction object")
    pod = call.server.api.require(call.resource, namespace, name)
    if pod.load()["status"].get("phase") not in ("Pending", "Succeeded", "Failed"):
        for stored in call.server.api.store.collection(_DISRUPTION_BUDGETS).items(namespace):
            budget = stored.load()
            selector = (budget.get("spec") or {}).get("selector")
            allowed = (budget.get("status") or {}).get("disruptionsAllowed", 0)
            if selector and label_selectors.matches(selector, pod.labels) and allowed <= 0:
                raise _budget_error(stored.name)
    await deletion.delete(call.server.objects, call.write, body.get("deleteOptions") or {})
    return call.answer(201, errors.success(201))


def _budget_error(budget: str) -> errors.StatusError:
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    why = f"The disruption budget {budget} does not allow any disruption"
    details = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    return errors.StatusError(429, "TooManyRequests", message, details=details)
