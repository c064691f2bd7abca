#!/usr/bin/python
"""Module streamops.knative.resource_info: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: resource_info
short_description: Read Kubernetes objects
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Returns one object by name, or all objects of a kind that fit the selectors.
  - An object that is not there gives an empty list; a kind that is not there is an error.
extends_documentation_fragment:
  - streamops.knative.kubernetes
  - streamops.knative.attributes
  - streamops.knative.attributes.info_module
options:
  api_version:
    description: API version of the kind.
    type: str
    default: v1
  kind:
    description: Kind to read.
    type: str
    required: true
  name:
    description: Name of one object.
    type: str
  namespace:
    description: Namespace to read from. Without it all namespaces; with O(name), V(default).
    type: str
  label_selectors:
    description: Only objects whose labels fit all of these, as C(app=viewer) or C(tier in (a,b\)).
    type: list
    elements: str
    default: []
  field_selectors:
    description: Only objects whose fields fit all of these, as C(status.phase=Running).
    type: list
    elements: str
    default: []
seealso:
  - module: streamops.knative.apply
"""

EXAMPLES = r"""
- name: Read the address of the viewer
  streamops.knative.resource_info:
    api_version: serving.knative.dev/v1
    kind: Service
    name: event-viewer
    namespace: pipeline
  register: viewer

- name: Show it
  ansible.builtin.debug:
    msg: "{{ viewer.resources[0].status.url }}"
"""

RETURN = r"""
resources:
  description: The objects as the API server sent them.
  returned: success
  type: list
  elements: dict
"""

from typing import Any

from ..module_utils._kubernetes.argspec import CONNECTION, connect
from ..module_utils._module.task import Run, Task


def read(run: Run) -> dict[str, Any]:
    """Return the objects asked for."""
    params = run.params
    client = connect(run)
    resource = client.resource(params["api_version"], params["kind"])
    if params["name"] and not (params["label_selectors"] or params["field_selectors"]):
        found = client.get(resource, params["name"], params["namespace"] or "default")
        return {"changed": False, "resources": [found] if found else []}
    fields = list(params["field_selectors"])
    if params["name"]:
        fields.append(f"metadata.name={params['name']}")
    listed = client.list(
        resource,
        params["namespace"],
        label_selector=",".join(params["label_selectors"]),
        field_selector=",".join(fields),
    )
    return {"changed": False, "resources": listed}


TASK = Task(read, DOCUMENTATION, CONNECTION)
main = TASK.main

if __name__ == "__main__":
    main()
