# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Options of every module that talks to a container registry."""

from __future__ import annotations


class ModuleDocFragment:
    """`extends_documentation_fragment: streamops.knative.registry`, and its part `connection`."""

    DOCUMENTATION = r"""
options:
  auth:
    description:
      - Where credentials come from. V(auto) takes O(username) and O(password) where given, the Google options for
        registries of Google Cloud, and a docker configuration otherwise.
      - V(google) takes the Google options whatever the registry is.
    type: str
    choices: [auto, basic, docker, google]
    default: auto
  username:
    description: User for the registry; other registries that are read from have those of O(docker_config).
    type: str
  password:
    description: Password for the registry.
    type: str
"""

    CONNECTION = r"""
options:
  docker_config:
    description:
      - File with credentials, as C(docker login), C(podman login) and C(skopeo login) write it, with credential
        helpers, identity tokens, and keys of a registry or of a namespace in it.
      - "Default: the first of these that has credentials for the registry: E(REGISTRY_AUTH_FILE),
        E(DOCKER_CONFIG)C(/config.json), E(XDG_RUNTIME_DIR)C(/containers/auth.json),
        C(~/.config/containers/auth.json), C(~/.docker/config.json)."
    type: path
  plain_http:
    description: "Speak HTTP without TLS. Default: to registries on this machine."
    type: bool
  validate_certs:
    description: Verify the registries' certificates.
    type: bool
    default: true
  ca_cert:
    description: File with the certificates of authorities to trust, instead of the system's.
    type: path
requirements:
  - urllib3 >= 2
notes:
  - The Google options are used for registries of Google Cloud only.
"""
