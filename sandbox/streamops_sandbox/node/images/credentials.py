"""Registry credentials out of docker configurations (imagePullSecrets).

Matching: https://kubernetes.io/docs/concepts/containers/images/#config-json
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from streamops_sandbox.node.images.reference import Reference


def find(reference: Reference, pull_secrets: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the (user, password) pairs that match a reference, the most specific path first."""
    found: list[tuple[int, tuple[str, str]]] = []
    for secret in pull_secrets:
        for key, entry in (secret.get("auths") or {}).items():
            host, path = _split(key)
            if host == "index.docker.io":
                host, path = "docker.io", ""
            matches_path = not path or f"{reference.name}/".startswith(f"{path}/")
            if _host_matches(host, reference.domain) and matches_path:
                found.append((len(path), _decode(entry)))
    return [pair for _, pair in sorted(found, key=lambda one: -one[0])]


def _split(key: str) -> tuple[str, str]:
    host, _, path = re.sub(r"^https?://", "", key).partition("/")
    return host, re.sub(r"^v[12](/|$)", "", path).strip("/")


def _host_matches(pattern: str, domain: str) -> bool:
    """Compare label by label: `*` stands for a part of one label, never for a dot."""
    labels, given = pattern.split("."), domain.split(".")
    return len(labels) == len(given) and all(map(fnmatchcase, given, labels))


def _decode(entry: Mapping[str, str]) -> tuple[str, str]:
    if "auth" in entry:
        try:
            user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user, password
    return entry.get("username", ""), entry.get("password", "")
