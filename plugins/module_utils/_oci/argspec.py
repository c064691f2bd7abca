"""The options of every module that talks to a registry, and its repositories from them.

Documented once, in the doc fragment `streamops.knative.registry`.
"""

from __future__ import annotations

from typing import Any

from .._google.argspec import GOOGLE


def option(kind: str = "str", **more: Any) -> dict[str, Any]:
    """The specification of an option."""
    return {"type": kind, **more}


def strings(**more: Any) -> dict[str, Any]:
    """The specification of a list of strings."""
    return option("list", elements="str", **more)


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
