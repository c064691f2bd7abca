"""Google Kubernetes Engine v1. A cluster here is a real one of the sandbox, with its own API server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from dataclasses import dataclass
from urllib.parse import urlsplit

from streamops_sandbox.clusters import Clusters
from streamops_sandbox.google.container import cluster as rules
from streamops_sandbox.google.errors import GoogleError
from streamops_sandbox.google.operations import Operations, Work
from streamops_sandbox.google.projects import Project, now, require_location
from streamops_sandbox.google.service import Call, serves
from streamops_sandbox.objects import Object

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class GkeCluster:
    """One cluster, which runs under the name it has here."""

    fields: Object
    project: Project
    location: str

    @property
    def name(self) -> str:
        """Its full name."""
        short = self.fields["name"]
        return f"projects/{self.project.project_id}/locations/{self.location}/clusters/{short}"


class Container:
    """Clusters and node pools of all projects."""

    def __init__(self, operations: Operations, clusters: Clusters, base_url: str) -> None:
        self._operations = operations
        self._manager = clusters
        self._base_url = base_url
        self._clusters: dict[str, GkeCluster] = {}

    @serves("container.projects.locations.clusters.create")
    async def _create(self, call: Call) -> Object:
        project = call.admit("container.clusters.create")
        location = require_location(call.parts[3])
        fields = rules.new_cluster(call.body.get("cluster", {}), project, location)
        cluster = GkeCluster(fields, project, location)
        if cluster.name in self._clusters:
            raise GoogleError("ALREADY_EXISTS", f"Already exists: {cluster.name}.")
        cluster.fields |= {
            "status": "PROVISIONING",
            "location": location,
            "zone": location,
            "selfLink": f"{self._base_url}/v1/{cluster.name}",
            "id": hashlib.sha256(f"{cluster.name}{now()}".encode()).hexdigest(),
            "createTime": now(),
        }
        self._clusters[cluster.name] = cluster
        return self._start(call, cluster, "CREATE_CLUSTER", lambda: self._provision(cluster))

    @serves("container.projects.locations.clusters.get")
    async def _get(self, call: Call) -> Object:
        return _shown(self._cluster(call, "container.clusters.get"))

    @serves("container.projects.locations.clusters.list")
    async def _list_all(self, call: Call) -> Object:
        """Read the clusters of a location, or with `-` of all."""
        project = call.admit("container.clusters.list")
        found = [
            _shown(c)
            for _, c in sorted(self._clusters.items())
            if c.project is project and call.parts[3] in ("-", c.location)
        ]
        return {"clusters": found} if found else {}

    @serves("container.projects.locations.getServerConfig")
    async def _server_config(self, call: Call) -> Object:
        call.admit("container.clusters.list")  # it takes a permission on clusters of the project
        require_location(call.parts[3])
        return rules.server_config()

    @serves(*(f"container.projects.locations.clusters.{method}" for method in rules.CHANGES))
    async def _change(self, call: Call) -> Object:
        """Change a cluster or a node pool; there is one node whatever the pools say."""
        cluster = self._idle(call, "container.clusters.update")
        type_, change = rules.CHANGES[call.method.id.partition(".clusters.")[2]]
        changed = change(cluster.fields, call.body, cluster.project, call.parts[-1])
        return self._start(call, cluster, type_, lambda: self._become(cluster, changed))

    @serves("container.projects.locations.clusters.delete")
    async def _delete(self, call: Call) -> Object:
        cluster = self._idle(call, "container.clusters.delete")
        cluster.fields["status"] = "STOPPING"
        return self._start(call, cluster, "DELETE_CLUSTER", lambda: self._remove(cluster))

    @serves("container.projects.locations.operations.get")
    async def _get_operation(self, call: Call) -> Object:
        """Read an operation; `projects/P` may be the number."""
        project = call.admit("container.operations.get")
        name = "/".join(["projects", project.project_id, *call.parts[2:]])
        return self._operations.get(name).container(self._base_url)

    async def _provision(self, cluster: GkeCluster) -> Object:
        project, location = cluster.project.project_id, cluster.location
        place = {"url": self._base_url, "project": project, "location": location}
        try:
            running = await self._manager.create(cluster.fields["name"], place)
            self._report_version(cluster)
        except (RuntimeError, ValueError) as error:
            raise GoogleError("INTERNAL", f"The cluster did not start: {error}") from error
        endpoint = urlsplit(running.url).netloc
        ca = base64.b64encode(running.ca_pem.encode()).decode()
        endpoints = cluster.fields.setdefault("controlPlaneEndpointsConfig", {})
        ip = {
            "enabled": True,
            "enablePublicEndpoint": True,
            **endpoints.get("ipEndpointsConfig", {}),
        }
        dns = {"allowExternalTraffic": False, **endpoints.get("dnsEndpointConfig", {})}
        name = f"gke-{cluster.fields['id'][:32]}.{location}.gke.goog"
        endpoints["ipEndpointsConfig"] = ip | {"publicEndpoint": endpoint}
        endpoints["dnsEndpointConfig"] = dns | {"endpoint": name}
        cluster.fields |= {
            "status": "RUNNING",
            "endpoint": endpoint,
            "masterAuth": {"clusterCaCertificate": ca},
        }
        return {}

    async def _become(self, cluster: GkeCluster, fields: Object) -> Object:
        cluster.fields = {**fields, "status": "RUNNING"}
        self._report_version(cluster)
        return {}

    def _report_version(self, cluster: GkeCluster) -> None:
        version = f"v{cluster.fields['currentMasterVersion']}"
        self._manager.set_version(cluster.fields["name"], version)

    async def _remove(self, cluster: GkeCluster) -> Object:
        try:
            await self._manager.delete(cluster.fields["name"])
        except KeyError:
            _logger.info("%s had nothing running", cluster.name)
        self._clusters.pop(cluster.name, None)
        return {}

    def _start(self, call: Call, cluster: GkeCluster, type_: str, work: Work) -> Object:
        """Begin an operation on the cluster; a creation that fails leaves it in ERROR, as GKE does."""
        if type_ not in ("CREATE_CLUSTER", "DELETE_CLUSTER"):
            cluster.fields["status"] = "RECONCILING"
        prefix = f"{cluster.name.rpartition('/clusters/')[0]}/operations"
        operation = self._operations.start(prefix, call.method, cluster.name, work, type_)
        assert operation.task is not None

        def ended(_: asyncio.Task[None]) -> None:
            if operation.error:
                failed = type_ in ("CREATE_CLUSTER", "DELETE_CLUSTER")
                cluster.fields["status"] = "ERROR" if failed else "RUNNING"
                cluster.fields["statusMessage"] = operation.error["message"]

        operation.task.add_done_callback(ended)
        return operation.container(self._base_url)

    def _cluster(self, call: Call, permission: str) -> GkeCluster:
        project = call.admit(permission)
        name = "/".join(["projects", project.project_id, *call.parts[2:6]])
        if name not in self._clusters:
            raise GoogleError("NOT_FOUND", f"Not found: {name}.")
        return self._clusters[name]

    def _idle(self, call: Call, permission: str) -> GkeCluster:
        """The cluster, with no operation on it."""
        cluster = self._cluster(call, permission)
        if running := self._operations.running(cluster.name):
            short = running.name.rpartition("/")[2]
            problem = f"Cluster is running incompatible operation {short}."
            raise GoogleError("FAILED_PRECONDITION", problem)
        return cluster


def _shown(cluster: GkeCluster) -> Object:
    return {**cluster.fields, "etag": rules.etag(cluster.fields)}
