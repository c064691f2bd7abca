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
  - Returns the versions that are installed, the domain, and the address and port of Kourier's
    gateway.
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
"""

EXAMPLES = r"""
- name: Read how services are reached
  streamops.knative.knative_info:
    wait_timeout: 300
  register: knative

- name: Show it
  ansible.builtin.debug:
    msg: "http://viewer.default.{{ knative.domain }}{{ knative.gateway.url_suffix }}"
"""

RETURN = r"""
kubernetes:
  description: Version of the API server.
  returned: success
  type: str
  sample: v1.34.1
installed:
  description: Versions by project; V(unknown) where a release does not tell.
  returned: success
  type: dict
  sample: {serving: 1.23.0, kourier: unknown, eventing: 1.22.2}
foreign:
  description: Projects that were not installed by this collection.
  returned: success
  type: list
  elements: str
domain:
  description: Default domain of services; empty if none is set.
  returned: success
  type: str
gateway:
  description: How the gateway is reached.
  returned: success
  type: dict
  contains:
    address:
      description: IP address or host name; empty if there is none (yet).
      type: str
    port:
      description: Port for HTTP; 0 if there is none.
      type: int
    url_suffix:
      description: What to append to a host in a URL; empty for port 80, else a colon and the port.
      type: str
"""

import time
from collections.abc import Callable
from typing import Any

from ansible_collections.streamops.knative.plugins.module_utils._knative.gateway import (
    Gateway,
    default_domain,
    find,
)
from ansible_collections.streamops.knative.plugins.module_utils._knative.installation import (
    installed,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.argspec import (
    CONNECTION,
    connect,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.client import Client
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import KubeError
from ansible_collections.streamops.knative.plugins.module_utils._module.progress import paced
from ansible_collections.streamops.knative.plugins.module_utils._module.task import Run, Task

LOOK_EVERY = 1.0  # seconds
OPTIONS: dict[str, dict[str, Any]] = {
    "gateway": {
        "type": "str",
        "choices": ["load_balancer", "node_port", "none"],
        "default": "load_balancer",
    },
    "gateway_address": {"type": "str"},
    "gateway_port": {"type": "int"},
    "wait_timeout": {"type": "float", "default": 0.0},
}


def gateway(client: Client, params: dict[str, Any], progress: Callable[[str], None]) -> Gateway:
    """The gateway, waited for; raises KubeError when it gets no address in time."""
    deadline = time.monotonic() + params["wait_timeout"]
    while True:
        found = find(client, params["gateway"], params["gateway_address"], params["gateway_port"])
        if found.address or params["gateway"] == "none" or not params["wait_timeout"]:
            return found
        if time.monotonic() > deadline:
            raise KubeError(
                f"The gateway has no address after {params['wait_timeout']:g} s (wait_timeout): a"
                " cluster without a cloud's load balancer needs gateway: node_port, or a"
                " gateway_address of your own"
            )
        progress("the gateway has no address yet")
        time.sleep(LOOK_EVERY)


def info(run: Run) -> dict[str, Any]:
    """What the cluster has."""
    client = connect(run)
    reached = gateway(client, run.params, paced(run.progress))
    parts = installed(client)
    return {
        "changed": False,
        "kubernetes": client.version().get("gitVersion", "unknown"),
        "installed": {name: str(part.version or "unknown") for name, part in parts.items()},
        "foreign": [name for name, part in parts.items() if not part.ours],
        "domain": default_domain(client),
        "gateway": {
            "address": reached.address,
            "port": reached.port,
            "url_suffix": reached.url_suffix,
        },
    }


TASK = Task(info, {**CONNECTION, **OPTIONS})


def main() -> None:
    """Entry point."""
    TASK.main()


if __name__ == "__main__":
    main()
