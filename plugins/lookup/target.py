# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""The hosts a playbook of this collection works on."""

from __future__ import annotations

DOCUMENTATION = """
name: target
short_description: The hosts a playbook of this collection works on
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Returns its term, a host pattern, when the inventory has hosts for it, and fails otherwise.
  - A play whose pattern matches nothing ends with exit code 0, as if all were done; used in C(hosts),
    this lookup turns a misspelt or empty group into an error.
options:
  _terms:
    description: One host pattern, as in C(hosts) of a play.
    required: true
    type: list
    elements: str
"""

EXAMPLES = """
- name: Do something on every cluster
  hosts: "{{ lookup('streamops.knative.target', target | default('knative_clusters')) }}"
  gather_facts: false
  tasks: []
"""

RETURN = """
_list:
  description: The pattern, unchanged.
  type: list
  elements: str
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[str]:
        """Return the pattern, or raise AnsibleError naming the groups that do exist."""
        (pattern,) = terms
        variables = variables or {}
        match = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=self._loader)
        if not match.run([pattern], variables=variables):
            raise AnsibleError(
                f"The inventory has no host for '{pattern}'. This playbook works on one host per"
                " cluster; name another group with -e target=GROUP. Groups with hosts:"
                f" {self._known(variables.get('groups', {}))}"
            )
        return [pattern]

    @staticmethod
    def _known(groups: dict[str, list[str]]) -> str:
        names = [f"{name} ({len(hosts)})" for name, hosts in sorted(groups.items()) if hosts]
        return ", ".join(names) or "none; name an inventory with -i"
