#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Read what is in Secret Manager, without values."""

from __future__ import annotations

DOCUMENTATION = """
module: gcp_secret_info
short_description: Read what is in Secret Manager, without values
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Reads secrets, their versions' states and who has which role on them. Values are never read.
extends_documentation_fragment:
  - streamops.knative.google
  - streamops.knative.attributes
  - streamops.knative.attributes.info_module
options:
  names:
    description: Names of the secrets. Without it all of the project are read.
    type: list
    elements: str
    aliases: [name]
  filter:
    description: Secret Manager's own filter, such as C(labels.app=twitter). Only without O(names).
    type: str
seealso:
  - module: streamops.knative.gcp_secret
"""

EXAMPLES = """
- name: See which versions of a secret are in use, and by whom
  streamops.knative.gcp_secret_info:
    project: my-project
    name: twitter-api-key
  register: found
"""

RETURN = """
secrets:
  description: The secrets as the API describes them; those that do not exist are left out.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: The secret's name.
      type: str
      returned: always
      sample: twitter-api-key
    versions:
      description: The versions as the API describes them, newest first.
      type: list
      elements: dict
      returned: always
    bindings:
      description: Who has which role on the secret itself.
      type: list
      elements: dict
      returned: always
"""

from typing import Any

from ..module_utils._google.secret_manager import Secrets, check_name
from ..module_utils._google.session import Session
from ..module_utils._google.task import query_task
from ..module_utils._module.parallel import in_parallel


def query(session: Session, params: dict[str, Any]) -> dict[str, Any]:
    """Return the secrets."""
    secrets = Secrets(session)
    if params["names"]:
        for name in params["names"]:
            check_name(name)
        found = [have.secret for have in secrets.find(params["names"]) if have.secret]
    else:
        path = f"v1/projects/{session.project}/secrets"
        found = list(session.pages("secretmanager", path, "secrets", filter=params["filter"]))

    def described(secret: dict[str, Any]) -> dict[str, Any]:
        name = secret["name"].rpartition("/")[2]
        return {
            **secret,
            "id": name,
            "versions": secrets.versions(name),
            "bindings": secrets.policy(name).get("bindings", []),
        }

    return {"secrets": in_parallel(described, found)}


TASK = query_task(query, DOCUMENTATION, mutually_exclusive=[("names", "filter")])
main = TASK.main

if __name__ == "__main__":
    main()
