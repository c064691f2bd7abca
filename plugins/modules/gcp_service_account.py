#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Keep Google service accounts."""

from __future__ import annotations

DOCUMENTATION = """
module: gcp_service_account
short_description: Keep Google service accounts
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Creates, changes and deletes a service account. What it may do is given by M(streamops.knative.gcp_iam_member).
  - Keys are not made here. Pods need none with Workload Identity.
extends_documentation_fragment:
  - streamops.knative.google
  - streamops.knative.attributes
  - streamops.knative.attributes.changing_module
options:
  name:
    description: The part of the e-mail address before the C(@), 6 to 30 characters.
    type: str
    required: true
  display_name:
    description: Human-readable name. Without it the present one stays.
    type: str
  description:
    description: What the account is for. Without it the one that is there stays.
    type: str
  disabled:
    description: Whether the account is out of use. Without it this stays as it is.
    type: bool
  state:
    description: Whether the account shall exist. The grants of a deleted account have no effect.
    type: str
    choices: [present, absent]
    default: present
  workload_identities:
    description:
      - Kubernetes service accounts of the project's clusters that may act as the account. They are granted
        C(roles/iam.workloadIdentityUser) on it; the grants of others stay.
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
seealso:
  - module: streamops.knative.gcp_service_account_info
  - module: streamops.knative.gcp_iam_member
"""

EXAMPLES = """
- name: An account for the nodes
  streamops.knative.gcp_service_account:
    project: my-project
    name: streamops-nodes
    display_name: Nodes of the cluster streamops
"""

RETURN = """
changes:
  description: What was changed, or in check mode would be, in words.
  returned: always
  type: list
  elements: str
email:
  description: The account's e-mail address.
  returned: always
  type: str
  sample: streamops-nodes@my-project.iam.gserviceaccount.com
unique_id:
  description: The account's number.
  returned: where it exists
  type: str
"""

from typing import Any

from ..module_utils._google import policy as policies
from ..module_utils._google import service_account as accounts
from ..module_utils._google.plan import Plan
from ..module_utils._google.session import Session
from ..module_utils._google.task import plan_task

#: Seconds after which a new account is taken to be known.
KNOWN_WITHIN = 60
WORKLOADS = "roles/iam.workloadIdentityUser"
_FIELDS = {"display_name": "displayName", "description": "description"}


def make_plan(session: Session, params: dict[str, Any]) -> Plan:
    """Return the steps to the desired state."""
    name = params["name"]
    path = accounts.path(session, name)
    parent, email = path.rsplit("/", 1)
    current = session.find("iam", path)
    plan = Plan(before=_shown(current), after=_shown(current), result={"email": email})
    if current:
        plan.result["unique_id"] = current["uniqueId"]
    if params["state"] == "absent":
        plan.after = {}
        if current:
            plan.add(f"delete service account {email}", lambda: session.delete("iam", path))
        return plan
    wanted = {f: params[o] for o, f in _FIELDS.items() if params[o] is not None}
    if current is None:
        body = {"accountId": name, "serviceAccount": wanted}

        def create() -> None:
            plan.result["unique_id"] = session.post("iam", parent, body)["uniqueId"]
            _until_known(session, path)

        plan.after = {"email": email, **wanted}
        plan.add(f"create service account {email}", create)
    else:
        changed = {f: v for f, v in wanted.items() if v != current.get(f, "")}
        if changed:
            patch = {
                "serviceAccount": {**changed, "etag": current["etag"]},
                "updateMask": ",".join(sorted(changed)),
            }
            plan.after.update(changed)
            plan.add(
                f"change {', '.join(sorted(changed))} of {email}",
                lambda: session.patch("iam", path, patch),
            )
    _plan_use(plan, session, path, params["disabled"], current or {})
    if params["workload_identities"]:
        _plan_workloads(plan, session, params["workload_identities"], exists=current is not None)
    return plan


def _plan_use(
    plan: Plan, session: Session, path: str, wanted: bool | None, current: dict[str, Any]
) -> None:
    if wanted is None or wanted == current.get("disabled", False):
        return
    verb = "disable" if wanted else "enable"
    plan.after["disabled"] = wanted
    plan.add(f"{verb} {plan.result['email']}", lambda: session.post("iam", f"{path}:{verb}", {}))


def _plan_workloads(
    plan: Plan, session: Session, identities: list[dict[str, str]], *, exists: bool
) -> None:
    email = plan.result["email"]
    policy = policies.Policy.of(session, {"service_account": email})
    before = policy.read() if exists else {}
    pool = policies.pool_of(session.project_id)
    members = {
        f"serviceAccount:{pool}[{one['namespace']}/{one['service_account']}]" for one in identities
    }
    old = policies.members_of(before, WORKLOADS)
    plan.before, plan.after = {**plan.before, WORKLOADS: sorted(old)}, {**plan.after}
    plan.after[WORKLOADS] = sorted(old | members)
    if members - old:
        plan.add(
            [f"grant {WORKLOADS} to {member} on {email}" for member in sorted(members - old)],
            lambda: policy.change(
                lambda read: policies.changed(read, WORKLOADS, None, add=members), before
            ),
        )


def _until_known(session: Session, path: str) -> None:
    """Wait until grants can name the account: a new one is not known everywhere at once.

    https://cloud.google.com/iam/docs/service-accounts-create: it can take a minute.
    """
    for waited in session.polls(KNOWN_WITHIN):
        if session.find("iam", path) or waited is None:
            return


def _shown(account: dict[str, Any] | None) -> dict[str, Any]:
    names = ("email", "displayName", "description", "disabled")
    return {name: account[name] for name in names if account and account.get(name)}


TASK = plan_task(make_plan, DOCUMENTATION)
main = TASK.main

if __name__ == "__main__":
    main()
