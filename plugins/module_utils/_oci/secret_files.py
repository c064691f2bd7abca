"""Finds what looks like a secret among an application's files.

By name, for the files that tools keep credentials in, and by content for private keys.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

_NAMES = (
    ".env",
    ".env.*",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    ".netrc",
    ".pypirc",
    ".npmrc",
    ".pgpass",
    ".htpasswd",
    ".git-credentials",
    ".dockercfg",
    ".dockerconfigjson",
    "kubeconfig",
    "*.kubeconfig",
    "*.tfstate",
    "application_default_credentials.json",
    "x-keys.json",
    ".vault_pass*",
    ".vault-pass*",
)
#: Examples without values are meant to be there.
_HARMLESS = (".env.example", ".env.sample", ".env.template", ".env.dist")
#: Folders that hold credentials, with the files in them.
_PLACES = (".aws/credentials", ".docker/config.json", ".kube/config", ".config/gcloud/*")
_CONTENT = (
    (re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"), "a private key"),
    (re.compile(rb"^\$ANSIBLE_VAULT;"), "an Ansible vault"),
    (re.compile(rb"\bAKIA[0-9A-Z]{16}\b"), "an AWS access key"),
    (re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{36}\b"), "a GitHub token"),
)


def find_secret(path: str, content: bytes) -> str | None:
    """What makes a file (relative path) look like a secret; None if nothing does."""
    name = path.rpartition("/")[2]
    if name not in _HARMLESS and any(fnmatchcase(name, pattern) for pattern in _NAMES):
        return "its name"
    if any(fnmatchcase(f"/{path}", f"*/{place}") for place in _PLACES):
        return "its place"
    return next((what for pattern, what in _CONTENT if pattern.search(content)), None)
