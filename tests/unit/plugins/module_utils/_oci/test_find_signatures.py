"""What a registry answers about an image's signatures is bounded, and nonsense in it is not a signature."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.streamops.knative.plugins.module_utils._oci.registry import (
    INDEX_TYPES,
    MANIFEST_TYPES,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.signatures import (
    ARTIFACT_TYPE,
    find_signatures,
)

IMAGE = f"sha256:{'0' * 64}"


class Repository:
    """One that answers every question for a manifest with the same one."""

    def __init__(self, kind: str, layers: Any) -> None:
        self._answer = (json.dumps({"layers": layers}).encode(), IMAGE, kind)
        self.asked = 0

    def manifest(self, _target: str) -> tuple[bytes, str, str]:
        self.asked += 1
        return self._answer


def test_an_index_in_place_of_a_signature_is_none() -> None:
    for layers in (7, "text", {}):
        repository: Any = Repository(INDEX_TYPES[0], layers)
        assert find_signatures(repository, IMAGE, []) == []


def test_of_a_long_list_only_the_beginning_is_read() -> None:
    repository: Any = Repository(MANIFEST_TYPES[0], [])
    listed = [{"artifactType": ARTIFACT_TYPE, "digest": IMAGE}] * 5000
    assert find_signatures(repository, IMAGE, listed) == []
    assert repository.asked == 101
