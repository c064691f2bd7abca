"""Opens repositories as a module's options say: how they are reached, and as whom."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from ansible_collections.streamops.knative.plugins.module_utils._google.argspec import session
from ansible_collections.streamops.knative.plugins.module_utils._google.errors import GcpError
from ansible_collections.streamops.knative.plugins.module_utils._oci.errors import (
    OptionError,
    RegistryError,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.reference import Reference
from ansible_collections.streamops.knative.plugins.module_utils._oci.registry import (
    Connection,
    Repository,
)

#: Artifact Registry and the older Container Registry.
_GOOGLE = re.compile(r"([a-z0-9-]+-)?docker\.pkg\.dev|([a-z]+\.)?gcr\.io")
#: The user name with which Google's registries take an access token.
_GOOGLE_USER = "oauth2accesstoken"


def open_repository(reference: Reference, target: Reference, options: dict[str, Any]) -> Repository:
    """The repository of `reference`; credentials given as options are for the one of `target`."""
    connection = Connection(
        timeout=options["request_timeout"],
        retries=options["request_retries"],
        plain_http=options["plain_http"],
        verify=(options["ca_cert"] or True) if options["validate_certs"] else False,
        docker_config=_docker_config(options),
    )
    return Repository(reference, connection, _credentials(reference, target, options))


def _credentials(
    reference: Reference, target: Reference, options: dict[str, Any]
) -> tuple[str, str] | None:
    """User and password for the registry of `reference`; None leaves it to docker configurations.

    username and password are for the registry that is pushed to (`target`).
    """
    kind, own = options["auth"], reference.registry == target.registry
    if kind == "basic" and not (options["username"] and options["password"]):
        raise OptionError("auth basic needs username and password")
    if own and kind in ("auto", "basic") and options["username"]:
        return options["username"], options["password"] or ""
    if (own and kind == "google") or (kind == "auto" and _GOOGLE.fullmatch(reference.registry)):
        try:
            return _GOOGLE_USER, session(options).token()
        except GcpError as error:
            raise RegistryError(f"{reference.registry}: {error}") from error
    return None


def _docker_config(options: dict[str, Any]) -> str | None:
    """The docker configuration to read: the option, or where docker, podman and skopeo look."""
    given = options["docker_config"]
    if given:
        if not Path(given).is_file():
            raise OptionError(f"docker_config: {given} is not a file")
        return str(given)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    places = [
        os.environ.get("REGISTRY_AUTH_FILE"),
        f"{os.environ['DOCKER_CONFIG']}/config.json" if "DOCKER_CONFIG" in os.environ else None,
        f"{runtime}/containers/auth.json" if runtime else None,
    ]
    return next((place for place in places if place and Path(place).is_file()), None)
