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
  - Returns its term, a host pattern, when the inventory and C(--limit) leave hosts for it, and fails otherwise.
  - A play whose pattern matches nothing ends with exit code 0, as if all were done; used in C(hosts),
    this lookup turns a misspelt or empty group into an error.
  - With C(--syntax-check), C(--list-tasks) and C(--list-tags) nothing is checked, since those need no inventory.
options:
  _terms:
    description: One host pattern, as in C(hosts) of a play.
    required: true
    type: list
    elements: str
  canary:
    description: A host of the pattern that comes before all others, so that with C(serial) it can be the first batch.
    type: str
    default: ""
  batch:
    description:
      - How many hosts are worked on at a time, to be checked only; a number, a percentage, or several of
        them for batch after batch, separated by commas.
    type: str
    default: ""
"""

EXAMPLES = """
- name: Do something on every cluster
  hosts: "{{ lookup('streamops.knative.target', target | default('knative_clusters')) }}"
  gather_facts: false
  tasks: []
"""

RETURN = """
_list:
  description: The pattern, unchanged; preceded by the canary where there is one.
  type: list
  elements: str
"""

import re
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.plugins.lookup import LookupBase

_WITHOUT_INVENTORY = ("syntax", "listtasks", "listtags")
_BATCH = re.compile(r"[1-9][0-9]*%?(,[1-9][0-9]*%?)*")


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[str]:
        """Return the pattern, or raise AnsibleError with what to name instead."""
        (pattern,) = terms
        canary, batch = str(kwargs.get("canary") or ""), str(kwargs.get("batch") or "")
        if batch and not _BATCH.fullmatch(batch):
            raise AnsibleError(
                f"batch={batch} is not a valid number of clusters: give a number, a percentage, or several of them,"
                " for example -e batch=2, -e batch=25% or -e batch=1,50%"
            )
        if not any(context.CLIARGS.get(name) for name in _WITHOUT_INVENTORY):
            self._check(pattern, canary, variables or {})
        return [f"{canary}{',' if ',' in pattern else ':'}{pattern}" if canary else pattern]

    def _check(self, pattern: str, canary: str, variables: dict[str, Any]) -> None:
        groups, limit = variables.get("groups", {}), variables.get("ansible_limit")
        inventory = InventoryManager(self._loader, parse=False)
        for group, hosts in groups.items():
            inventory.add_group(group)
            for host in hosts:
                inventory.add_host(host, group=group)
        chosen = [host.name for host in inventory.get_hosts(pattern)]
        if not chosen:
            raise AnsibleError(
                f"The inventory has no host for '{pattern}'. This playbook works on one host per"
                f" cluster; name another group with -e target=GROUP. Groups with hosts: {_known(groups)}"
            )
        inventory.subset(limit)
        limited = [host.name for host in inventory.get_hosts(pattern)]
        if not limited:
            raise AnsibleError(
                f"--limit {limit} leaves no host of '{pattern}': name some of {', '.join(chosen)},"
                " or another group with -e target=GROUP"
            )
        if canary and canary not in limited:
            raise AnsibleError(
                f"canary={canary} is not one of the hosts of this run: name one of {', '.join(limited)}"
            )


def _known(groups: dict[str, list[str]]) -> str:
    names = [f"{name} ({len(hosts)})" for name, hosts in sorted(groups.items()) if hosts]
    return ", ".join(names) or "none; name an inventory with -i"
