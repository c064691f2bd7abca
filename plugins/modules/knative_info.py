#!/usr/bin/python
"""Module streamops.knative.knative_info: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: knative_info
short_description: Read which Knative a cluster has, and how people reach its services
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Returns the versions that are installed, the domain, and the address and port of the gateway; Kourier's, or the one
    that the ConfigMap of net-gateway-api or net-istio names.
extends_documentation_fragment:
  - streamops.knative.kubernetes
  - streamops.knative.attributes
  - streamops.knative.attributes.info_module
options:
  gateway:
    description:
      - How people reach the gateway. With V(load_balancer) the address a cloud gives to the
        Service, with V(node_port) a port on the nodes. V(none) does not look.
    type: str
    choices: [load_balancer, node_port, none]
    default: load_balancer
  gateway_address:
    description: >-
      The address to use where the cluster does not know it, as for a load balancer of your own.
    type: str
  gateway_port:
    description: >-
      The port to use where the cluster does not know it, as for a port mapping of your own.
    type: int
  wait_timeout:
    description: >-
      Seconds to wait for the gateway to get its address. V(0) looks once and does not mind.
    type: float
    default: 0.0
  services_namespaces:
    description: Where to look for O(services) when it is not allowed to look in all namespaces.
    type: list
    elements: str
    default: []
  services:
    description: Label selector of the Knative Services to return, for example V(app=shop). Without it none are read.
    type: str
  expected:
    description: >-
      Versions that have to be installed, by project, for example V({eventing: 1.23.0}). Others are an error.
    type: dict
    default: {}
  upgrade_to:
    description: >-
      Releases to look up RV(upgrade_findings) for, by project, for example V({serving: 1.23.0}).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Read how services are reached
  streamops.knative.knative_info:
    wait_timeout: 300
  register: knative

- name: Show it
  ansible.builtin.debug:
    msg: "http://viewer.default.{{ knative.domain }}{{ knative.url_suffix }}"

- name: List what an upgrade would break
  streamops.knative.knative_info:
    upgrade_to: {serving: 1.23.0, eventing: 1.23.0}
  register: knative

- name: Show it by object
  ansible.builtin.debug:
    msg: "{{ knative.upgrade_findings }}"
"""

RETURN = r"""
kubernetes:
  description: Version of the API server.
  returned: success
  type: str
  sample: v1.34.1
installed:
  description: Versions by project; V(unknown) where a release does not state it.
  returned: success
  type: dict
  sample: {serving: 1.23.0, kourier: unknown, eventing: 1.23.0}
foreign:
  description: Projects that were not installed by this collection.
  returned: success
  type: list
  elements: str
ingress:
  description: >-
    Component by which services are routed, as V(kourier); empty where C(config-network) names none of those that this
    collection installs.
  returned: success
  type: str
domain:
  description: Default domain of services; empty if none is set.
  returned: success
  type: str
address:
  description: IP address or host name of the gateway; empty if there is none (yet).
  returned: success
  type: str
port:
  description: Port of the gateway for HTTP; 0 if there is none.
  returned: success
  type: int
url_suffix:
  description: What to append to a host in a URL; empty for port 80, else a colon and the port.
  returned: success
  type: str
gateway:
  description: RV(address), RV(port) and RV(url_suffix) together.
  returned: success
  type: dict
upgrade_findings:
  description: >-
    Objects that upgrades to the releases of O(upgrade_to) make fail or behave otherwise, and what changes whatever
    objects there are.
  returned: success
  type: list
  elements: dict
  contains:
    project:
      description: Project that is upgraded.
      type: str
    release:
      description: Minor release that brings the change.
      type: str
    kind:
      description: Kind of the object; empty, as its name, for what is about no single one.
      type: str
    namespace:
      description: Namespace of the object.
      type: str
    name:
      description: Name of the object.
      type: str
    problem:
      description: What changes for it, and what to do.
      type: str
services:
  description: Knative Services, with O(services).
  returned: success
  type: list
  elements: dict
  contains:
    namespace:
      description: Namespace of the Service.
      type: str
    name:
      description: Name of the Service.
      type: str
    url:
      description: URL of the Service, without the gateway's port; empty as long as there is none.
      type: str
    cluster_local:
      description: Whether the Service is reached only from within the cluster.
      type: bool
"""

from typing import Any

from ..module_utils._knative import gateway
from ..module_utils._knative.installation import Installed, installed
from ..module_utils._knative.releases import PROJECTS, Version
from ..module_utils._knative.upgrade_traps import described, findings
from ..module_utils._kubernetes.argspec import CONNECTION, connect
from ..module_utils._kubernetes.client import Client, permitted
from ..module_utils._kubernetes.errors import KubeError
from ..module_utils._module.progress import paced
from ..module_utils._module.task import Run, Task

VISIBILITY = "networking.knative.dev/visibility"
LOCAL = "cluster-local"


def info(run: Run) -> dict[str, Any]:
    """Return what the cluster has; raise KubeError where it is not what is expected."""
    params = run.params
    client = connect(run)
    reached = permitted(
        lambda: gateway.wait(
            client,
            params["gateway"],
            params["gateway_address"],
            params["gateway_port"],
            timeout=params["wait_timeout"],
            progress=paced(run.progress),
        ),
        gateway.Gateway(params["gateway_address"] or "", params["gateway_port"] or 0),
    )
    parts: dict[str, Installed] = permitted(lambda: installed(client), {})
    versions = {name: str(part.version or "unknown") for name, part in parts.items()}
    if any(versions.get(name) != want for name, want in params["expected"].items()):
        raise KubeError(
            f"Knative runs as {_list(versions) or 'nothing'}, not as {_list(params['expected'])}:"
            " install that first (the role knative_eventing without --tags)"
        )
    unknown = [project for project in params["upgrade_to"] if project not in PROJECTS]
    if unknown:
        raise KubeError(f"upgrade_to: {unknown[0]} is unknown; there are {', '.join(PROJECTS)}")
    wanted = {
        project: Version.parse(str(version), f"upgrade_to.{project}")
        for project, version in params["upgrade_to"].items()
    }
    have = {name: part.version for name, part in parts.items()}
    endpoint = {"address": reached.address, "port": reached.port, "url_suffix": reached.url_suffix}
    return {
        "changed": False,
        "kubernetes": client.version().get("gitVersion", "unknown"),
        "installed": versions,
        "foreign": [name for name, part in parts.items() if not part.ours],
        "ingress": permitted(lambda: gateway.installed_ingress(client), ""),
        "domain": permitted(lambda: gateway.default_domain(client), ""),
        "gateway": endpoint,
        **endpoint,
        "upgrade_findings": described(findings(client, have, wanted)) if wanted else [],
        "services": _services(client, params) if params["services"] else [],
    }


def _services(client: Client, params: dict[str, Any]) -> list[dict[str, Any]]:
    resource = client.resources().get(("serving.knative.dev/v1", "Service"))
    if resource is None:
        return []
    found = permitted(lambda: client.list(resource, label_selector=params["services"]), None)
    if found is None:
        found = [
            service
            for space in params["services_namespaces"]
            for service in client.list(resource, space, label_selector=params["services"])
        ]
    return [
        {
            "namespace": service["metadata"]["namespace"],
            "name": service["metadata"]["name"],
            "url": (service.get("status") or {}).get("url", ""),
            "cluster_local": (service["metadata"].get("labels") or {}).get(VISIBILITY) == LOCAL,
        }
        for service in found
    ]


def _list(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


TASK = Task(info, DOCUMENTATION, CONNECTION)
main = TASK.main

if __name__ == "__main__":
    main()
