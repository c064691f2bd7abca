"""cmd/in_memory/channel_controller: InMemoryChannels and the webhook for them."""

from __future__ import annotations

import copy

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Key, Object, owner_reference
from streamops_sandbox.knative.admission import Denied, Webhook, WebhookServer, rules
from streamops_sandbox.knative.conditions import Conditions, find
from streamops_sandbox.knative.eventing import names
from streamops_sandbox.knative.eventing.validation import check_delivery
from streamops_sandbox.knative.fielderrors import FieldErrors
from streamops_sandbox.knative.process import Process
from streamops_sandbox.knative.reconciler import NotOwned, Reconciler, ensure
from streamops_sandbox.knative.resolver import Unresolved, resolve
from streamops_sandbox.node.context import ContainerContext

_DISPATCHER = "imc-dispatcher"
_RULE = ("messaging.knative.dev", ["v1"], "inmemorychannels")
_SUBSCRIBABLE = "messaging.knative.dev/subscribable"


async def main(ctx: ContainerContext) -> int:
    """Run the in-memory channel's controller."""
    async with Process(ctx) as process:
        channels = InMemoryChannelReconciler(process.client, process.namespace)
        server = WebhookServer(
            process,
            f"{ctx.env['WEBHOOK_NAME']}-certs",
            [
                Webhook(
                    "inmemorychannel.eventing.knative.dev",
                    True,
                    "/defaulting",
                    default,
                    lambda: {"rules": rules([_RULE], ["CREATE", "UPDATE"])},
                ),
                Webhook(
                    "validation.inmemorychannel.eventing.knative.dev",
                    False,
                    "/resource-validation",
                    validate,
                    lambda: {"rules": rules([_RULE], ["CREATE", "DELETE", "UPDATE"])},
                ),
            ],
        )
        return await process.run(channels.run(), server.serve())


async def default(request: Object) -> Object:
    """Return an InMemoryChannel with its defaults."""
    obj: Object = copy.deepcopy(request.get("object") or {})
    annotations = obj["metadata"].setdefault("annotations", {})
    annotations.setdefault(_SUBSCRIBABLE, "v1")
    return obj


async def validate(request: Object) -> Object:
    """Check an InMemoryChannel.

    Raises:
        Denied: with everything that is wrong with it.
    """
    obj: Object = request.get("object") or {}
    if request["operation"] == "DELETE":
        return obj
    errors = FieldErrors()
    spec = obj.get("spec") or {}
    check_delivery(errors, spec.get("delivery"), "spec.delivery")
    for index, subscriber in enumerate(spec.get("subscribers") or []):
        if not subscriber.get("subscriberUri") and not subscriber.get("replyUri"):
            path = f"spec.subscribers[{index}]"
            errors.missing(f"{path}.replyUri", f"{path}.subscriberUri")
    if errors:
        raise Denied(f"validation failed: {errors}")
    return obj


class InMemoryChannelReconciler(Reconciler):
    """Reconciles InMemoryChannels: their name in the cluster leads to the shared dispatcher."""

    api_version = names.MESSAGING
    kind = "InMemoryChannel"
    dependents = (
        "Addressable",
        "ChannelServiceReady",
        "DeadLetterSinkResolved",
        "DispatcherReady",
        "EndpointsReady",
        "EventPoliciesReady",
        "ServiceReady",
    )

    def __init__(self, client: Client, system_namespace: str) -> None:
        super().__init__(client)
        self._system = system_namespace
        self._deployments = client.informer("apps/v1", "Deployment", system_namespace)
        self._endpoints = client.informer("v1", "Endpoints", system_namespace)
        for informer in (self._deployments, self._endpoints):
            self.watch(informer, self._on_dispatcher)
        self._services = self.watch_owned(client.informer("v1", "Service"), self.kind)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Check the dispatcher, then give the channel its address."""
        conditions.true("EventPoliciesReady", "DefaultAuthorizationMode")
        self._check_dispatcher(conditions)
        await self._dead_letter_sink(obj, conditions)
        name = names.child(obj["metadata"]["name"], "-kn-channel")
        if not await self._service(obj, name, conditions):
            return
        conditions.true("ChannelServiceReady")
        url = f"http://{names.host(name, obj['metadata']['namespace'])}"
        obj["status"]["address"] = {"name": "http", "url": url}
        conditions.true("Addressable")

    def _check_dispatcher(self, conditions: Conditions) -> None:
        deployment = self._deployments.get(_DISPATCHER, self._system)
        if deployment is None:
            message = "Dispatcher Deployment does not exist"
            conditions.false("DispatcherReady", "DispatcherDeploymentDoesNotExist", message)
        else:
            absent = ("DispatcherDeploymentUnknown", "Dispatcher Deployment has no status")
            available = find(deployment, "Available")
            conditions.mirror("DispatcherReady", available, absent=absent)
        endpoints = self._endpoints.get(_DISPATCHER, self._system)
        if endpoints is None:
            message = "Dispatcher Service does not exist"
            conditions.false("ServiceReady", "DispatcherServiceDoesNotExist", message)
        else:
            conditions.true("ServiceReady")
        if any(subset.get("addresses") for subset in (endpoints or {}).get("subsets") or []):
            conditions.true("EndpointsReady")
        else:
            message = "There are no endpoints ready for Dispatcher service"
            conditions.false("EndpointsReady", "DispatcherEndpointsNotReady", message)

    async def _dead_letter_sink(self, obj: Object, conditions: Conditions) -> None:
        metadata, kind = obj["metadata"], "DeadLetterSinkResolved"
        sink = (obj["spec"].get("delivery") or {}).get("deadLetterSink")
        obj["status"].pop("deadLetterSinkUri", None)
        if sink is None:
            message = "No dead letter sink is configured."
            conditions.true(kind, "DeadLetterSinkNotConfigured", message)
            return
        key: Key = (metadata["namespace"], metadata["name"])
        try:
            address = await resolve(self.tracker, sink, metadata["namespace"], key=key)
        except Unresolved as error:
            conditions.false(kind, "Unable to get the DeadLetterSink's URI", str(error))
        else:
            obj["status"]["deadLetterSinkUri"] = address.url
            conditions.true(kind)

    async def _service(self, obj: Object, name: str, conditions: Conditions) -> bool:
        desired = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": name,
                "namespace": obj["metadata"]["namespace"],
                "labels": {"messaging.knative.dev/role": "in-memory-channel"},
                "ownerReferences": [owner_reference(obj)],
            },
            "spec": {
                "type": "ExternalName",
                "externalName": names.host(_DISPATCHER, self._system),
            },
        }
        current = self._services.get(name, obj["metadata"]["namespace"])
        try:
            await ensure(self.client, current, desired)
        except NotOwned as error:
            conditions.false("ChannelServiceReady", "ChannelServiceFailed", str(error))
            return False
        return True

    def _on_dispatcher(self, changed: Object) -> list[Key]:
        if changed["metadata"]["name"] != _DISPATCHER:
            return []
        return [(o["metadata"]["namespace"], o["metadata"]["name"]) for o in self.objects.list()]
