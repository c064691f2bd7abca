"""What is attached to an image that was built: a bill of materials for each platform, and signatures."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from .referrers import Artifact, attach, list_referrers
from .registry import Repository
from .sbom import is_bill
from .signatures import ARTIFACT_TYPE
from .signing import SigningKey

Json = dict[str, Any]


def attach_missing(
    repository: Repository,
    bills: Sequence[Artifact],
    key: SigningKey | None,
    images: Sequence[Json],
    *,
    check: bool,
) -> list[Json]:
    """Attach the bills, and signatures of the images (descriptors), that are not there; return them."""
    # One list for both: a bill that is attached in between is not a signature.
    referrers = functools.cache(functools.partial(list_referrers, repository))
    done = []
    for bill in bills:
        value = bill.manifest.value()
        subject = value["subject"]["digest"]
        if not any(map(is_bill, referrers(subject))):
            if not check:
                attach(repository, bill)
            done.append({"type": value["artifactType"], "subject": subject})
    if key is None:
        return done
    for image in images:
        if not key.has_signed(repository, image["digest"], referrers(image["digest"])):
            if not check:
                attach(repository, key.sign(repository, image))
            done.append({"type": ARTIFACT_TYPE, "subject": image["digest"]})
    return done
