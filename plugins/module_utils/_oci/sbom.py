"""An image's software bill of materials: the base and the packages that were put on top of it.

CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/. The same image has the same bill, in every registry.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from .image import CREATED_BY, Document
from .referrers import Artifact

Json = dict[str, Any]
MEDIA_TYPE = "application/vnd.cyclonedx+json"
_MADE_BY = "org.opencontainers.image.vendor"


def bill_of_materials(
    name: str, subject: Json, base: str, packages: Sequence[Mapping[str, str]], epoch: int
) -> Artifact:
    """Return the bill of an image for one platform.

    `subject` is the descriptor of its manifest, `base` the digest of the base's; `packages` have `name`,
    `version`, `sha256` of the wheel and, where it states one, the `license` as an SPDX expression.
    """
    title = name.rpartition("/")[2]
    image = _container(title, subject["digest"])
    components = [_container("base", base), *(_library(package) for package in packages)]
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    value = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, image['bom-ref'])}",
        "version": 1,
        "metadata": {
            "timestamp": created,
            "tools": {"components": [{"type": "application", "name": CREATED_BY}]},
            "component": image,
        },
        "components": components,
        "dependencies": [
            {"ref": image["bom-ref"], "dependsOn": [one["bom-ref"] for one in components]}
        ],
    }
    bill = Document.of(MEDIA_TYPE, value)
    return Artifact.of(
        MEDIA_TYPE,
        subject,
        [bill.descriptor()],
        [bill],
        annotations={"org.opencontainers.image.created": created, _MADE_BY: CREATED_BY},
    )


def is_bill(descriptor: Json) -> bool:
    """Return whether a referrer is a bill of materials that this module has made, whatever wheels it was made from."""
    notes = descriptor.get("annotations") or {}
    return descriptor.get("artifactType") == MEDIA_TYPE and notes.get(_MADE_BY) == CREATED_BY


def _container(name: str, digest: str) -> Json:
    url = f"pkg:oci/{quote(name)}@{quote(digest, safe='')}"
    algorithm, _colon, content = digest.partition(":")
    return {
        "type": "container",
        "bom-ref": url,
        "name": name,
        "version": digest,
        "purl": url,
        "hashes": [{"alg": algorithm.upper().replace("SHA", "SHA-"), "content": content}],
    }


def _library(package: Mapping[str, str]) -> Json:
    url = f"pkg:pypi/{quote(package['name'])}@{quote(package['version'])}"
    stated = package.get("license")
    return {
        "type": "library",
        "bom-ref": url,
        "name": package["name"],
        "version": package["version"],
        "purl": url,
        "hashes": [{"alg": "SHA-256", "content": package["sha256"]}],
        **({"licenses": [{"expression": stated}]} if stated else {}),
    }
