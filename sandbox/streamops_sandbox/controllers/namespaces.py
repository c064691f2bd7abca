"""What namespaces need: their end, the default service account, the cluster's certificate."""

from __future__ import annotations

import asyncio
import copy

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.controller import Controller, Key
from streamops_sandbox.controllers.discovery import Kind, kinds
from streamops_sandbox.objects import Object

ROOT_CA = "kube-root-ca.crt"
_NOTE = {
    "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using "
    "internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed "
    "across distributions of Kubernetes clusters."
}
_RETRY_SECONDS = 0.5
#: How long a deleted namespace keeps its content: the real controller waits for five seconds.
_GRACE_SECONDS = 0.4
_FINALIZER = "kubernetes"


class NamespaceController(Controller):
    """Empties namespaces that are deleted, then lets them go."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._namespaces = self.watch(client.informer("v1", "Namespace"))
        self._waited: set[str] = set()

    async def reconcile(self, _: str | None, name: str) -> None:
        """Delete a terminating namespace's content; finalize it once there is none."""
        namespace = self._namespaces.get(name)
        if namespace is None or not namespace["metadata"].get("deletionTimestamp"):
            return
        if _FINALIZER not in (namespace["spec"].get("finalizers") or []):
            return
        uid = namespace["metadata"]["uid"]
        if uid not in self._waited:
            self._waited.add(uid)
            self.requeue_after(None, name, _GRACE_SECONDS)
            return
        deletable = [
            kind
            for kind in await kinds(self.client)
            if kind.namespaced and {"list", "delete"} <= kind.verbs
        ]
        left = sum(await asyncio.gather(*(self._delete_all(kind, name) for kind in deletable)))
        if left:
            self.requeue_after(None, name, _RETRY_SECONDS)
            return
        finalized = copy.deepcopy(namespace)
        finalized["spec"]["finalizers"] = [
            entry for entry in finalized["spec"]["finalizers"] if entry != _FINALIZER
        ]
        path = await self.client.path("v1", "Namespace", None, name, "finalize")
        await self.client.request("PUT", path, body=finalized)
        self._waited.discard(uid)

    async def _delete_all(self, kind: Kind, namespace: str) -> int:
        """Delete a kind's objects; returns how many there were."""
        try:
            objects = await self.client.list(kind.api_version, kind.kind, namespace)
        except ApiError as error:
            if error.status in (404, 405):
                return 0
            raise
        for obj in objects:
            if not obj["metadata"].get("deletionTimestamp"):
                await self.client.delete(obj, "Background")
        return len(objects)


class NamespaceContentController(Controller):
    """Gives every namespace the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`."""

    def __init__(self, client: Client, ca_pem: str) -> None:
        super().__init__(client)
        self._ca_pem = ca_pem
        self._namespaces = self.watch(client.informer("v1", "Namespace"))
        self._kept = {
            kind: self.watch(client.informer("v1", kind), _namespace_of)
            for kind in ("ServiceAccount", "ConfigMap")
        }

    async def reconcile(self, _: str | None, name: str) -> None:
        """Create what is missing in a namespace."""
        namespace = self._namespaces.get(name)
        if namespace is None or namespace["metadata"].get("deletionTimestamp"):
            return
        certificate = {"name": ROOT_CA, "annotations": _NOTE}
        await self._keep("ServiceAccount", name, {"name": "default"})
        await self._keep("ConfigMap", name, certificate, data={"ca.crt": self._ca_pem})

    async def _keep(self, kind: str, namespace: str, metadata: Object, **content: Object) -> None:
        known = self._kept[kind].get(metadata["name"], namespace)
        if known is None:
            made = {"kind": kind, "metadata": metadata | {"namespace": namespace}}
            try:
                await self.client.create({"apiVersion": "v1", **made, **content})
            except ApiError as error:
                if not error.already_exists:
                    raise
        elif any(known.get(key) != value for key, value in content.items()):
            await self.client.patch(known, content)


def _namespace_of(obj: Object) -> list[Key]:
    metadata = obj["metadata"]
    if metadata["name"] in ("default", ROOT_CA):
        return [(None, metadata["namespace"])]
    return []
