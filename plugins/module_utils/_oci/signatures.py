"""Signatures of images, as cosign stores them beside an image.

Three forms are read: a payload with its signature under the tag `sha256-….sig`, the same as a referrer
(https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md), and a Sigstore bundle with a
statement about the image as a referrer
(https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import OciError, OptionError
from .registry import MANIFEST_TYPES, Repository

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
except ImportError:  # require_cryptography reports it
    serialization = None  # type: ignore[assignment]  # stands for the missing library

Json = dict[str, Any]
PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
ARTIFACT_TYPE = "application/vnd.dev.cosign.artifact.sig.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
_CERTIFICATE = "dev.sigstore.cosign/certificate"
_LOG_ENTRY = "dev.sigstore.cosign/bundle"
_BUNDLE_TYPES = "application/vnd.dev.sigstore.bundle"
_PAYLOAD_KINDS = ("cosign container image signature", "atomic container signature")
_STATEMENT = "application/vnd.in-toto+json"
_SIGNED = "https://sigstore.dev/cosign/sign/v1"
#: An image has one or two; each costs requests.
_MOST = 20
#: Of what refers to an image, those that are read; attestations are listed as signatures are.
_MOST_READ = 100


class SignatureError(OciError):
    """An image is not signed as it has to be."""


@dataclass(frozen=True)
class Signature:
    """One signature of an image.

    `payload` is what is signed, empty where the `bundle` has it. One that was made without a key has a bundle,
    or, until it has been looked up in the transparency log, a `certificate` (PEM) and its `log_entry`.
    """

    payload: bytes = b""
    signature: bytes = b""
    certificate: str = ""
    log_entry: Json | None = None
    bundle: Json | None = None

    def as_dict(self) -> Json:
        """Return it to be stored as JSON."""
        return {
            "payload": base64.b64encode(self.payload).decode(),
            "signature": base64.b64encode(self.signature).decode(),
            "bundle": self.bundle,
        }

    @classmethod
    def from_dict(cls, value: Json) -> Signature:
        """Return one that was stored; ValueError, KeyError or TypeError for what is not one."""
        payload, signature = (
            base64.b64decode(value[key], validate=True) for key in ("payload", "signature")
        )
        bundle = value["bundle"]
        if bundle is not None and not isinstance(bundle, dict):
            raise TypeError("a bundle is a mapping")
        return cls(payload, signature, bundle=bundle)


def signature_tag(digest: str) -> str:
    """Return the tag under which cosign looks for the signatures of an image."""
    return f"{digest.replace(':', '-', 1)}.sig"


def find_signatures(
    repository: Repository, digest: str, referrers: Sequence[Json]
) -> list[Signature]:
    """Return the signatures of an image that its repository has; `referrers` are those that it lists."""
    found = list(_in_manifest(repository, signature_tag(digest)))
    kinds = {ARTIFACT_TYPE: _in_manifest, _BUNDLE_TYPES: _in_bundles}
    listed = [
        (read, entry["digest"])
        for entry in referrers
        for kind, read in kinds.items()
        if str(entry.get("artifactType", "")).startswith(kind)
    ]
    for read, target in listed[:_MOST_READ]:
        if len(found) >= _MOST:
            break
        found += read(repository, target)
    return list({repr(one): one for one in found}.values())[:_MOST]


def _in_manifest(repository: Repository, target: str) -> Iterator[Signature]:
    for layer in _layers(repository, target):
        if layer["mediaType"] != PAYLOAD_TYPE:
            continue
        try:
            notes = layer["annotations"]
            signature = base64.b64decode(notes[SIGNATURE], validate=True)
            certificate = str(notes.get(_CERTIFICATE) or "")
            entry = json.loads(notes[_LOG_ENTRY])["Payload"] if notes.get(_LOG_ENTRY) else None
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        yield Signature(repository.read_blob(layer["digest"]), signature, certificate, entry)


def _in_bundles(repository: Repository, target: str) -> Iterator[Signature]:
    for layer in _layers(repository, target):
        try:
            bundle = json.loads(repository.read_blob(layer["digest"]))
            kind = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))["predicateType"]
        except (ValueError, KeyError, TypeError):
            continue
        if kind == _SIGNED:  # others are attestations
            yield Signature(bundle=bundle)


def _layers(repository: Repository, target: str) -> list[Json]:
    found = repository.manifest(target)
    if found is None or found[2] not in MANIFEST_TYPES:
        return []
    layers: list[Json] = json.loads(found[0]).get("layers", [])[:_MOST]
    return layers


# What a signature is about


def check_payload(payload: bytes, digest: str) -> None:
    """Raise SignatureError for a payload that is not about this image."""
    try:
        critical = json.loads(payload)["critical"]
        kind, signed = critical["type"], critical["image"]["docker-manifest-digest"]
    except (ValueError, KeyError, TypeError) as error:
        raise SignatureError("its payload is not that of an image's signature") from error
    if kind not in _PAYLOAD_KINDS or signed != digest:
        raise SignatureError(f"it is about {signed}")


def check_statement(kind: str, statement: bytes, digest: str) -> None:
    """Raise SignatureError for a statement that is not a signature of this image."""
    try:
        value = json.loads(statement)
        is_signature = kind == _STATEMENT and value["predicateType"] == _SIGNED
        signed = [f"sha256:{one['digest']['sha256']}" for one in value["subject"]]
    except (ValueError, KeyError, TypeError) as error:
        raise SignatureError("its statement is not that of an image's signature") from error
    if not is_signature or digest not in signed:
        raise SignatureError(f"it is about {', '.join(signed)}")


# Keys


def require_cryptography(option: str) -> None:
    """Raise OptionError where the package is missing that reads keys."""
    if serialization is None:
        raise OptionError(
            f"{option}: needs the Python package cryptography: pip install cryptography"
        )


def public_key(content: bytes, option: str) -> Any:
    """Return a public key from PEM; raise OptionError for what is none that images are signed with."""
    require_cryptography(option)
    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise OptionError(
            f"{option}: not a public key in PEM, as 'cosign public-key' and 'openssl pkey -pubout' write it"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        raise OptionError(f"{option}: not a key of ECDSA, RSA or Ed25519")
    return key


def is_signed(key: Any, signature: bytes, content: bytes) -> bool:
    """Return whether content was signed with the private part of a key."""
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, content, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, content, padding.PKCS1v15(), hashes.SHA256())
        else:
            key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def check_key(key: Any, signature: Signature, digest: str) -> None:
    """Raise SignatureError for a signature of an image that was not made with a key."""
    if signature.bundle is None:
        if not is_signed(key, signature.signature, signature.payload):
            raise SignatureError("it was made with another key, or was changed")
        check_payload(signature.payload, digest)
        return
    try:
        envelope = signature.bundle["dsseEnvelope"]
        kind, statement = str(envelope["payloadType"]), base64.b64decode(envelope["payload"])
        signatures = [base64.b64decode(one["sig"]) for one in envelope["signatures"]]
    except (ValueError, KeyError, TypeError) as error:
        raise SignatureError("its bundle is not one of a signature") from error
    # https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(statement), statement)
    if not any(is_signed(key, one, signed) for one in signatures):
        raise SignatureError("it was made with another key, or was changed")
    check_statement(kind, statement, digest)
