# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""The filter streamops.knative.egress."""

from __future__ import annotations

DOCUMENTATION = """
name: egress
short_description: Make the egress rules of a NetworkPolicy from URLs
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Used by the role P(streamops.knative.twitter_pipeline#role) to let its pods reach what they need and nothing else.
options:
  _input:
    description:
      - URLs that the pods shall reach. One of a Kubernetes Service opens its namespace and Knative's, any other its
        port; V(*) opens everything.
    type: list
    elements: str
    required: true
  namespaces:
    description: Further namespaces.
    type: list
    elements: str
    default: []
  ports:
    description: Further TCP ports.
    type: list
    elements: int
    default: []
"""

EXAMPLES = """
- name: Show the rules for a pod that talks to an HTTPS API and to a Service
  ansible.builtin.debug:
    msg: "{{ ['https://api.example.com', 'http://sink.events.svc.cluster.local'] | streamops.knative.egress }}"
"""

RETURN = """
_value:
  description: Rules as in C(spec.egress) of a NetworkPolicy, with one for DNS.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ..module_utils._pipelines.egress import egress


class FilterModule:
    """See DOCUMENTATION."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"egress": egress}
