#!/usr/bin/python
# Copyright: the streamops.knative contributors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

"""Say which image a reference names."""

from __future__ import annotations

DOCUMENTATION = """
module: oci_image_info
short_description: Say which image a tag names in a registry
version_added: 1.0.0
description:
  - Asks a registry for an image, without pulling it, so that what a tag names can be deployed by its digest.
options:
  name:
    description: The image, C(REGISTRY/NAME:TAG), or with a digest to see whether it is there.
    type: str
    required: true
extends_documentation_fragment:
  - streamops.knative.attributes
  - streamops.knative.attributes.info_module
  - streamops.knative.google
  - streamops.knative.registry
  - streamops.knative.registry.connection
author:
  - The streamops.knative contributors (@streamops)
"""

EXAMPLES = """
- name: What is deployed as stable
  streamops.knative.oci_image_info:
    name: registry.example.com/team/app:stable
  register: app

- name: Refuse to go on without it
  ansible.builtin.assert:
    that: app.exists
"""

RETURN = """
exists:
  description: Whether there is such an image.
  returned: success
  type: bool
digest:
  description: Digest of its manifest or index; V(null) where there is none.
  returned: success
  type: str
image:
  description: The image by digest; V(null) where there is none.
  returned: success
  type: str
  sample: registry.example.com/team/app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
"""

from typing import Any

from ..module_utils._module.task import Run, Task
from ..module_utils._oci.argspec import REGISTRY
from ..module_utils._oci.connect import open_repository
from ..module_utils._oci.reference import Reference


def work(run: Run) -> dict[str, Any]:
    """Ask the registry."""
    reference = Reference.parse(run.params["name"], "name")
    digest = open_repository(reference, reference, run.params).resolve(reference.target)
    image = f"{reference.repository}@{digest}" if digest else None
    return {"changed": False, "exists": digest is not None, "digest": digest, "image": image}


TASK = Task(work, DOCUMENTATION, REGISTRY)
main = TASK.main

if __name__ == "__main__":
    main()
