#!/usr/bin/python
"""Module streamops.knative.knative_bundle: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: knative_bundle
short_description: Decide what has to be applied to have a version of Knative, or refuse
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Looks at the cluster and returns the sources, patches and waits for M(streamops.knative.apply).
  - Refuses, all reasons at once, what cannot work; a Kubernetes that is too old, an upgrade of more
    than one minor release, a step back, an installation that somebody else governs, missing
    permissions, missing files.
extends_documentation_fragment:
  - streamops.knative.kubernetes
  - streamops.knative.attributes
  - streamops.knative.attributes.info_module
options:
  components:
    description: >-
      What to install; V(serving), V(kourier), V(hpa), V(eventing), V(in-memory-channel),
      V(mt-channel-broker).
    type: list
    elements: str
    required: true
  serving_version:
    description: Release of Serving, as V(1.23.0).
    type: str
    required: true
  kourier_version:
    description: Release of Kourier.
    type: str
    required: true
  eventing_version:
    description: Release of Eventing.
    type: str
    required: true
  mirror:
    description: Where the releases are, with the paths they have on GitHub.
    type: str
    default: https://github.com
  folder:
    description: A folder with the release files under upstream's names, in place of O(mirror).
    type: path
  checksums:
    description: >-
      What files must hash to; keys as C(serving-1.23.0/serving-core.yaml), values as C(sha256:...).
    type: dict
    default: {}
  adopt:
    description: >-
      Whether an installation made by somebody else is taken over. Otherwise it is refused.
    type: bool
    default: false
  config:
    description:
      - Keys to set in Knative's ConfigMaps; by project (V(serving), V(eventing), V(kourier)), by
        ConfigMap.
    type: dict
    default: {}
  workloads:
    description:
      - Replicas, resources and environment of Deployments. The fields are those of the Knative
        Operator.
      - Where an autoscaler governs a Deployment, C(replicas) becomes its lower bound.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the Deployment.
        type: str
        required: true
      replicas:
        description: Number of pods.
        type: int
      resources:
        description: Resources of containers.
        type: list
        elements: dict
        default: []
        suboptions:
          container:
            description: Name of the container.
            type: str
            required: true
          requests:
            description: What it is sure to get.
            type: dict
          limits:
            description: What it must not exceed.
            type: dict
      env:
        description: Environment of containers.
        type: list
        elements: dict
        default: []
        suboptions:
          container:
            description: Name of the container.
            type: str
            required: true
          variables:
            description: Variables as in a pod, with C(name) and C(value).
            type: list
            elements: dict
            required: true
  gateway:
    description: How Kourier's Service is published.
    type: dict
    default: {}
    suboptions:
      service_type:
        description: Type of the Service.
        type: str
        choices: [LoadBalancer, NodePort, ClusterIP]
        default: LoadBalancer
      node_port:
        description: Port on every node for HTTP. Chosen by the cluster if not given.
        type: int
      annotations:
        description: Annotations of the Service, as cloud providers read them.
        type: dict
        default: {}
seealso:
  - module: streamops.knative.apply
  - module: streamops.knative.knative_info
"""

EXAMPLES = r"""
- name: Decide
  streamops.knative.knative_bundle:
    components: [serving, kourier]
    serving_version: 1.23.0
    kourier_version: 1.23.0
    eventing_version: 1.22.2
  register: bundle

- name: Install
  streamops.knative.apply:
    urls: "{{ bundle.urls }}"
    files: "{{ bundle.files }}"
    patches: "{{ bundle.patches }}"
    supplements: "{{ bundle.supplements }}"
    wait_conditions: "{{ bundle.wait_conditions }}"
"""

RETURN = r"""
urls:
  description: Release files by URL.
  returned: success
  type: list
  elements: dict
files:
  description: Release files by path.
  returned: success
  type: list
  elements: str
patches:
  description: Changes to them.
  returned: success
  type: list
  elements: dict
supplements:
  description: Objects the releases need and do not bring.
  returned: success
  type: list
  elements: dict
wait_conditions:
  description: What is not to be waited for.
  returned: success
  type: list
  elements: dict
post_install_urls:
  description: Files of the Jobs to run after an upgrade, by URL. Empty when there is none to run.
  returned: success
  type: list
  elements: dict
post_install_files:
  description: The same by path.
  returned: success
  type: list
  elements: str
installed:
  description: Versions found, by project.
  returned: success
  type: dict
  sample: {serving: 1.22.1}
takes_over:
  description: Whether something was installed by somebody else and is going to be taken over.
  returned: success
  type: bool
prometheus:
  description: Whether the cluster has the Prometheus Operator's PodMonitor.
  returned: success
  type: bool
"""

from typing import Any

from ansible_collections.streamops.knative.plugins.module_utils._knative.bundle import (
    SILENT,
    Wish,
    plan,
)
from ansible_collections.streamops.knative.plugins.module_utils._knative.releases import (
    PROJECTS,
    UPSTREAM,
    Source,
    Version,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.argspec import (
    CONNECTION,
    connect,
)
from ansible_collections.streamops.knative.plugins.module_utils._module.task import Run, Task

_CONTAINER = {"type": "str", "required": True}
OPTIONS: dict[str, dict[str, Any]] = {
    "components": {"type": "list", "elements": "str", "required": True},
    "serving_version": {"type": "str", "required": True},
    "kourier_version": {"type": "str", "required": True},
    "eventing_version": {"type": "str", "required": True},
    "mirror": {"type": "str", "default": UPSTREAM},
    "folder": {"type": "path"},
    "checksums": {"type": "dict", "default": {}},
    "adopt": {"type": "bool", "default": False},
    "config": {"type": "dict", "default": {}},
    "workloads": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "replicas": {"type": "int"},
            "resources": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "container": _CONTAINER,
                    "requests": {"type": "dict"},
                    "limits": {"type": "dict"},
                },
            },
            "env": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "container": _CONTAINER,
                    "variables": {"type": "list", "elements": "dict", "required": True},
                },
            },
        },
    },
    "gateway": {
        "type": "dict",
        "default": {},
        "options": {
            "service_type": {
                "type": "str",
                "choices": ["LoadBalancer", "NodePort", "ClusterIP"],
                "default": "LoadBalancer",
            },
            "node_port": {"type": "int"},
            "annotations": {"type": "dict", "default": {}},
        },
    },
}


def wish(params: dict[str, Any]) -> Wish:
    """The options, checked."""
    versions = {
        name: Version.parse(params[f"{name}_version"], f"{name}_version") for name in PROJECTS
    }
    return Wish(
        components=params["components"],
        versions=versions,
        source=Source(params["mirror"], params["folder"] or "", params["checksums"]),
        adopt=params["adopt"],
        config=params["config"],
        workloads=params["workloads"],
        gateway=params["gateway"],
    )


def bundle(run: Run) -> dict[str, Any]:
    """The plan as results."""
    made = plan(connect(run), wish(run.params))
    return {
        "changed": False,
        "urls": made.install.urls,
        "files": made.install.paths,
        "patches": made.patches,
        "supplements": made.supplements,
        "wait_conditions": list(SILENT),
        "post_install_urls": made.post_install.urls,
        "post_install_files": made.post_install.paths,
        "installed": made.installed,
        "takes_over": made.takes_over,
        "prometheus": made.prometheus,
    }


TASK = Task(bundle, {**CONNECTION, **OPTIONS})


def main() -> None:
    """Entry point."""
    TASK.main()


if __name__ == "__main__":
    main()
