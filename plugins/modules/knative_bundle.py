#!/usr/bin/python
# Copyright: the streamops.knative contributors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

"""Collect a release of Knative, with all its images, into one file."""

from __future__ import annotations

DOCUMENTATION = r"""
module: knative_bundle
short_description: Collect a release of Knative with all its images into one file
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Fetches the release files of the chosen components and every image that they name, in containers, environment
    variables and ConfigMaps, and writes them into one archive, an OCI image layout, for
    M(streamops.knative.knative_bundle_push) on the other side. No container engine, no root.
  - Every image is taken by its digest; a tag is resolved once, when the bundle is made. The same releases give
    the same bytes.
  - Where signatures are verified (O(verify)), the bundle gets them, with the trust root.
  - An interrupted run leaves C(PATH.part), and the next one goes on there. What is there already, in it or in an
    older bundle at the same path, is verified by its digest and not fetched again. The bundle appears when it is
    complete.
options:
  path:
    description: The file to write, such as V(knative-1.23.tar). Its folder has to exist.
    type: path
    required: true
  components:
    description: >-
      What the bundle is for; V(serving), one ingress of V(kourier), V(net-gateway-api) and V(net-istio), V(hpa),
      V(eventing), V(in-memory-channel), V(mt-channel-broker), V(kafka-controller), V(kafka-broker), V(kafka-channel),
      V(kafka-sink), V(kafka-source), V(rabbitmq-broker). The release of the project of each is required.
    type: list
    elements: str
    required: true
  images:
    description:
      - Images besides those that the releases name, such as an application's, or a base image.
    type: list
    elements: str
    default: []
  platforms:
    description:
      - Platforms that every image is taken for. With an empty list, all that each image has.
      - Of an image that has more platforms, the bundle has the manifest of one, or an index of the chosen ones.
    type: list
    elements: str
    default: [linux/amd64]
  registry_mirrors:
    description:
      - Where images are fetched from instead of their own registry; keys as V(docker.io), values as
        V(mirror.example.com/hub). References in the bundle stay as they are.
    type: dict
    default: {}
  size_limit:
    description: MiB that the bundle may have at most.
    type: float
    default: 20480
  parallel:
    description: How many images or blobs are fetched at a time.
    type: int
    default: 6
  timeout:
    description: Seconds that all of it may take.
    type: float
    default: 3600
  cache_dir:
    description: >-
      Folder for release files that were fetched. The default follows E(XDG_CACHE_HOME).
    type: path
extends_documentation_fragment:
  - streamops.knative.attributes
  - streamops.knative.attributes.changing_module
  - streamops.knative.google
  - streamops.knative.registry.connection
  - streamops.knative.releases
  - streamops.knative.releases.source
  - streamops.knative.signatures
attributes:
  check_mode:
    details: Says what would be fetched, in bytes. Release files and manifests are read, nothing is written.
  diff_mode:
    support: none
    details: RV(images) and RV(fetched) say what the bundle gets.
  idempotent:
    details: A tag that names another image meanwhile changes the bundle.
seealso:
  - module: streamops.knative.knative_bundle_push
  - module: streamops.knative.knative
"""

EXAMPLES = r"""
- name: Collect Serving with Kourier for two platforms
  streamops.knative.knative_bundle:
    path: /srv/knative-1.23.tar
    components: [serving, kourier]
    serving_version: 1.23.0
    kourier_version: 1.23.0
    platforms: [linux/amd64, linux/arm64]
"""

RETURN = r"""
path:
  description: The bundle.
  returned: success
  type: str
size:
  description: Its size in bytes.
  returned: success
  type: int
fetched:
  description: Bytes of blobs that were fetched, or in check mode would be.
  returned: success
  type: int
kept:
  description: Bytes of blobs that were there already.
  returned: success
  type: int
versions:
  description: Releases in it, by project.
  returned: success
  type: dict
  sample: {serving: 1.23.0}
images:
  description: The images in it.
  returned: success
  type: list
  elements: dict
  contains:
    reference:
      description: The reference as it was written.
      type: str
    digest:
      description: Digest of what the bundle has.
      type: str
    source_digest:
      description: Digest that the reference names in its registry.
      type: str
    platforms:
      description: Platforms that the bundle has it for.
      type: list
      elements: str
    size:
      description: Bytes of its manifests and blobs.
      type: int
    used_by:
      description: Objects of the releases that name it; empty for one of O(images).
      type: list
      elements: str
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..module_utils._airgap.collect import Collector, Order
from ..module_utils._airgap.resolve import Resolver
from ..module_utils._airgap.transfer import Transfer
from ..module_utils._knative.releases import SOURCE, VERSIONS, Source, is_upstream, versions
from ..module_utils._knative.signers import SIGNERS
from ..module_utils._kubernetes.download import Downloader, cache_dir
from ..module_utils._module.progress import paced
from ..module_utils._module.task import Run, Task
from ..module_utils._module.text import require_texts
from ..module_utils._oci import trust_root
from ..module_utils._oci.argspec import CONNECTION, SIGNATURES
from ..module_utils._oci.connect import ANONYMOUS, open_repository
from ..module_utils._oci.errors import OptionError
from ..module_utils._oci.platform import Platform
from ..module_utils._oci.verification import Verification


def work(run: Run) -> dict[str, Any]:
    """Make the file hold the releases."""
    params = run.params
    platforms = [Platform.parse(text) for text in params["platforms"]]
    resolver = Resolver(
        lambda reference: open_repository(reference, reference, {**params, **ANONYMOUS}),
        require_texts("registry_mirrors", params["registry_mirrors"], OptionError),
        platforms,
    )
    cache = cache_dir(params["cache_dir"])
    downloader = Downloader(cache, timeout=params["request_timeout"])
    collector = Collector(
        resolver=resolver,
        downloader=downloader,
        transfer=Transfer("fetched", params["timeout"], paced(run.progress)),
        size_limit=params["size_limit"],
        workers=max(1, params["parallel"]),
        check_mode=run.check_mode,
        verification=Verification.of(params, SIGNERS, cache) if verifies(params) else None,
    )
    order = Order(
        components=params["components"],
        versions=versions(params),
        source=Source(params["mirror"], params["folder"] or "", params["checksums"]),
        images=params["images"],
        platforms=platforms,
    )
    path = Path(params["path"]).absolute()
    collected = collector.collect(order, path)
    for warning in downloader.warnings:
        run.warn(warning)
    return {
        "changed": collected.changed,
        "path": str(path),
        "size": collected.size,
        "fetched": collected.fetched,
        "kept": collected.kept,
        "versions": collected.contents.versions,
        "images": [asdict(image) for image in collected.contents.images],
    }


def verifies(params: dict[str, Any]) -> bool:
    """Return whether signatures are verified: by default where the images come straight from upstream."""
    elsewhere = params["folder"] or params["registry_mirrors"]
    is_straight = is_upstream(params["mirror"]) and not elsewhere
    return trust_root.verifies(params["verify"], are_expected=is_straight)


TASK = Task(work, DOCUMENTATION, {**CONNECTION, **SIGNATURES, **VERSIONS, **SOURCE})
main = TASK.main

if __name__ == "__main__":
    main()
