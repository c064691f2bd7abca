# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""The lookup streamops.knative.role_variables."""

from __future__ import annotations

DOCUMENTATION = """
name: role_variables
short_description: Read the variables of a role of this collection as the role uses them
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Returns the variables of a role by their names without the role's prefix; defaults filled in, templated, and
    converted to the types of the role's argument specification. Secrets are left out.
  - Used by the roles where a run has not begun with M(streamops.knative.preflight), as with C(--start-at-task).
options:
  _terms:
    description: The role.
    required: true
    type: list
    elements: str
"""

EXAMPLES = """
- name: Show the pipelines in full
  ansible.builtin.debug:
    msg: "{{ lookup('streamops.knative.role_variables', 'twitter_pipeline').pipelines }}"
"""

RETURN = """
_list:
  description: One mapping a role.
  type: list
  elements: dict
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ..plugin_utils._role_reader import RoleReader


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """Return the variables, or raise AnsibleError with all problems."""
        found = []
        for role in terms:
            templar = self._templar.copy_with_new_env()
            reading = RoleReader(templar, self._loader, dict(variables or {})).read(role)
            if reading.problems:
                lines = "\n".join(f"- {line}" for line in reading.problems)
                raise AnsibleError(f"Variables to correct:\n{lines}")
            found.append(reading.published)
        return found
