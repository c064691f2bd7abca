#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Read who has which role."""

from __future__ import annotations

DOCUMENTATION = """
module: gcp_iam_policy_info
short_description: Read who has which role
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Reads the allow policy of a project, a secret, a service account or an Artifact Registry repository, conditions
    included. What is inherited from a folder or the organization is not in it.
extends_documentation_fragment:
  - streamops.knative.google
  - streamops.knative.attributes
  - streamops.knative.attributes.info_module
options:
  secret:
    description: Name of a secret of O(project). Without this, O(service_account) and O(repository) the project itself.
    type: str
  service_account:
    description: E-mail address of a service account of O(project).
    type: str
  repository:
    description: Name of an Artifact Registry repository of O(project) in O(location).
    type: str
  location:
    description: Location of O(repository).
    type: str
seealso:
  - module: streamops.knative.gcp_iam_member
"""

EXAMPLES = """
- name: See who can read a secret
  streamops.knative.gcp_iam_policy_info:
    project: my-project
    secret: twitter-api-key
  register: found
"""

RETURN = """
bindings:
  description: The bindings as the API describes them, each with its role, members and, where there is one, condition.
  returned: always
  type: list
  elements: dict
"""

from typing import Any

from ..module_utils._google import policy as policies
from ..module_utils._google.session import Session
from ..module_utils._google.task import query_task


def query(session: Session, params: dict[str, Any]) -> dict[str, Any]:
    """Return the policy."""
    return {"bindings": policies.Policy.of(session, params).read().get("bindings", [])}


TASK = query_task(query, DOCUMENTATION, policies.SECRET, **policies.ONE_RESOURCE)
main = TASK.main

if __name__ == "__main__":
    main()
