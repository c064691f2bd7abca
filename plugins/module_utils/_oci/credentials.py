"""Credentials from the configurations of docker, podman and skopeo.

Forms: https://github.com/docker/cli/blob/master/cli/config/configfile/file.go and
https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import OptionError
from .reference import DOCKER_HUB, Reference

#: The names that Docker Hub has had.
_HUB = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
#: The name under which `docker login` keeps Docker Hub's credentials.
_HUB_KEY = "https://index.docker.io/v1/"
_HELPER_SECONDS = 60.0
#: The user name with which helpers mark an identity token.
_TOKEN_USER = "<token>"  # noqa: S105 - a name


@dataclass(frozen=True)
class Credentials:
    """A user with a password, an identity token to get access tokens with, or an access token."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)


def find_credentials(file: Path, reference: Reference) -> Credentials | None:
    """Return the credentials that a configuration has for a repository; None without any.

    Raises OptionError where the file, an entry or a credential helper cannot be used.
    """
    config = _read(file)
    helpers = {_key(name): helper for name, helper in _section(config, "credHelpers", file).items()}
    auths = {_key(name): entry for name, entry in _section(config, "auths", file).items()}
    names = list(_names(reference))
    for name in names:
        if name in helpers:
            return _ask_helper(helpers[name], reference, file)
    for name in names:
        if found := _entry(auths.get(name), name, file):
            return found
    store = config.get("credsStore")
    return _ask_helper(store, reference, file) if store else None


def _read(file: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8-sig") or "{}")
    except (OSError, ValueError) as error:
        raise OptionError(f"docker_config: {file} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise OptionError(f"docker_config: {file} is not a JSON object")
    return config


def _section(config: Mapping[str, Any], name: str, file: Path) -> Mapping[str, Any]:
    section = config.get(name) or {}
    if not isinstance(section, dict):
        raise OptionError(f"docker_config: {file}: {name} is not an object")
    return section


def _key(text: str) -> str:
    """Return the registry, or for podman the registry with a namespace, that an entry is for."""
    bare = re.sub(r"^https?://", "", text)
    host, _slash, path = bare.partition("/")
    if bare != text or path.strip("/") in ("", "v1", "v2"):
        path = ""
    host = host.lower()
    return "/".join(
        part for part in (DOCKER_HUB if host in _HUB else host, path.strip("/")) if part
    )


def _names(reference: Reference) -> Iterator[str]:
    """Yield the keys that hold for a repository, the most specific one first."""
    parts = [reference.registry.lower(), *reference.name.split("/")]
    if parts[0] in _HUB:
        parts[0] = DOCKER_HUB
    for count in range(len(parts), 0, -1):
        yield "/".join(parts[:count])


def _entry(entry: Any, name: str, file: Path) -> Credentials | None:
    if not isinstance(entry, dict) or not any(entry.values()):
        return None
    user, password = entry.get("username") or "", entry.get("password") or ""
    if entry.get("auth"):
        try:
            decoded = base64.b64decode(entry["auth"], validate=True).decode()
        except (binascii.Error, TypeError, ValueError) as error:
            raise OptionError(
                f"docker_config: {file}: auth of {name} is not the Base64 of USER:PASSWORD"
            ) from error
        user, _colon, password = decoded.rstrip("\0").partition(":")
    found = Credentials(
        username=str(user),
        password=str(password),
        identity_token=str(entry.get("identitytoken") or ""),
        access_token=str(entry.get("registrytoken") or ""),
    )
    usable = (found.username and found.password) or found.identity_token or found.access_token
    return found if usable else None


def _ask_helper(helper: Any, reference: Reference, file: Path) -> Credentials | None:
    """Return the credentials that `docker-credential-HELPER get` prints; None where it has none.

    https://github.com/docker/docker-credential-helpers
    """
    if not isinstance(helper, str) or not re.fullmatch(r"[\w.-]+", helper):
        raise OptionError(
            f"docker_config: {file}: {helper!r} is not the name of a credential helper"
        )
    program = f"docker-credential-{helper}"
    server = _HUB_KEY if reference.registry in _HUB else reference.registry
    try:
        done = subprocess.run(  # noqa: S603 - the helper that the user has configured
            [program, "get"],
            input=server,
            capture_output=True,
            text=True,
            timeout=_HELPER_SECONDS,
            check=False,
        )
    except OSError as error:
        raise OptionError(
            f"docker_config: {file} names the credential helper {program}, which cannot be started:"
            f" {error.strerror}. Install it, or give username and password"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise OptionError(
            f"docker_config: {program} did not answer within {_HELPER_SECONDS:g} s"
        ) from error
    if done.returncode:
        reason = (done.stdout.strip() or done.stderr.strip())[:200]
        if "not found" in reason:
            return None
        raise OptionError(f"docker_config: {program} failed for {server}: {reason}")
    try:
        answer = json.loads(done.stdout)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (KeyError, TypeError, ValueError):
        raise OptionError(
            f"docker_config: {program} did not print JSON with Username and Secret for {server}"
        ) from None
    if user == _TOKEN_USER:
        return Credentials(identity_token=secret)
    return Credentials(user, secret)
