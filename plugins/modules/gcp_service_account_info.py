#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Read Google service accounts."""

from __future__ import annotations

DOCUMENTATION = """
module: gcp_service_account_info
short_description: Read Google service accounts
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Reads service accounts of a project, and who may act as them.
extends_documentation_fragment:
  - streamops.knative.google
  - streamops.knative.attributes
  - streamops.knative.attributes.info_module
options:
  names:
    description: The parts of the e-mail addresses before the C(@). Without it all of the project are read.
    type: list
    elements: str
    aliases: [name]
seealso:
  - module: streamops.knative.gcp_service_account
"""

EXAMPLES = """
- name: See who may act as the workloads' account
  streamops.knative.gcp_service_account_info:
    project: my-project
    name: producer
  register: found
"""

RETURN = """
service_accounts:
  description: The accounts as the API describes them; those that do not exist are left out.
  returned: always
  type: list
  elements: dict
  contains:
    email:
      description: The e-mail address.
      type: str
      returned: always
    bindings:
      description: Who has which role on the account itself.
      type: list
      elements: dict
      returned: always
"""

from typing import Any

from ..module_utils._google import policy as policies
from ..module_utils._google import service_account as accounts
from ..module_utils._google.session import Session
from ..module_utils._google.task import query_task
from ..module_utils._module.parallel import in_parallel


def query(session: Session, params: dict[str, Any]) -> dict[str, Any]:
    """Return the accounts."""
    if params["names"] is None:
        path = f"v1/projects/{session.project}/serviceAccounts"
        found = list(session.pages("iam", path, "accounts"))
    else:
        paths = [accounts.path(session, name) for name in params["names"]]
        read = in_parallel(lambda path: session.find("iam", path), paths)
        found = [account for account in read if account]

    def described(account: dict[str, Any]) -> dict[str, Any]:
        policy = policies.Policy.of(session, {"service_account": account["email"]})
        return {**account, "bindings": policy.read().get("bindings", [])}

    return {"service_accounts": in_parallel(described, found)}


TASK = query_task(query, DOCUMENTATION)
main = TASK.main

if __name__ == "__main__":
    main()
