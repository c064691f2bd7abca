"""Opens repositories as a module's options say: how they are reached, and as whom."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from .._google.argspec import session
from .._google.errors import GcpError
from .credentials import Credentials, find_credentials
from .errors import OptionError, RegistryError
from .reference import Reference
from .registry import Connection, Repository

#: Options to read other registries with than the one that a module is about. What is public there is read by those
#: without credentials, too.
ANONYMOUS = {"auth": "auto", "username": None, "password": None, "anonymous": True}
#: Artifact Registry and the older Container Registry.
_GOOGLE = re.compile(r"([a-z0-9-]+-)?docker\.pkg\.dev|([a-z]+\.)?gcr\.io")
#: The user name with which Google's registries take an access token.
_GOOGLE_USER = "oauth2accesstoken"


def open_repository(reference: Reference, target: Reference, options: dict[str, Any]) -> Repository:
    """Return the repository of `reference`; credentials given as options are for the one of `target`."""
    connection = Connection(
        timeout=options["request_timeout"],
        retries=options["request_retries"],
        plain_http=options["plain_http"],
        verify=(options["ca_cert"] or True) if options["validate_certs"] else False,
    )
    return Repository(reference, connection, _credentials(reference, target, options))


def _credentials(
    reference: Reference, target: Reference, options: dict[str, Any]
) -> Credentials | None:
    """Return the credentials for the registry of `reference`; username and password are for `target`'s."""
    kind, own = options["auth"], reference.registry == target.registry
    if kind == "basic" and not (options["username"] and options["password"]):
        raise OptionError("auth basic needs username and password")
    if own and kind in ("auto", "basic") and options["username"]:
        return Credentials(options["username"], options["password"] or "")
    if (own and kind == "google") or (kind == "auto" and _GOOGLE.fullmatch(reference.registry)):
        try:
            return Credentials(_GOOGLE_USER, session(options).token())
        except GcpError as error:
            if not options.get("anonymous"):
                raise RegistryError(f"{reference.registry}: {error}") from error
    for file in _configurations(options["docker_config"]):
        if found := find_credentials(file, reference):
            return found
    return None


def _configurations(given: str | None) -> list[Path]:
    """Return the configurations to read: the option, or where docker, podman and skopeo look."""
    if given:
        if not Path(given).is_file():
            raise OptionError(f"docker_config: {given} is not a file")
        return [Path(given)]
    runtime, docker = os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("DOCKER_CONFIG")
    places = [
        os.environ.get("REGISTRY_AUTH_FILE"),
        f"{docker}/config.json" if docker else None,
        f"{runtime}/containers/auth.json" if runtime else None,
        "~/.config/containers/auth.json",
        "~/.docker/config.json",
    ]
    files = [Path(place).expanduser() for place in places if place]
    return [file for file in files if file.is_file()]
