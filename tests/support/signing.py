"""A Sigstore of our own: a certificate authority, its log of certificates, and a transparency log.

What it signs is what cosign stores beside an image, with certificates, timestamps and proofs as Fulcio and
Rekor make them.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from support.ports import free_port
from support.registries import serve

from ansible_collections.streamops.knative.plugins.module_utils._oci.image import (
    CONFIG_TYPE,
    MANIFEST_TYPE,
    Document,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.referrers import (
    Artifact,
    attach,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.registry import Repository

Json = dict[str, Any]
IDENTITY = "signer@knative-releases.iam.gserviceaccount.com"
ISSUER = "https://accounts.google.com"
STATEMENT = "application/vnd.in-toto+json"
PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ISSUER_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_HOUR = datetime.timedelta(hours=1)


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def compact(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def der(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.DER, form)


def sign(key: ec.EllipticCurvePrivateKey, content: bytes) -> bytes:
    return key.sign(content, ec.ECDSA(hashes.SHA256()))


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def private_pem(key: ec.EllipticCurvePrivateKey, password: str = "") -> bytes:
    hidden = (
        serialization.BestAvailableEncryption(password.encode())
        if password
        else serialization.NoEncryption()
    )
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, hidden)


def payload_of(digest: str) -> bytes:
    critical = {
        "identity": {"docker-reference": ""},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return compact({"critical": critical, "optional": None})


@dataclass
class Sigstore:
    """The services, with the entries of the log as its API answers them."""

    url: str
    root_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    certificates_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    log_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    bodies: list[tuple[bytes, int]] = field(default_factory=list)
    #: Numbers of entries that the log has lost.
    lost: set[int] = field(default_factory=set)
    asked: int = 0

    def __post_init__(self) -> None:
        self.now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of tests")])
        self.root = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.root_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - 24 * _HOUR)
            .not_valid_after(self.now + 24 * _HOUR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(certificates=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.root_key.public_key()),
                critical=False,
            )
            .sign(self.root_key, hashes.SHA256())
        )

    # The certificate authority

    def certify(
        self, key: ec.EllipticCurvePrivateKey, identity: str, issuer: str
    ) -> x509.Certificate:
        """Return a short-lived certificate that the log of certificates has taken."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - _HOUR / 12)
            .not_valid_after(self.now + _HOUR)
            .add_extension(_usage(certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root_key.public_key()),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(identity)]), critical=True)
            .add_extension(x509.UnrecognizedExtension(_ISSUER_OID, issuer.encode()), critical=False)
        )
        precertificate = builder.sign(self.root_key, hashes.SHA256())
        taken = self._timestamp(precertificate.tbs_certificate_bytes)
        return builder.add_extension(
            x509.UnrecognizedExtension(_SCT_LIST, taken), critical=False
        ).sign(self.root_key, hashes.SHA256())

    def _timestamp(self, precertificate: bytes) -> bytes:
        """Return the list of signed certificate timestamps (RFC 6962, section 3.3)."""
        moment = int(self.now.timestamp() * 1000)
        length = struct.pack("!I", len(precertificate))[1:]
        entry = hashlib.sha256(der(self.root_key)).digest() + length + precertificate
        signed = struct.pack("!BBQH", 0, 0, moment, 1) + entry + struct.pack("!H", 0)
        signature = sign(self.certificates_key, signed)
        log = hashlib.sha256(der(self.certificates_key)).digest()
        head = struct.pack("!B32sQHBBH", 0, log, moment, 0, 4, 3, len(signature))
        one = head + signature
        listed = struct.pack("!HH", len(one) + 2, len(one)) + one
        size = bytes([len(listed)]) if len(listed) < 128 else bytes([0x81, len(listed)])
        return b"\x04" + size + listed  # an OCTET STRING

    # The transparency log

    @property
    def log_id(self) -> bytes:
        return hashlib.sha256(der(self.log_key)).digest()

    def record(self, body: Json) -> int:
        """Add an entry; return its number."""
        self.bodies.append((compact(body), int(self.now.timestamp())))
        return len(self.bodies) - 1

    def entry(self, number: int) -> Json:
        """Return an entry with the log's promise and its proof."""
        body, moment = self.bodies[number]
        found: Json = {
            "body": text(body),
            "integratedTime": moment,
            "logID": self.log_id.hex(),
            "logIndex": number,
        }
        leaves = [hashlib.sha256(b"\x00" + one).digest() for one, _moment in self.bodies]
        root = _tree(leaves)
        note = f"log.test - 1\n{len(leaves)}\n{text(root)}\n"
        signature = text(self.log_id[:4] + sign(self.log_key, note.encode()))
        proof = {
            "checkpoint": f"{note}\n\u2014 log.test {signature}\n",
            "hashes": [one.hex() for one in _path(number, leaves)],
            "logIndex": number,
            "rootHash": root.hex(),
            "treeSize": len(leaves),
        }
        promise = text(sign(self.log_key, compact(found)))
        return found | {"verification": {"inclusionProof": proof, "signedEntryTimestamp": promise}}

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        number = int(request.query["logIndex"])
        if number in self.lost or number >= len(self.bodies):
            return web.json_response({"code": 404, "message": "not found"}, status=404)
        return web.json_response({f"{number:064x}": self.entry(number)})

    # The trust root

    def trust_root(self, ended: datetime.timedelta | None = None) -> bytes:
        """Return the trust root; `ended` is how long ago the authority has ended."""
        begin = {"start": (self.now - 48 * _HOUR).isoformat().replace("+00:00", "Z")}
        over = (
            {} if ended is None else {"end": (self.now - ended).isoformat().replace("+00:00", "Z")}
        )
        authority = {
            "subject": {"organization": "tests", "commonName": "an authority of tests"},
            "uri": "https://authority.test",
            "certChain": {
                "certificates": [
                    {"rawBytes": text(self.root.public_bytes(serialization.Encoding.DER))}
                ]
            },
            "validFor": {**begin, **over},
        }
        logs = {}
        for name, key in (("tlogs", self.log_key), ("ctlogs", self.certificates_key)):
            described = {
                "rawBytes": text(der(key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": begin,
            }
            logs[name] = [
                {
                    "baseUrl": self.url,
                    "hashAlgorithm": "SHA2_256",
                    "publicKey": described,
                    "logId": {"keyId": text(hashlib.sha256(der(key)).digest())},
                }
            ]
        kind = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
        value = {"mediaType": kind, "certificateAuthorities": [authority], **logs}
        return json.dumps(value).encode()

    # Signatures as cosign stores them

    def sign_image(
        self,
        repository: Repository,
        digest: str,
        identity: str = IDENTITY,
        issuer: str = ISSUER,
        *,
        about: str = "",
    ) -> int:
        """Sign an image as cosign 2 does, under a tag; return the number of the log's entry."""
        key = new_key()
        certificate = self.certify(key, identity, issuer)
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        payload = payload_of(about or digest)
        signature = sign(key, payload)
        number = self.record(
            {
                "apiVersion": "0.0.1",
                "kind": "hashedrekord",
                "spec": {
                    "data": {
                        "hash": {
                            "algorithm": "sha256",
                            "value": hashlib.sha256(payload).hexdigest(),
                        }
                    },
                    "signature": {
                        "content": text(signature),
                        "publicKey": {"content": text(pem)},
                    },
                },
            }
        )
        entry = self.entry(number)
        promise = entry.pop("verification")["signedEntryTimestamp"]
        put_signature(
            repository,
            digest,
            payload,
            {
                "dev.cosignproject.cosign/signature": text(signature),
                "dev.sigstore.cosign/certificate": pem.decode(),
                "dev.sigstore.cosign/bundle": json.dumps(
                    {"SignedEntryTimestamp": promise, "Payload": entry}
                ),
            },
        )
        return number

    def sign_as_referrer(
        self, repository: Repository, subject: Json, identity: str = IDENTITY, issuer: str = ISSUER
    ) -> None:
        """Sign an image as cosign 3 does: a bundle with a statement, which refers to the image."""
        key = new_key()
        certificate = self.certify(key, identity, issuer)
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        envelope = enveloped(key, subject["digest"])
        payload = base64.b64decode(envelope["payload"])
        number = self.record(
            {
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": {
                        "algorithm": "sha256",
                        "value": hashlib.sha256(compact(envelope)).hexdigest(),
                    },
                    "payloadHash": {
                        "algorithm": "sha256",
                        "value": hashlib.sha256(payload).hexdigest(),
                    },
                    "signatures": [
                        {"signature": envelope["signatures"][0]["sig"], "verifier": text(pem)}
                    ],
                },
            }
        )
        entry = self.entry(number)
        proof = entry["verification"]["inclusionProof"]
        material = {
            "certificate": {"rawBytes": text(certificate.public_bytes(serialization.Encoding.DER))},
            "tlogEntries": [
                {
                    "logIndex": str(number),
                    "logId": {"keyId": text(self.log_id)},
                    "kindVersion": {"kind": "dsse", "version": "0.0.1"},
                    "integratedTime": str(entry["integratedTime"]),
                    "inclusionPromise": {
                        "signedEntryTimestamp": entry["verification"]["signedEntryTimestamp"]
                    },
                    "inclusionProof": {
                        "logIndex": str(number),
                        "rootHash": text(bytes.fromhex(proof["rootHash"])),
                        "treeSize": str(proof["treeSize"]),
                        "hashes": [text(bytes.fromhex(one)) for one in proof["hashes"]],
                        "checkpoint": {"envelope": proof["checkpoint"]},
                    },
                    "canonicalizedBody": entry["body"],
                }
            ],
        }
        put_bundle(repository, subject, envelope, material)


@contextmanager
def sigstore() -> Iterator[Sigstore]:
    """Run the transparency log."""
    port = free_port()
    services = Sigstore(f"http://127.0.0.1:{port}")
    app = web.Application()
    app.router.add_get("/api/v1/log/entries", services.answer)
    with serve(app, port):
        yield services


def enveloped(key: ec.EllipticCurvePrivateKey, digest: str) -> Json:
    """Return the signed statement that cosign 3 makes of an image."""
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "", "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    }
    payload = compact(statement)
    signed = b"DSSEv1 %d %s %d %s" % (len(STATEMENT), STATEMENT.encode(), len(payload), payload)
    return {
        "payloadType": STATEMENT,
        "payload": text(payload),
        "signatures": [{"sig": text(sign(key, signed))}],
    }


def put_bundle(repository: Repository, subject: Json, envelope: Json, material: Json) -> None:
    """Attach a signature as cosign 3 does."""
    bundle = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": material,
        "dsseEnvelope": envelope,
    }
    blob = Document(BUNDLE_TYPE, json.dumps(bundle).encode())
    attach(repository, Artifact.of(BUNDLE_TYPE, subject, [blob.descriptor()], [blob]))


def put_signature(
    repository: Repository, digest: str, payload: bytes, annotations: dict[str, str]
) -> None:
    """Store a signature as cosign 2 does."""
    config, blob = Document(CONFIG_TYPE, b"{}"), Document(PAYLOAD_TYPE, payload)
    for one in (config, blob):
        repository.push_blob(one, one.digest, len(one.content))
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config.descriptor(),
        "layers": [{**blob.descriptor(), "annotations": annotations}],
    }
    document = Document.of(MANIFEST_TYPE, value)
    tag = f"{digest.replace(':', '-')}.sig"
    repository.push_manifest(document.content, MANIFEST_TYPE, tag)


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _tree(leaves: list[bytes]) -> bytes:
    """Return the root of a Merkle tree (RFC 6962, section 2.1)."""
    if len(leaves) == 1:
        return leaves[0]
    split = _split(len(leaves))
    return hashlib.sha256(b"\x01" + _tree(leaves[:split]) + _tree(leaves[split:])).digest()


def _path(number: int, leaves: list[bytes]) -> list[bytes]:
    """Return the hashes that prove a leaf (RFC 6962, section 2.1.1)."""
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if number < split:
        return [*_path(number, leaves[:split]), _tree(leaves[split:])]
    return [*_path(number - split, leaves[split:]), _tree(leaves[:split])]


def _split(count: int) -> int:
    """Return the largest power of two that is smaller than a count."""
    return 1 << ((count - 1).bit_length() - 1)
