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
  versions:
    description: Whether to read which versions of Kubernetes O(location) offers; it has to be one.
    type: bool
    default: false
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
versions:
  description: Versions of Kubernetes by release channel, the one that new clusters get first.
  returned: with O(versions)
  type: dict
  sample: {STABLE: [1.34.6-gke.1300, 1.33.9-gke.1100]}
"""

from typing import Any

from ..module_utils._google.errors import ConfigError
from ..module_utils._google.gke.cluster import Clusters, trimmed
from ..module_utils._google.gke.settings import check_name
from ..module_utils._google.gke.versions import channels
from ..module_utils._google.session import Session
from ..module_utils._google.task import query_task


def query(session: Session, params: dict[str, Any]) -> dict[str, Any]:
    """Return the clusters."""
    clusters = Clusters(session, params["location"], wait_timeout=0)
    name, offered = params["name"], {}
    if params["versions"]:
        if params["location"] == "-":
            raise ConfigError("versions: they are those of one location: set location as well")
        offered = {"versions": channels(clusters.server_config())}
    if name and params["location"] != "-":
        check_name(name, params["location"])
        found = clusters.find(name)
        return {"clusters": [trimmed(found)] if found else [], **offered}
    every = [trimmed(c) for c in clusters.all() if name in (None, c["name"])]
    return {"clusters": every, **offered}


TASK = query_task(query, DOCUMENTATION)
main = TASK.main

if __name__ == "__main__":
    main()
