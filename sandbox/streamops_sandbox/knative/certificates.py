"""Serving certificates for webhooks, laid out in a Secret as knative.dev/pkg does."""

from __future__ import annotations

import base64
import datetime
import ssl
import tempfile
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Keys of the Secret's data.
SERVER_KEY, SERVER_CERT, CA_CERT = "server-key.pem", "server-cert.pem", "ca-cert.pem"
_LIFETIME = datetime.timedelta(days=7)
_RENEW_BEFORE = datetime.timedelta(days=1)


def create(service: str, namespace: str) -> dict[str, str]:
    """Return new Secret data (base64): a certificate for a Service's DNS names, its key and CA."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    bases = (service, f"{service}.{namespace}")
    names = [*bases, *(f"{bases[1]}.svc{suffix}" for suffix in ("", ".cluster.local"))]
    issuer = _name(f"ca.{names[2]}")
    ca = (
        _builder(issuer, issuer, ca_key.public_key(), ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    certificate = (
        _builder(_name(names[2]), issuer, key.public_key(), ca_key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .add_extension(_usage(ca=False), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return {
        SERVER_KEY: _encode(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        ),
        SERVER_CERT: _encode(certificate.public_bytes(pem)),
        CA_CERT: _encode(ca.public_bytes(pem)),
    }


def usable(secret: dict[str, Any]) -> bool:
    """Tell whether a Secret holds a certificate that is good for another day."""
    data = secret.get("data") or {}
    if not all(data.get(key) for key in (SERVER_KEY, SERVER_CERT, CA_CERT)):
        return False
    try:
        certificate = x509.load_pem_x509_certificate(base64.b64decode(data[SERVER_CERT]))
    except ValueError:
        return False
    return certificate.not_valid_after_utc - _RENEW_BEFORE > datetime.datetime.now(datetime.UTC)


def server_context(secret: dict[str, Any]) -> ssl.SSLContext:
    """Return a TLS server context from a Secret's data."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:  # the ssl module reads keys from files only
        key, chain = Path(folder, "key"), Path(folder, "chain")
        key.touch(mode=0o600)
        key.write_bytes(base64.b64decode(secret["data"][SERVER_KEY]))
        chain.write_bytes(base64.b64decode(secret["data"][SERVER_CERT]))
        context.load_cert_chain(chain, key)
    return context


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), False)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "knative.dev"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64]),
        ]
    )


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
