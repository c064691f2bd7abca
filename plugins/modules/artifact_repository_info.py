#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Read Artifact Registry repositories."""

from __future__ import annotations

DOCUMENTATION = """
module: artifact_repository_info
short_description: Read Artifact Registry repositories
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Reads one repository, or all of a location.
extends_documentation_fragment:
  - streamops.knative.google
  - streamops.knative.attributes
  - streamops.knative.attributes.info_module
options:
  name:
    description: Name of the repository. Without it all of the location are read.
    type: str
  location:
    description: Location of the repositories.
    type: str
    required: true
seealso:
  - module: streamops.knative.artifact_repository
"""

EXAMPLES = """
- name: Read the repositories of a region
  streamops.knative.artifact_repository_info:
    project: my-project
    location: europe-west1
  register: found
"""

RETURN = """
repositories:
  description: The repositories as the API describes them; none where there is none of that name.
  returned: always
  type: list
  elements: dict
"""

from typing import Any

from ..module_utils._google.session import Session
from ..module_utils._google.task import query_task


def query(session: Session, params: dict[str, Any]) -> dict[str, Any]:
    """Return the repositories."""
    parent = f"v1/projects/{session.project}/locations/{params['location']}/repositories"
    if not params["name"]:
        return {"repositories": list(session.pages("artifactregistry", parent, "repositories"))}
    found = session.find("artifactregistry", f"{parent}/{params['name']}")
    return {"repositories": [found] if found else []}


TASK = query_task(query, DOCUMENTATION)
main = TASK.main

if __name__ == "__main__":
    main()
