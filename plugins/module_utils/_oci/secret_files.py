"""Detection of secrets among an application's files.

By name, for the files that tools keep credentials in, and by content for private keys and for the
configurations of clients under any name. Names are compared without regard to case.
"""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import Any

from .text_files import encoding_of

_NAMES = (
    ".env",
    ".env.*",
    "*.env",
    "*.env.*",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "*.ppk",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    ".netrc",
    "_netrc",
    ".pypirc",
    ".npmrc",
    ".pgpass",
    ".my.cnf",
    ".htpasswd",
    ".git-credentials",
    ".dockercfg",
    ".dockerconfigjson",
    "kubeconfig",
    "kubeconfig.y*ml",
    "kubeconfig-*",
    "*.kubeconfig",
    "*.tfstate",
    "*.tfstate.backup",
    "application_default_credentials.json",
    "x-keys.json",
    ".vault_pass*",
    ".vault-pass*",
)
#: Examples without values, public keys and source files are meant to be there.
_HARMLESS = re.compile(
    r"(.*\.)?env\.(dist|example|sample|template)|\.?(dist|example|sample|template)\.env|.*\.(pub|pyi?)"
)
#: Folders that hold credentials, with the files in them.
_PLACES = (
    ".aws/credentials",
    ".azure/*",
    ".config/gcloud/*",
    ".docker/config.json",
    ".kube/config*",
    "containers/auth.json",
)
#: Patterns begin with literal bytes, which Python finds ten times as fast; what is before them is checked after.
_CONTENT = (
    (re.compile(rb"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----"), "a private key"),
    (re.compile(rb"^PuTTY-User-Key-File-"), "a private key"),
    (re.compile(rb"^\$ANSIBLE_VAULT;"), "an Ansible vault"),
    (re.compile(rb"AKIA(?<=\bAKIA)[0-9A-Z]{16}\b"), "an AWS access key"),
    (re.compile(rb"gh(?<=\bgh)[pousr]_[A-Za-z0-9]{36}\b"), "a GitHub token"),
)
_KUBECONFIG = re.compile(rb"kind(?<=\bkind)\"?[ \t]*:[ \t]*\"?Config\b")
_KUBECONFIG_CREDENTIALS = re.compile(
    rb"\b(?:client-key-data|id-token|refresh-token|token|password)\"?[ \t]*:[ \t]*[^\s{}#]"
)


def find_secret(path: str, content: bytes) -> str | None:
    """Return what makes a file (relative path) look like a secret; None if nothing does."""
    lower = path.lower()
    name = lower.rpartition("/")[2]
    if not _HARMLESS.fullmatch(name) and any(fnmatchcase(name, pattern) for pattern in _NAMES):
        return "its name"
    if any(fnmatchcase(f"/{lower}", f"*/{place}") for place in _PLACES):
        return "its place"
    encoding = encoding_of(content)
    plain = content
    if encoding != "utf-8":
        plain = content.decode(encoding, errors="replace").encode()
    for pattern, what in _CONTENT:
        if pattern.search(plain):
            return what
    if _KUBECONFIG.search(plain) and _KUBECONFIG_CREDENTIALS.search(plain):
        return "credentials in a kubeconfig"
    return _json_secret(plain)


def _json_secret(content: bytes) -> str | None:
    """Return which credentials JSON has, of docker or podman, or of Google, under any file name."""
    if content.lstrip()[:1] != b"{":
        return None
    try:
        value: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None
    entries = value.get("auths", value)
    for entry in entries.values() if isinstance(entries, dict) else ():
        if isinstance(entry, dict) and (entry.get("auth") or entry.get("identitytoken")):
            return "credentials for registries"
    if "refresh_token" in value or "private_key" in value:
        return "credentials of an account"
    return None
