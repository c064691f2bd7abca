#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Read which APIs a Google Cloud project uses."""

from __future__ import annotations

DOCUMENTATION = """
module: gcp_services_info
short_description: Read which APIs a Google Cloud project uses
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Reads the states of the services named, or which services are enabled.
extends_documentation_fragment:
  - streamops.knative.google
  - streamops.knative.attributes
  - streamops.knative.attributes.info_module
options:
  services:
    description: DNS names of services, such as C(container.googleapis.com). Without it all that are enabled are read.
    type: list
    elements: str
seealso:
  - module: streamops.knative.gcp_services
"""

EXAMPLES = """
- name: See which APIs are enabled
  streamops.knative.gcp_services_info:
    project: my-project
  register: found
"""

RETURN = """
project_number:
  description: The project's number; empty where no service is enabled.
  returned: always
  type: str
services:
  description: Whether each service is enabled, by its DNS name.
  returned: always
  type: dict
  sample:
    container.googleapis.com: true
"""

from typing import Any

from ..module_utils._google.services import check_names, enabled, states
from ..module_utils._google.session import Session
from ..module_utils._google.task import query_task


def query(session: Session, params: dict[str, Any]) -> dict[str, Any]:
    """Return the services' states."""
    names = params["services"]
    found = enabled(session) if names is None else states(session, check_names(names))
    return {
        "project_number": next((s.project_number for s in found.values() if s.project_number), ""),
        "services": {name: service.is_enabled for name, service in found.items()},
    }


TASK = query_task(query, DOCUMENTATION)
main = TASK.main

if __name__ == "__main__":
    main()
