#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Deploy and remove event pipelines."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pipelines
short_description: Deploy, prune and remove event pipelines
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Applies the manifests of all pipelines of a cluster, in an order in which no producer runs without its sink;
    sinks, bindings, the bindings' rules in Knative's webhook, producers.
  - Ends when everything is ready and every subject of a SinkBinding carries C(K_SINK); the subject of a CronJob exists
    only once it is due.
  - What others have changed is set back. An object of which something is to change that cannot, such as the class of a
    Broker, is deleted and created again; a workload of another kind is deleted before the new one is created.
  - Objects that left the manifests are deleted, and everything with O(state=absent); producers first, then their
    bindings.
extends_documentation_fragment:
  - streamops.knative.kubernetes
  - streamops.knative.attributes
  - streamops.knative.attributes.changing_module
attributes:
  check_mode:
    details: By the server's dry run, as M(streamops.knative.apply). Knative itself may be missing.
options:
  state:
    description: Whether the pipelines exist.
    type: str
    choices: [present, absent]
    default: present
  base:
    description: Templates of everything but bindings and producers, for example namespaces, viewers and brokers.
    type: list
    elements: str
    default: []
  bindings:
    description: Templates of the SinkBindings.
    type: list
    elements: str
    default: []
  producers:
    description: Templates of the workloads that send events.
    type: list
    elements: str
    default: []
  namespaces:
    description: What happens to namespaces that exist already, as O(streamops.knative.apply#module:namespaces).
    type: str
    choices: [apply, create, label]
    default: create
  scope:
    description: Name of their owner, as O(streamops.knative.apply#module:apply_set_scope).
    type: str
    default: ''
  state_namespace:
    description: Namespace that records what the pipelines consist of. The templates may bring it.
    type: str
    default: default
  wait_timeout:
    description: Seconds that each step may take to become ready.
    type: float
    default: 300.0
seealso:
  - module: streamops.knative.apply
  - module: streamops.knative.sink_binding
"""

EXAMPLES = r"""
- name: Deploy the pipelines
  streamops.knative.pipelines:
    base: [base.yml.j2]
    bindings: [bindings.yml.j2]
    producers: [producers.yml.j2]

- name: Remove the pipelines
  streamops.knative.pipelines:
    state: absent
"""

RETURN = r"""
objects:
  description: One entry an object, as M(streamops.knative.apply) returns them.
  returned: success
  type: list
  elements: dict
"""

from typing import Any

from ..module_utils._kubernetes.apply_run import summarize
from ..module_utils._kubernetes.argspec import CONNECTION, connect
from ..module_utils._kubernetes.manifests import Manifests, Source
from ..module_utils._module.progress import paced
from ..module_utils._module.task import Run, Task
from ..module_utils._pipelines.deployment import Deployment

PARTS = ("base", "bindings", "producers")


def work(run: Run) -> dict[str, Any]:
    """Deploy or remove the pipelines."""
    params = run.params
    absent = params["state"] == "absent"
    manifests = {} if absent else _read(params)
    client = connect(run)
    deployment = Deployment(
        client,
        params["namespaces"],
        params["wait_timeout"],
        run.check_mode,
        params["scope"],
        params["state_namespace"],
        paced(run.progress),
    )
    results = deployment.remove() if absent else deployment.deploy(**manifests)
    return summarize(run, client, results)


def _read(params: dict[str, Any]) -> dict[str, list[Source]]:
    """Return the objects of each part; raise Refused with the problems of all."""
    found = Manifests()
    objects: dict[str, list[Source]] = {}
    for part in PARTS:
        before = len(found.sources)
        for number, text in enumerate(params[part]):
            found.add(f"{part}[{number}] (rendered)", text)
        objects[part] = found.sources[before:]
    found.result()
    return objects


# The action plugin gives the rendered texts, which may hold secrets, in place of the names.
TASK = Task(work, DOCUMENTATION, CONNECTION, {part: {"no_log": True} for part in PARTS})
main = TASK.main

if __name__ == "__main__":
    main()
