"""What is attached to an image is looked up with few requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.streamops.knative.plugins.module_utils._oci.attachments import (
    attach_missing,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.sbom import bill_of_materials
from ansible_collections.streamops.knative.plugins.module_utils._oci.signing import SigningKey

IMAGE = {"mediaType": "application/json", "digest": f"sha256:{'0' * 64}", "size": 1}


class Repository:
    """One without anything attached to its images."""

    def __init__(self) -> None:
        self.listed: list[str] = []

    def manifest(self, _target: str) -> None:
        return None

    def referrers(self, digest: str) -> list[Any]:
        self.listed.append(digest)
        return []


def test_bill_and_signature_are_looked_for_in_one_list(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    repository: Any = Repository()
    bill = bill_of_materials("registry/app", IMAGE, "sha256:base", [], 0)
    lacking = attach_missing(repository, [bill], SigningKey(path, ""), [IMAGE], check=True)
    assert len(lacking) == 2
    assert repository.listed == [IMAGE["digest"]]
