"""An API server for the producer's checkpoint and Lease, with its service account."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import requests
from support.api_proxy import ApiProxy
from support.producer import PATIENCE, Kit, Sink, X

from streamops_sandbox.kube.server import ApiServer

NAMESPACE = "birds"


@dataclass
class Cluster:
    """An API server with a namespace and a service account that may do what the README says."""

    kit: Kit
    verbs: tuple[str, ...] = ("get", "create", "update")
    server: ApiServer = field(init=False)
    proxy: ApiProxy | None = None

    def __post_init__(self) -> None:
        self.server = ApiServer(self.kit.folder / "kube")
        self.kit.loop.run(self.server.start())
        self._admin = self.server.admin_kubeconfig()["users"][0]["user"]["token"]
        self.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
        self.call("POST", accounts, {"metadata": {"name": "producer"}})
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}"
        rules = [
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": list(self.verbs)},
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "verbs": list(self.verbs),
            },
        ]
        self.call("POST", rbac + "/roles", {"metadata": {"name": "producer"}, "rules": rules})
        binding = {
            "metadata": {"name": "producer"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "producer",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "producer", "namespace": NAMESPACE}],
        }
        self.call("POST", rbac + "/rolebindings", binding)
        request = {"spec": {"expirationSeconds": 3600}}
        token = self.call("POST", f"{accounts}/producer/token", request)["status"]["token"]
        self.account = self.kit.folder / "serviceaccount"
        self.account.mkdir()
        (self.account / "token").write_text(token)
        (self.account / "namespace").write_text(NAMESPACE)
        (self.account / "ca.crt").write_bytes(self.server.ca_file.read_bytes())

    def behind_proxy(self) -> ApiProxy:
        """Lead the producers started from now on through a proxy with faults."""
        loop, url, authority = self.kit.loop, self.server.url, self.server.ca_file
        self.proxy = ApiProxy(loop, url, authority, self.kit.folder)
        (self.account / "ca.crt").write_text(self.proxy.authority)
        return self.proxy

    def patch(self, path: str, change: Any) -> None:
        """Merge a change into an object, whatever the producer has written to it meanwhile."""
        self.call("PATCH", path, change, "application/merge-patch+json")

    def call(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> Any:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                method,
                self.server.url + path,
                json=body,
                headers={
                    "Authorization": f"Bearer {self._admin}",
                    "Content-Type": content_type,
                },
                verify=str(self.server.ca_file),
                timeout=PATIENCE,
            )
        if answer.status_code == 404 and method == "GET":
            return None
        assert answer.ok, answer.text
        return answer.json()

    def settings(self, x: X, sink: Sink, **more: Any) -> dict[str, Any]:
        url = self.proxy.url if self.proxy else self.server.url
        host, port = url.removeprefix("https://").split(":")
        settings = self.kit.searching(x, sink, state="configmap", **more)
        del settings["state_file"]
        return {
            **settings,
            "service_account_dir": self.account,
            "kubernetes_service_host": host,
            "kubernetes_service_port": port,
        }

    @property
    def configmap_path(self) -> str:
        return f"/api/v1/namespaces/{NAMESPACE}/configmaps/twitter-producer-state"

    def configmap(self) -> Any:
        return self.call("GET", self.configmap_path)

    def checkpoint(self) -> Any:
        return json.loads(self.configmap()["data"]["checkpoint.json"])

    def lease(self, name: str = "producer") -> Any:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{name}"
        return (self.call("GET", path) or {}).get("spec")
