#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Read GKE clusters."""

from __future__ import annotations

DOCUMENTATION = """
module: gke_cluster_info
short_description: Read GKE clusters
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Reads one cluster, or all of a location or project.
extends_documentation_fragment:
  - streamops.knative.google
  - streamops.knative.attributes
  - streamops.knative.attributes.info_module
options:
  name:
    description: Name of the cluster. Without it all are read.
    type: str
  location:
    description: Region or zone; C(-) means all of them.
    type: str
    default: "-"
seealso:
  - module: streamops.knative.gke_cluster
"""

EXAMPLES = """
- name: Read all clusters of a project
  streamops.knative.gke_cluster_info:
    project: my-project
  register: found
"""

RETURN = """
clusters:
  description: The clusters as the API describes them; none where there is none of that name.
  returned: always
  type: list
  elements: dict
"""

from typing import Any

from ..module_utils._google.gke.cluster import Clusters, trimmed
from ..module_utils._google.gke.settings import check_name
from ..module_utils._google.session import Session
from ..module_utils._google.task import GcpTask


def query(session: Session, params: dict[str, Any]) -> dict[str, Any]:
    """The clusters."""
    clusters = Clusters(session, params["location"], wait_timeout=0)
    name = params["name"]
    if name and params["location"] != "-":
        check_name(name, params["location"])
        found = clusters.find(name)
        return {"clusters": [trimmed(found)] if found else []}
    return {"clusters": [trimmed(c) for c in clusters.all() if name in (None, c["name"])]}


TASK = GcpTask(
    query=query,
    options={
        "name": {"type": "str"},
        "location": {"type": "str", "default": "-"},
    },
)


def main() -> None:
    """Entry point."""
    TASK.main()


if __name__ == "__main__":
    main()
