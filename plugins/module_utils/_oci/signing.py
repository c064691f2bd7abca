"""Signs images with a key, so that cosign verifies them: `cosign verify --key … --insecure-ignore-tlog`."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import OptionError
from .image import Document
from .referrers import Artifact
from .registry import Repository
from .signatures import (
    ARTIFACT_TYPE,
    PAYLOAD_TYPE,
    SIGNATURE,
    SignatureError,
    check_key,
    find_signatures,
    public_key,
    require_cryptography,
    signature_tag,
)

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
except ImportError:  # require_cryptography reports it
    serialization = None  # type: ignore[assignment]  # stands for the missing library

Json = dict[str, Any]
_OPTION = "signing_key"


class SigningKey:
    """A private key from a PEM file; OptionError where it cannot be used."""

    def __init__(self, path: Path, password: str) -> None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise OptionError(f"{_OPTION}: {path} cannot be read: {error.strerror}") from error
        if b"SIGSTORE PRIVATE KEY" in content or b"COSIGN PRIVATE KEY" in content:
            raise OptionError(
                f"{_OPTION}: {path} is a key in cosign's own format, which only cosign reads. Make one with"
                " 'openssl ecparam -name prime256v1 -genkey -noout', which cosign takes too (cosign"
                " import-key-pair)"
            )
        self._key = self._load(path, content, password)
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        self._public = public_key(self._key.public_key().public_bytes(encoding, form), _OPTION)

    def _load(self, path: Path, content: bytes, password: str) -> Any:
        require_cryptography(_OPTION)
        try:
            return serialization.load_pem_private_key(content, password.encode() or None)
        except TypeError as error:  # encrypted without a password, or the other way round
            said = "needs signing_key_password" if not password else "has no password: leave it out"
            raise OptionError(f"{_OPTION}: {path} {said}") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise OptionError(
                f"{_OPTION}: {path} is not a private key in PEM, or signing_key_password is wrong"
            ) from error

    def has_signed(self, repository: Repository, digest: str, referrers: Sequence[Json]) -> bool:
        """Return whether the repository has a signature of an image with this key."""
        for one in find_signatures(repository, digest, referrers):
            try:
                check_key(self._public, one, digest)
            except SignatureError:
                continue
            return True
        return False

    def sign(self, repository: Repository, subject: Json) -> Artifact:
        """Return the signature of an image, beside those that its tag names already."""
        value = {
            "critical": {
                "identity": {"docker-reference": repository.reference.repository},
                "image": {"docker-manifest-digest": subject["digest"]},
                "type": "cosign container image signature",
            },
            "optional": None,
        }
        payload = Document(PAYLOAD_TYPE, json.dumps(value, separators=(",", ":")).encode())
        notes = {SIGNATURE: base64.b64encode(self._signature(payload.content)).decode()}
        layer = {**payload.descriptor(), "annotations": notes}
        tag = signature_tag(subject["digest"])
        present = repository.manifest(tag)
        others = json.loads(present[0]).get("layers", []) if present else []
        return Artifact.of(
            ARTIFACT_TYPE,
            subject,
            [*others, layer],
            [payload],
            config_type=ARTIFACT_TYPE,
            tag=tag,
        )

    def _signature(self, content: bytes) -> bytes:
        key = self._key
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(content, ec.ECDSA(hashes.SHA256()))
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(content, padding.PKCS1v15(), hashes.SHA256())
        signature: bytes = key.sign(content)
        return signature
