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

    def _issue(
        self, common_name: str, organization: str = "kubernetes", hosts: Sequence[str] = ()
    ) -> trustme.LeafCert:
        return self._ca.issue_cert(
            *(hosts or ["client"]),  # Go takes no certificate without any name
            common_name=common_name,
            organization_name=organization,
            not_after=datetime.now(UTC) + _LIFETIME,
        )

    def issue(
        self, common_name: str, *, organization: str = "kubernetes", hosts: Sequence[str] = ()
    ) -> tuple[bytes, bytes]:
        """Return a certificate and its key, both PEM: for a server's `hosts`, or for a client."""
        issued = self._issue(common_name, organization, hosts)
        return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()

    def client_context(self, common_name: str, organization: str) -> ssl.SSLContext:
        """Return TLS of a client with a certificate of its own, that trusts the authority only."""
        context = ssl.create_default_context(cafile=self.cert_file)
        self._issue(common_name, organization).configure_cert(context)
        return context

    def server_context(
        self, common_name: str, hosts: Sequence[str], verify: ssl.VerifyMode
    ) -> ssl.SSLContext:
        """Return TLS of a server that asks for client certificates of the authority."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.cert_file)
        context.verify_mode = verify
        self._issue(common_name, hosts=hosts).configure_cert(context)
        return context
