#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: summary
short_description: Show what runs on a cluster by a template
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Renders a template with what M(streamops.knative.knative_info) returns, as the variable C(knative), and shows the
    text at any verbosity.
  - In check mode the cluster is not read, and C(knative) is empty.
extends_documentation_fragment:
  - streamops.knative.kubernetes
  - streamops.knative.attributes
  - streamops.knative.attributes.info_module
options:
  template:
    description: Path of the template, as M(ansible.builtin.template) finds it.
    type: str
    required: true
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
    description: As O(streamops.knative.knative_info#module:services).
    type: str
seealso:
  - module: streamops.knative.knative_info
"""

EXAMPLES = r"""
- name: Show where the shop is
  streamops.knative.summary:
    template: shop.txt.j2
    services: app=shop
"""

RETURN = r"""
msg:
  description: The rendered template.
  returned: success
  type: str
"""
