"""The options of every module that talks to a registry, and its repositories from them.

Documented once, in the doc fragment `streamops.knative.registry`.
"""

from __future__ import annotations

from typing import Any

from .._google.argspec import GOOGLE


def option(kind: str = "str", **more: Any) -> dict[str, Any]:
    """Return the specification of an option."""
    return {"type": kind, **more}


#: How registries are reached.
CONNECTION: dict[str, dict[str, Any]] = {
    **GOOGLE,
    "docker_config": option("path"),
    "plain_http": option("bool"),
    "validate_certs": option("bool", default=True),
    "ca_cert": option("path"),
}
REGISTRY: dict[str, dict[str, Any]] = {
    **CONNECTION,
    "auth": option(choices=["auto", "basic", "docker", "google"], default="auto"),
    "username": option(),
    "password": option(no_log=True),
}
#: Whether and by whom images have to be signed; documented in the doc fragment `streamops.knative.signatures`.
SIGNATURES: dict[str, dict[str, Any]] = {
    "verify": option("bool"),
    "signers": option(
        "list",
        elements="dict",
        default=[],
        options={
            "images": option(required=True),
            "identity": option(),
            "issuer": option(),
            "key": option("path", no_log=False),  # a public key's file
            "unsigned": option("bool", default=False),
        },
    ),
    "trust_root": option("path"),
}
