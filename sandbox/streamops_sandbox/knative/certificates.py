"""Serving certificates for webhooks, laid out in a Secret as knative.dev/pkg does."""

from __future__ import annotations

import base64
import ssl
from typing import Any

import trustme

#: Keys of the Secret's data.
SERVER_KEY, SERVER_CERT, CA_CERT = "server-key.pem", "server-cert.pem", "ca-cert.pem"


def create(service: str, namespace: str) -> dict[str, str]:
    """Return new Secret data (base64): a certificate for a Service's DNS names, its key and CA."""
    authority = trustme.CA(organization_name="knative.dev")
    base = f"{service}.{namespace}"
    hosts = (service, base, f"{base}.svc", f"{base}.svc.cluster.local")
    issued = authority.issue_cert(*hosts, organization_name="knative.dev")
    found = {
        SERVER_KEY: issued.private_key_pem,
        SERVER_CERT: issued.cert_chain_pems[0],
        CA_CERT: authority.cert_pem,
    }
    return {name: base64.b64encode(blob.bytes()).decode() for name, blob in found.items()}


def usable(secret: dict[str, Any]) -> bool:
    """Tell whether a Secret holds a certificate; those of a cluster outlast it."""
    return all((secret.get("data") or {}).get(key) for key in (SERVER_KEY, SERVER_CERT, CA_CERT))


def server_context(secret: dict[str, Any]) -> ssl.SSLContext:
    """Return a TLS server context from a Secret's data."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    key, chain = (base64.b64decode(secret["data"][name]) for name in (SERVER_KEY, SERVER_CERT))
    trustme.LeafCert(key, chain, []).configure_cert(context)
    return context
