#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: summary
short_description: Show what a cluster has, where to look, and what to run next
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Reads what M(streamops.knative.knative_info) reads, and returns it with what the run knows of the pipelines.
  - Shows it as a text, at any verbosity; with a stdout callback other than C(default) as C(msg) of the result.
  - The commands it returns are right for the folder, the inventory and the playbook of this run.
  - In check mode the cluster is not read, and only the changes are returned.
extends_documentation_fragment:
  - streamops.knative.kubernetes
  - streamops.knative.attributes
  - streamops.knative.attributes.info_module
options:
  template:
    description: Path of the template of the text, which gets RV(summary) as C(found).
    type: str
    required: true
  pipelines:
    description: The pipelines, as P(streamops.knative.role_variables#lookup) returns those of C(twitter_pipeline).
    type: list
    elements: dict
    default: []
  probes:
    description: Results of M(streamops.knative.event_probe).
    type: list
    elements: dict
    default: []
  images:
    description: The images that run, by what they are for.
    type: dict
    default: {}
  changes:
    description: What the run has changed, as P(streamops.knative.changes#filter) returns it.
    type: list
    elements: str
    default: []
  gateway:
    description: As O(streamops.knative.knative_info#module:gateway).
    type: str
    choices: [load_balancer, node_port, none]
    default: load_balancer
  gateway_address:
    description: As O(streamops.knative.knative_info#module:gateway_address).
    type: str
  gateway_port:
    description: As O(streamops.knative.knative_info#module:gateway_port).
    type: int
  services_namespaces:
    description: As O(streamops.knative.knative_info#module:services_namespaces).
    type: list
    elements: str
    default: []
  services:
    description: As O(streamops.knative.knative_info#module:services), to find the viewers.
    type: str
seealso:
  - module: streamops.knative.knative_info
"""

EXAMPLES = r"""
- name: Read what exists
  streamops.knative.summary:
    template: summary.txt.j2
    services: app.kubernetes.io/name=event-viewer
    pipelines: "{{ lookup('streamops.knative.role_variables', 'twitter_pipeline').pipelines }}"
  register: site

- name: Show where the viewers are
  ansible.builtin.debug:
    msg: "{{ site.summary.viewers | map(attribute='url') }}"
"""

RETURN = r"""
summary:
  description: What exists. In check mode C(changes) only.
  returned: success
  type: dict
  contains:
    changes:
      description: What was changed, or in check mode would be.
      type: list
      elements: str
    viewers:
      description: Viewers with C(namespace), C(name), C(url) and, within the cluster, the command C(forward).
      type: list
      elements: dict
    events:
      description: Number of events in the fullest viewer; null where no probe was sent.
      type: int
    pipelines:
      description: Pipelines with C(namespace), C(name) and their C(path).
      type: list
      elements: dict
    probes:
      description: For each probe its C(path), how many C(seconds) it took, and what is wrong with its C(source).
      type: list
      elements: dict
    kubeconfig:
      description: Path of the kubeconfig; null where another kind of login was given.
      type: str
    versions:
      description: Versions of Kubernetes and of Knative's projects.
      type: dict
    images:
      description: The images, as given.
      type: dict
    commands:
      description: Commands by what they do; C(look), C(verify), C(site) and C(teardown).
      type: dict
"""
