#!/usr/bin/python
# Copyright: the streamops.knative contributors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

"""Build an image from a Python application and push it, without daemon or root."""

from __future__ import annotations

DOCUMENTATION = """
module: oci_image
short_description: Build a container image from a Python application and push it, without Docker
version_added: 1.0.0
description:
  - Puts a layer with the application's dependencies (wheels for the image's platform and Python) and one with
    the application on a base image, and pushes what the registry lacks. No daemon, no root, no C(RUN).
  - The same input gives the same image on every machine and in every folder. Layers hold no times, owners or
    bytecode; an image that the registry has already, however it was compressed, is left alone.
  - The base's layers are mounted across repositories of a registry; only where the base is in another registry
    and the layers are not yet in this one, they are copied.
  - Which files of O(path) go into the image is said by its C(.containerignore) or C(.dockerignore), the same
    that C(docker build) and C(buildah build) follow.
options:
  name:
    description: The repository to push to, C(REGISTRY/NAME), without tag.
    type: str
    required: true
  tags:
    description: Tags that shall name the image.
    type: list
    elements: str
    default: [latest]
  path:
    description: The application's folder.
    type: path
    required: true
  base:
    description:
      - The base image, best with its digest. It has to bring Python.
      - With a tag only, the registry is asked each time what it names.
    type: str
    required: true
  copy:
    description:
      - Further files and folders that go into the image beside the application, as C(COPY) in a Containerfile.
      - A folder's own C(.containerignore) or C(.dockerignore) says which of its files are left out.
    type: list
    elements: dict
    default: []
    suboptions:
      src:
        description: A file or folder.
        type: path
        required: true
      dest:
        description: Its absolute path in the image.
        type: str
        required: true
  requirements:
    description:
      - Requirement files of the dependencies, relative to O(path). Only wheels are installed. Hashes are verified.
      - Indexes, find-links and the cache are those of pip's own configuration.
      - "Default: C(requirements.txt), if O(path) has one."
    type: list
    elements: str
  constraints:
    description:
      - Constraint files, relative to O(path). Pin everything for images that can be built again.
      - "Default: C(constraints.txt), if O(path) has one."
    type: list
    elements: str
  platforms:
    description:
      - Platforms such as V(linux/amd64). With several, an index of several images is pushed.
      - "Default: what the base is for; V(linux/amd64) if it is for several."
    type: list
    elements: str
    default: []
  python_version:
    description:
      - The image's Python, which wheels are chosen for.
      - "Default: C(PYTHON_VERSION) of the base's environment, as Docker's official python images have it."
    type: str
  wheel_platforms:
    description:
      - Platform tags of wheels to accept, for a base that is not glibc 2.28 or newer, such as
        V(musllinux_1_2_x86_64).
    type: list
    elements: str
    default: []
  app_path:
    description: Where the application is in the image. It is put on C(PYTHONPATH).
    type: str
    default: /app
  dependencies_path:
    description:
      - Where the dependencies are in the image. It is put on C(PYTHONPATH), its C(bin) on C(PATH).
    type: str
    default: /opt/python
  entrypoint:
    description: "The program. Default: the base's."
    type: list
    elements: str
  command:
    description: "Its arguments. Default: the base's, none with O(entrypoint)."
    type: list
    elements: str
  env:
    description: Environment variables beside the base's.
    type: dict
    default: {}
  user:
    description: User, or UID:GID, to run as.
    type: str
    default: 65532:65532
  workdir:
    description: "Working directory. Default: O(app_path)."
    type: str
  ports:
    description: Ports that the program listens on, such as V(8080) or V(53/udp).
    type: list
    elements: str
    default: []
  stop_signal:
    description: "Signal that ends the program. Default: the base's."
    type: str
  labels:
    description: Labels of the image's configuration.
    type: dict
    default: {}
  annotations:
    description:
      - Annotations of the manifest (and index), such as C(org.opencontainers.image.source).
      - C(org.opencontainers.image.base.digest) is there by itself; so is C(org.opencontainers.image.revision), the
        newest commit that changed something in O(path), where all of it is committed. An image that has the same
        content as an earlier commit is left as it is.
    type: dict
    default: {}
  source_date_epoch:
    description:
      - Seconds since 1970 that the image states as its time of creation. Default is E(SOURCE_DATE_EPOCH), else 0.
    type: int
  sbom:
    description:
      - Whether a bill of materials (CycloneDX) is attached to the image of each platform, as a referrer of OCI 1.1.
        It names the base, and every wheel with its digest.
    type: bool
    default: true
  signing_key:
    description:
      - File with a private key in PEM. With it the image, and that of each platform, are signed, in the form that
        C(cosign verify --key) takes. The signature is a referrer, and under the tag that cosign looks for.
      - An image that the key has signed already is not signed again.
    type: path
  signing_key_password:
    description: Password of O(signing_key).
    type: str
  compression:
    description:
      - How layers are packed. The bytes that V(gzip) gives are the same wherever zlib is (zlib-ng packs
        differently; images are compared unpacked, so nothing is pushed again for that). Those of V(none) are the
        same everywhere.
    type: str
    choices: [gzip, none]
    default: gzip
  allow_secrets:
    description: Patterns of files (relative to O(path)) that may go into the image although they look like secrets.
    type: list
    elements: str
    default: []
  cache:
    description:
      - Folder that keeps dependency layers and base manifests between runs. Default is C($ANSIBLE_HOME/oci_image),
        else C(streamops.knative/oci_image) in the user's cache (E(XDG_CACHE_HOME)) or, where that cannot be written,
        among the temporary files. What was not used for a month is removed.
    type: path
  pip_timeout:
    description: Seconds that pip may take to download the dependencies.
    type: float
    default: 600
extends_documentation_fragment:
  - streamops.knative.attributes
  - streamops.knative.attributes.changing_module
  - streamops.knative.google
  - streamops.knative.registry
  - streamops.knative.registry.connection
attributes:
  check_mode:
    details: The layers are built (dependencies may be downloaded into the cache), nothing is pushed.
  diff_mode:
    details: Compares settings, dependencies with their versions, and files by digest.
requirements:
  - packaging
  - pip
  - cryptography, with O(signing_key)
seealso:
  - name: Image format specification
    description: What is built.
    link: https://github.com/opencontainers/image-spec
author:
  - The streamops.knative contributors (@streamops)
"""

EXAMPLES = """
- name: The viewer, in Artifact Registry
  streamops.knative.oci_image:
    name: europe-west1-docker.pkg.dev/my-project/apps/event-viewer
    tags: [latest, "1.4.0"]
    path: apps/event-viewer
    base: docker.io/library/python:3.13-slim@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    entrypoint: [python3, -m, event_viewer]
    ports: ["8080"]
    annotations:
      org.opencontainers.image.source: https://github.com/streamops/knative
      org.opencontainers.image.revision: "{{ lookup('ansible.builtin.pipe', 'git rev-parse HEAD') }}"
  register: viewer

- name: Deploy exactly that
  ansible.builtin.debug:
    var: viewer.image

- name: For two platforms, on Alpine
  streamops.knative.oci_image:
    name: registry.example.com/team/app
    path: app
    base: docker.io/library/python:3.13-alpine
    platforms: [linux/amd64, linux/arm64]
    wheel_platforms: [musllinux_1_2_x86_64, musllinux_1_2_aarch64]
    entrypoint: [python3, -m, app]
    username: robot
    password: "{{ registry_password }}"
"""

RETURN = """
image:
  description: The image by digest, for manifests. In check mode, the one that would be pushed.
  returned: success
  type: str
  sample: registry.example.com/team/app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
digest:
  description: Digest of the manifest, or of the index with several platforms.
  returned: success
  type: str
tags:
  description: The image by its tags.
  returned: success
  type: list
  elements: str
base_digest:
  description: Digest of the base image.
  returned: success
  type: str
platforms:
  description: Platforms that the image is for.
  returned: success
  type: list
  elements: str
  sample: [linux/amd64]
size:
  description: Bytes of the layers that were added to the base, as they are in the registry.
  returned: success
  type: int
attached:
  description: What was attached to the image, or in check mode would be.
  returned: success
  type: list
  elements: dict
  contains:
    type:
      description: Type of the artifact.
      type: str
      sample: application/vnd.cyclonedx+json
    subject:
      description: Digest of the image, or of that of one platform.
      type: str
pushed:
  description: What was sent.
  returned: success
  type: dict
  contains:
    uploaded:
      description: Digests of blobs that were uploaded.
      type: list
      elements: str
    mounted:
      description: Digests of the base's layers that were mounted from its repository.
      type: list
      elements: str
    copied:
      description: Digests of the base's layers that were copied from its registry.
      type: list
      elements: str
    bytes:
      description: Size of what was uploaded and copied.
      type: int
"""

from typing import Any

from ..module_utils._module.task import Run, Task
from ..module_utils._oci.argspec import REGISTRY
from ..module_utils._oci.image_run import run as make


def work(run: Run) -> dict[str, Any]:
    """Make the registry hold the image."""
    result = make(run.params, check=run.check_mode, diff=run.diff, progress=run.progress)
    for warning in result.pop("warnings"):
        run.warn(warning)
    return result


TASK = Task(
    work,
    DOCUMENTATION,
    REGISTRY,
    {
        "signing_key": {"no_log": False},  # a path
        "signing_key_password": {"no_log": True},
        "allow_secrets": {"no_log": False},  # patterns of file names
    },
)
main = TASK.main

if __name__ == "__main__":
    main()
