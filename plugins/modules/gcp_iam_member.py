#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Grant and revoke IAM roles."""

from __future__ import annotations

DOCUMENTATION = """
module: gcp_iam_member
short_description: Grant and revoke IAM roles
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Adds members to roles on a project, a secret, a service account or an Artifact Registry repository, or takes them
    out.
  - What others granted stays, conditions included. The policy is written with its etag, and read again where it was
    modified concurrently.
extends_documentation_fragment:
  - streamops.knative.google
  - streamops.knative.attributes
  - streamops.knative.attributes.changing_module
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
  roles:
    description: The roles, such as C(roles/secretmanager.secretAccessor).
    type: list
    elements: str
    required: true
    aliases: [role]
  members:
    description: The members, such as C(serviceAccount:…), C(user:…), C(group:…), C(principal://…).
    type: list
    elements: str
    aliases: [member]
    default: []
  workload_identities:
    description: Kubernetes service accounts as members.
    type: list
    elements: dict
    default: []
    suboptions:
      namespace:
        description: Namespace of the Kubernetes service account.
        type: str
        required: true
      service_account:
        description: Name of the Kubernetes service account.
        type: str
        required: true
      pool:
        description: The cluster's workload pool. Without it C(PROJECT.svc.id.goog).
        type: str
      pool_project:
        description: Project of the cluster (ID or number), where it is not O(project).
        type: str
  condition:
    description: Only under this condition. The same role under another condition, or none, is another grant.
    type: dict
    suboptions:
      title:
        description: Short name of the condition.
        type: str
        required: true
      expression:
        description: Expression in the Common Expression Language.
        type: str
        required: true
      description:
        description: What it is for.
        type: str
  state:
    description: Whether the members shall have the roles.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: streamops.knative.gcp_iam_policy_info
"""

EXAMPLES = """
- name: Let the nodes pull images
  streamops.knative.gcp_iam_member:
    project: my-project
    repository: streamops
    location: europe-west1
    role: roles/artifactregistry.reader
    member: serviceAccount:nodes@my-project.iam.gserviceaccount.com

- name: Let pods act as a Google service account
  streamops.knative.gcp_iam_member:
    project: my-project
    service_account: producer@my-project.iam.gserviceaccount.com
    role: roles/iam.workloadIdentityUser
    member: serviceAccount:my-project.svc.id.goog[streamops/twitter-producer]
"""

RETURN = """
changes:
  description: What was changed, or in check mode would be, in words.
  returned: always
  type: list
  elements: str
"""

import functools
import re
from typing import Any

from ..module_utils._google import policy as policies
from ..module_utils._google.errors import ConfigError
from ..module_utils._google.plan import Plan
from ..module_utils._google.session import Session
from ..module_utils._google.task import plan_task

_ROLE = re.compile(r"(roles|projects/[^/]+/roles|organizations/\d+/roles)/[\w.]+")


def make_plan(session: Session, params: dict[str, Any]) -> Plan:
    """Return the steps to the desired state."""
    _check(params)
    members = policies.check_members("members", params["members"])
    members += _identities(session, params["workload_identities"])
    condition = {k: v for k, v in (params["condition"] or {}).items() if v} or None
    policy = policies.Policy.of(session, params)
    change = functools.partial(
        _changed, roles=params["roles"], condition=condition, members=members, state=params["state"]
    )
    before = policy.read()
    after = change(before)
    plan = Plan()
    words: list[str] = []
    for role in params["roles"]:
        old = policies.members_of(before, role, condition)
        new = policies.members_of(after, role, condition)
        plan.before[role], plan.after[role] = sorted(old), sorted(new)
        words += [f"grant {role} to {m} on {policy.what}" for m in sorted(new - old)]
        words += [f"revoke {role} from {m} on {policy.what}" for m in sorted(old - new)]
    if words:
        plan.add(words, functools.partial(policy.change, change, before))
    return plan


def _changed(
    policy: dict[str, Any],
    *,
    roles: list[str],
    condition: dict[str, Any] | None,
    members: list[str],
    state: str,
) -> dict[str, Any]:
    for role in roles:
        if state == "present":
            policy = policies.changed(policy, role, condition, add=members)
        else:
            policy = policies.changed(policy, role, condition, remove=members)
    return policy


def _identities(session: Session, identities: list[dict[str, Any]]) -> list[str]:
    members = []
    for identity in identities:
        project = identity["pool_project"] or session.project
        number = policies.project_number(session, project)
        pool = identity["pool"] or policies.pool_of(project)
        members.append(
            policies.principal(number, pool, identity["namespace"], identity["service_account"])
        )
    return members


def _check(params: dict[str, Any]) -> None:
    wrong = [role for role in params["roles"] if not _ROLE.fullmatch(role)]
    if wrong:
        raise ConfigError(
            f"roles: {' and '.join(map(repr, wrong))} is not a valid role, for example roles/viewer or"
            " projects/my-project/roles/mine"
        )
    if not params["roles"]:
        raise ConfigError("roles is empty; give at least one role")
    if not params["members"] and not params["workload_identities"]:
        raise ConfigError("members, workload_identities: both are empty; give at least one member")


TASK = plan_task(make_plan, DOCUMENTATION, policies.SECRET, **policies.ONE_RESOURCE)
main = TASK.main

if __name__ == "__main__":
    main()
