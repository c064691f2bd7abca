#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Enable the APIs that a Google Cloud project uses."""

from __future__ import annotations

DOCUMENTATION = """
module: gcp_services
short_description: Enable the APIs that a Google Cloud project uses
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Enables services of a project, up to 20 with one request, and waits until they are; or disables them.
  - Services that are not named stay as they are.
extends_documentation_fragment:
  - streamops.knative.google
  - streamops.knative.attributes
  - streamops.knative.attributes.changing_module
options:
  services:
    description: DNS names of the services, such as C(container.googleapis.com).
    type: list
    elements: str
    required: true
  state:
    description: Whether they shall be enabled.
    type: str
    choices: [present, absent]
    default: present
  disable_dependent_services:
    description:
      - With O(state=absent), whether services that need these are disabled too. Otherwise that is an error.
      - Which these are is not known before, so check mode does not name them.
    type: bool
    default: false
  wait_timeout:
    description: Seconds to wait for each operation.
    type: int
    default: 300
seealso:
  - module: streamops.knative.gcp_services_info
"""

EXAMPLES = """
- name: Enable what a GKE cluster with secrets needs
  streamops.knative.gcp_services:
    project: my-project
    services:
      - container.googleapis.com
      - secretmanager.googleapis.com
"""

RETURN = """
changes:
  description: What was changed, or in check mode would be, in words.
  returned: always
  type: list
  elements: str
  sample: [enable secretmanager.googleapis.com]
project_number:
  description: The project's number.
  returned: always
  type: str
  sample: "704512398001"
"""

import functools
from typing import Any

from ..module_utils._google.errors import FailedPrecondition
from ..module_utils._google.plan import Plan
from ..module_utils._google.services import check_names, plan_enabling, states
from ..module_utils._google.session import Session
from ..module_utils._google.task import plan_task


def make_plan(session: Session, params: dict[str, Any]) -> Plan:
    """Return the steps to the desired state."""
    services = check_names(params["services"])
    parent = f"projects/{session.project}"
    found = states(session, services)
    enabled = {name for name, service in found.items() if service.is_enabled}
    wanted = params["state"] == "present"
    todo = [name for name in services if (name in enabled) != wanted]
    plan = Plan(
        before={name: "enabled" if name in enabled else "disabled" for name in services},
        after=dict.fromkeys(services, "enabled" if wanted else "disabled"),
        result={"project_number": next((s.project_number for s in found.values()), "")},
    )
    if wanted:
        plan_enabling(plan, session, todo, params["wait_timeout"])
    elif todo:
        plan.add(
            f"disable {', '.join(todo)}",
            functools.partial(_disable_all, session, parent, todo, params),
        )
    return plan


def _disable_all(session: Session, parent: str, names: list[str], params: dict[str, Any]) -> None:
    """Disable services, those that need others of them first; which do, only Google knows."""
    left = list(names)
    while left:
        blocked: list[str] = []
        for name in left:
            try:
                _disable(session, parent, name, params)
            except FailedPrecondition:
                blocked.append(name)
                if len(blocked) == len(left):
                    raise
        left = blocked


def _disable(session: Session, parent: str, name: str, params: dict[str, Any]) -> None:
    operation = session.post(
        "serviceusage",
        f"v1/{parent}/services/{name}:disable",
        {"disableDependentServices": params["disable_dependent_services"]},
    )
    session.wait_lro("serviceusage", operation, params["wait_timeout"])


TASK = plan_task(make_plan, DOCUMENTATION)
main = TASK.main

if __name__ == "__main__":
    main()
