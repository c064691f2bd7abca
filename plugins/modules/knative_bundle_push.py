#!/usr/bin/python
# Copyright: the streamops.knative contributors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

"""Push the images of a bundle to a registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: knative_bundle_push
short_description: Push the images of a bundle of Knative to a registry
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Brings the images of a bundle that M(streamops.knative.knative_bundle) has made into a registry; what is there
    already is not sent. Then returns what M(streamops.knative.knative) needs to install from it, which are the
    folder of the release files, and each image's new name.
  - Verifies the signatures in a bundle that was made with them, without the internet.
  - Refuses a bundle that is damaged, naming each part, or that is of other releases than those given, before anything
    is pushed.
options:
  path:
    description: The bundle.
    type: path
    required: true
  registry:
    description:
      - Registry, and path in it, that the images are pushed below, such as V(registry.example.com/knative). An
        image's own path follows, without its registry.
    type: str
    required: true
  components:
    description: What is going to be installed; a bundle that lacks some of it is refused.
    type: list
    elements: str
    default: []
  parallel:
    description: How many images are pushed at a time.
    type: int
    default: 4
  timeout:
    description: Seconds that all of it may take.
    type: float
    default: 3600
  cache_dir:
    description: >-
      Folder below which the release files are put. The default follows E(XDG_CACHE_HOME).
    type: path
extends_documentation_fragment:
  - streamops.knative.attributes
  - streamops.knative.attributes.changing_module
  - streamops.knative.google
  - streamops.knative.registry
  - streamops.knative.registry.connection
  - streamops.knative.releases
  - streamops.knative.signatures
attributes:
  check_mode:
    details: The registry is asked what it has, the bundle is verified, and the release files are put into the cache.
  diff_mode:
    support: none
    details: RV(pushed) names the images.
seealso:
  - module: streamops.knative.knative_bundle
  - module: streamops.knative.knative
"""

EXAMPLES = r"""
- name: Push the bundle
  streamops.knative.knative_bundle_push:
    path: /srv/knative-1.23.tar
    registry: registry.example.com/knative
    username: robot
    password: "{{ registry_password }}"
  register: bundle

- name: Install from it
  streamops.knative.knative:
    components: "{{ bundle.components }}"
    serving_version: "{{ bundle.versions.serving }}"
    kourier_version: "{{ bundle.versions.kourier }}"
    folder: "{{ bundle.folder }}"
    references: "{{ bundle.images }}"
"""

RETURN = r"""
images:
  description: By the reference of each image as it was written, its name in the registry, with its digest.
  returned: success
  type: dict
  sample:
    docker.io/envoyproxy/envoy:v1.37-latest: >-
      registry.example.com/knative/envoyproxy/envoy@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
folder:
  description: Folder with the release files.
  returned: success
  type: str
components:
  description: Components that the bundle is for.
  returned: success
  type: list
  elements: str
versions:
  description: Releases in the bundle, by project.
  returned: success
  type: dict
  sample: {serving: 1.23.0}
platforms:
  description: Platforms that the bundle is for; empty for all that each image has.
  returned: success
  type: list
  elements: str
verified:
  description: Images, as they are called in the bundle, whose signatures were verified now.
  returned: success
  type: list
  elements: str
pushed:
  description: Images that the registry lacked, by their names there.
  returned: success
  type: list
  elements: str
bytes:
  description: Size of the blobs that the registry lacked.
  returned: success
  type: int
"""

from ..module_utils._airgap.push import push
from ..module_utils._knative.releases import VERSIONS
from ..module_utils._module.task import Task
from ..module_utils._oci.argspec import REGISTRY, SIGNATURES

TASK = Task(
    lambda run: push(run, run.params), DOCUMENTATION, {**REGISTRY, **SIGNATURES, **VERSIONS}
)
main = TASK.main

if __name__ == "__main__":
    main()
