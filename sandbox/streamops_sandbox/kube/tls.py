"""The cluster's certificate authority and the certificates it signs."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

_LIFETIME = timedelta(days=365)


def write_private(path: Path, content: bytes) -> None:
    """Write a file only its owner can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


class Authority:
    """A certificate authority kept as `ca.crt` and `ca.key` in a folder; made when missing."""

    def __init__(self, folder: Path) -> None:
        self.cert_file = folder / "ca.crt"
        self.key_file = folder / "ca.key"
        if not (self.cert_file.exists() and self.key_file.exists()):
            folder.mkdir(parents=True, exist_ok=True)
            made = trustme.CA(organization_name="kubernetes")
            write_private(self.key_file, made.private_key_pem.bytes())
            self.cert_file.write_bytes(made.cert_pem.bytes())
        self._ca = trustme.CA.from_pem(self.cert_file.read_bytes(), self.key_file.read_bytes())

    @property
    def pem(self) -> bytes:
        """The authority's own certificate."""
        return self.cert_file.read_bytes()

    def issue(
        self, common_name: str, *, organization: str = "kubernetes", hosts: Sequence[str] = ()
    ) -> tuple[bytes, bytes]:
        """Return a certificate and its key, both PEM: for a server's `hosts`, or for a client."""
        issued = self._ca.issue_cert(
            *(hosts or ["client"]),  # Go takes no certificate without any name
            common_name=common_name,
            organization_name=organization,
            not_after=datetime.now(UTC) + _LIFETIME,
        )
        return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()

    def client_context(self, folder: Path, common_name: str, organization: str) -> ssl.SSLContext:
        """Return TLS of a client with a certificate of its own, kept in a folder, that trusts the authority only."""
        cert, key = self.issue(common_name, organization=organization)
        cert_file, key_file = folder / f"{common_name}.crt", folder / f"{common_name}.key"
        cert_file.write_bytes(cert)
        write_private(key_file, key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.cert_file)
        context.load_cert_chain(cert_file, key_file)
        return context


def server_context(cert_file: Path, key_file: Path, client_ca: Path) -> ssl.SSLContext:
    """TLS for a server that takes, but does not demand, client certificates of the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert_file, key_file)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context
