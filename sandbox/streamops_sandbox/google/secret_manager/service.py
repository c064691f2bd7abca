"""Secret Manager v1 (https://cloud.google.com/secret-manager/docs/reference/rest)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import google_crc32c

from streamops_sandbox.google.errors import GoogleError, invalid, invalid_argument, not_modelled
from streamops_sandbox.google.iam.policies import Policy
from streamops_sandbox.google.projects import Project, check_labels, now
from streamops_sandbox.google.service import Call, serves, serves_policies
from streamops_sandbox.objects import Object

MAX_PAYLOAD_BYTES = 65536
_SECRET_ID = re.compile(r"[a-zA-Z0-9_-]{1,255}")
_ANNOTATION_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_TOPIC = re.compile(r"projects/[^/]+/topics/[^/]+")
_MUTABLE = {
    "annotations",
    "labels",
    "rotation",
    "topics",
    "versionAliases",
}


@dataclass(slots=True)
class Version:
    """One version of a secret; `data` is None once it is destroyed."""

    name: str
    data: bytes | None
    created: str
    checked: bool
    state: str = "ENABLED"
    destroyed: str = ""
    generation: int = 1

    @property
    def etag(self) -> str:
        """Changes with every change of state."""
        return _etag(self.name, self.generation)

    def shown(self) -> Object:
        """The version as the API answers it: never its value."""
        result: Object = {
            "name": self.name,
            "createTime": self.created,
            "state": self.state,
            "replicationStatus": {"automatic": {}},
            "etag": self.etag,
        }
        if self.checked:
            result["clientSpecifiedPayloadChecksum"] = True
        if self.destroyed:
            result["destroyTime"] = self.destroyed
        return result


@dataclass(slots=True)
class Secret:
    """One secret; `settings` are the fields that its owner may set."""

    name: str
    created: str
    replication: Object
    settings: Object
    versions: list[Version] = field(default_factory=list)
    policy: Policy = field(default_factory=Policy)
    generation: int = 1

    @property
    def etag(self) -> str:
        """Changes with every change of the secret's own fields."""
        return _etag(self.name, self.generation)

    def shown(self) -> Object:
        """The secret as the API answers it."""
        return {
            "name": self.name,
            "createTime": self.created,
            "replication": self.replication,
            "etag": self.etag,
            **{key: value for key, value in self.settings.items() if value not in ({}, [], "")},
        }


class SecretManager:
    """Secrets of all projects. Regional secrets (`…/locations/…`) are not modelled."""

    def __init__(self) -> None:
        self._secrets: dict[str, dict[str, Secret]] = {}

    @serves("secretmanager.projects.secrets.create")
    async def create(self, call: Call) -> Object:
        """Create a secret without versions."""
        project = call.project()
        parent = f"projects/{project.number}"
        call.require("secretmanager.secrets.create", parent, project)
        secret_id = call.query.get("secretId", "")
        if not _SECRET_ID.fullmatch(secret_id):
            raise invalid_argument(
                f"The provided Secret ID [{secret_id}] does not match the expected format"
                " [[a-zA-Z_0-9]+]."
            )
        name = f"{parent}/secrets/{secret_id}"
        secrets = self._of(project)
        if secret_id in secrets:
            raise GoogleError("ALREADY_EXISTS", f"Secret [{name}] already exists.")
        settings = {k: v for k, v in call.body.items() if k not in ("name", "replication")}
        if unknown := settings.keys() - _MUTABLE:
            raise not_modelled(f"{', '.join(sorted(unknown))} of secrets")
        if settings.get("versionAliases"):
            raise invalid("secret.version_aliases", "Aliases of versions that do not exist yet.")
        secret = Secret(
            name, now(), _replication(call.body.get("replication")), _settings(settings)
        )
        secrets[secret_id] = secret
        return secret.shown()

    @serves("secretmanager.projects.secrets.get")
    async def get(self, call: Call) -> Object:
        """Read a secret's own fields."""
        return self._secret(call, "secretmanager.secrets.get").shown()

    @serves("secretmanager.projects.secrets.list")
    async def list_all(self, call: Call) -> Object:
        """Read the project's secrets, newest first."""
        project = call.project()
        call.require("secretmanager.secrets.list", f"projects/{project.number}", project)
        wanted = _filter(call.query.get("filter", ""))
        secrets = [s.shown() for s in reversed(self._of(project).values()) if wanted(s)]
        return _list(call, "secrets", secrets)

    @serves("secretmanager.projects.secrets.patch")
    async def patch(self, call: Call) -> Object:
        """Change the fields that updateMask names."""
        secret = self._secret(call, "secretmanager.secrets.update")
        mask = [_camel(path) for path in call.mask]
        if not mask:
            raise invalid("update_mask", "The update_mask is required.")
        for path in mask:
            if path.split(".")[0] not in _MUTABLE:
                raise invalid("update_mask", f"Field '{path}' is immutable or cannot be updated.")
            if "." in path:
                raise not_modelled("update masks below the first level")
        _require_etag(call.body.get("etag"), secret.etag)
        changed = {path: call.body.get(path) for path in mask}
        settings = {k: v for k, v in {**secret.settings, **changed}.items() if v is not None}
        for alias, number in settings.get("versionAliases", {}).items():
            if not any(v.name.endswith(f"/{number}") for v in secret.versions):
                raise invalid(
                    "secret.version_aliases", f"Alias {alias}: there is no version {number}."
                )
        secret.settings = _settings(settings)
        secret.generation += 1
        return secret.shown()

    @serves("secretmanager.projects.secrets.delete")
    async def delete(self, call: Call) -> Object:
        """Delete a secret with all its versions."""
        secret = self._secret(call, "secretmanager.secrets.delete")
        _require_etag(call.query.get("etag"), secret.etag)
        project = call.project()
        del self._of(project)[call.parts[3]]
        return {}

    @serves("secretmanager.projects.secrets.addVersion")
    async def add_version(self, call: Call) -> Object:
        """Add a version; the payload's checksum is compared where one is given."""
        secret = self._secret(call, "secretmanager.versions.add")
        payload = call.body.get("payload", {})
        data = _decode(payload.get("data", ""))
        if not data:
            raise invalid_argument("Secret Payload cannot be empty.")
        if len(data) > MAX_PAYLOAD_BYTES:
            raise invalid_argument(
                f"The size of Secret Payload must be at most {MAX_PAYLOAD_BYTES} bytes."
            )
        given = payload.get("dataCrc32c")
        if given is not None and int(given) != google_crc32c.value(data):
            raise invalid_argument(
                "The provided checksum does not match the Secret Payload's checksum."
            )
        number = len(secret.versions) + 1
        version = Version(f"{secret.name}/versions/{number}", data, now(), given is not None)
        secret.versions.append(version)
        return version.shown()

    @serves("secretmanager.projects.secrets.versions.list")
    async def list_versions(self, call: Call) -> Object:
        """Read the versions' states, newest first."""
        secret = self._secret(call, "secretmanager.versions.list")
        wanted = call.query.get("filter", "")
        found = re.fullmatch(r'\s*state\s*[:=]\s*"?(ENABLED|DISABLED|DESTROYED)"?\s*', wanted)
        if wanted and not found:
            raise not_modelled(f"the filter {wanted!r}, only state:…")
        versions = [
            v.shown() for v in reversed(secret.versions) if not found or v.state == found[1]
        ]
        return _list(call, "versions", versions)

    @serves("secretmanager.projects.secrets.versions.get")
    async def get_version(self, call: Call) -> Object:
        """Read one version's state."""
        return self._version(call, "secretmanager.versions.get").shown()

    @serves("secretmanager.projects.secrets.versions.access")
    async def access(self, call: Call) -> Object:
        """Read one version's value; `latest` is the one created last, whatever its state."""
        version = self._version(call, "secretmanager.versions.access")
        if version.data is None or version.state != "ENABLED":
            raise GoogleError(
                "FAILED_PRECONDITION",
                f"Secret Version [{version.name}] is in {version.state} state.",
            )
        return {
            "name": version.name,
            "payload": {
                "data": base64.b64encode(version.data).decode(),
                "dataCrc32c": str(google_crc32c.value(version.data)),
            },
        }

    @serves("secretmanager.projects.secrets.versions.disable")
    async def disable(self, call: Call) -> Object:
        """Make a version unreadable, to be enabled again."""
        return self._move(call, "secretmanager.versions.disable", "DISABLED")

    @serves("secretmanager.projects.secrets.versions.enable")
    async def enable(self, call: Call) -> Object:
        """Make a disabled version readable."""
        return self._move(call, "secretmanager.versions.enable", "ENABLED")

    @serves("secretmanager.projects.secrets.versions.destroy")
    async def destroy(self, call: Call) -> Object:
        """Delete a version's value for good."""
        return self._move(call, "secretmanager.versions.destroy", "DESTROYED")

    @serves_policies("secretmanager.projects.secrets", "secretmanager.secrets")
    def policy(self, call: Call, permission: str) -> Policy:
        """Who may do what with the secret."""
        return self._secret(call, permission).policy

    def _of(self, project: Project) -> dict[str, Secret]:
        return self._secrets.setdefault(project.project_id, {})

    def _secret(self, call: Call, permission: str) -> Secret:
        project = call.project()
        secret = self._of(project).get(call.parts[3])
        self._require(call, permission, project, secret)
        if secret is None:
            name = f"projects/{project.number}/secrets/{call.parts[3]}"
            raise GoogleError("NOT_FOUND", f"Secret [{name}] not found.")
        return secret

    def _require(
        self, call: Call, permission: str, project: Project, secret: Secret | None
    ) -> None:
        resource = "/".join(["projects", project.number, *call.parts[2:]])
        policies = [secret.policy] if secret else []
        call.require(permission, resource, project, *policies)

    def _version(self, call: Call, permission: str) -> Version:
        project = call.project()
        secret = self._of(project).get(call.parts[3])
        self._require(call, permission, project, secret)
        wanted = call.parts[5]
        if secret and secret.versions and wanted == "latest":
            return secret.versions[-1]
        number = secret.settings.get("versionAliases", {}).get(wanted, wanted) if secret else wanted
        for version in secret.versions if secret else []:
            if version.name.endswith(f"/versions/{number}"):
                return version
        name = f"projects/{project.number}/secrets/{call.parts[3]}"
        if secret is None or not secret.versions:
            raise GoogleError("NOT_FOUND", f"Secret [{name}] not found or has no versions.")
        raise GoogleError("NOT_FOUND", f"Secret Version [{name}/versions/{wanted}] not found.")

    def _move(self, call: Call, permission: str, state: str) -> Object:
        version = self._version(call, permission)
        _require_etag(call.body.get("etag"), version.etag)
        if version.state == "DESTROYED":
            raise GoogleError(
                "FAILED_PRECONDITION", f"Secret Version [{version.name}] is in DESTROYED state."
            )
        version.state = state
        version.generation += 1
        if state == "DESTROYED":
            version.data = None
            version.destroyed = now()
        return version.shown()


def _etag(name: str, generation: int) -> str:
    return f'"{hashlib.sha256(f"{name}#{generation}".encode()).hexdigest()[:14]}"'


def _require_etag(given: str | None, current: str) -> None:
    if given and given != current:
        raise GoogleError(
            "FAILED_PRECONDITION",
            f"The etag in the request does not match the current etag: {given} is not {current}.",
        )


def _decode(data: str) -> bytes:
    try:
        return base64.b64decode(data.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        raise invalid("payload.data", "Base64 decoding failed.") from None


def _camel(path: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), path)


def _list(call: Call, key: str, items: list[Object]) -> Object:
    return call.page(key, items) | ({"totalSize": len(items)} if items else {})


def _filter(expression: str) -> Callable[[Secret], bool]:
    """The part of Google's filter language that lists by name and label, joined by AND or OR."""
    if not expression:
        return lambda secret: True
    for joint, combine in ((r"\s+OR\s+", any), (r"\s+AND\s+", all)):
        terms = [_filter(term) for term in re.split(joint, expression) if term != expression]
        if terms:
            return lambda secret: combine(term(secret) for term in terms)
    found = re.fullmatch(
        r'\(?\s*(name|labels\.[\w-]+)\s*([:=])\s*"?([^"()\s]*)"?\s*\)?', expression
    )
    if not found:
        raise not_modelled(f"the filter {expression!r}, only name and labels with AND and OR")
    field, operator, wanted = found.groups()

    def matches(secret: Secret) -> bool:
        values: list[str] = [secret.name.rpartition("/")[2], secret.name]
        if field != "name":
            values = [v for k, v in secret.settings.get("labels", {}).items() if k == field[7:]]
        if operator == ":":
            return any(wanted in value for value in values[:1])
        return wanted in values

    return matches


def _replication(replication: Any) -> Object:
    """The replication, which is required and can never be changed."""
    if not replication or len(replication) != 1:
        raise invalid("secret.replication", "Secret.replication must be provided.")
    if "userManaged" in replication and not replication["userManaged"].get("replicas"):
        raise invalid("secret.replication.user_managed.replicas", "At least one replica is needed.")
    return dict(replication)


def _settings(settings: Object) -> Object:
    """The settings, checked as Google checks them."""
    result = dict(settings)
    check_labels("secret.labels", result.get("labels", {}))
    annotations = result.get("annotations", {})
    if sum(len(k.encode()) + len(v.encode()) for k, v in annotations.items()) > 16384:
        raise invalid("secret.annotations", "Annotations may have 16 KiB in all.")
    for key in annotations:
        if not _ANNOTATION_KEY.fullmatch(key):
            raise invalid("secret.annotations", f"Invalid annotation key: {key}")
    for alias in result.get("versionAliases", {}):
        if not _ALIAS.fullmatch(alias) or alias in ("latest", "NEW"):
            raise invalid("secret.version_aliases", f"Invalid alias: {alias}")
    topics = result.get("topics", [])
    if len(topics) > 10 or any(not _TOPIC.fullmatch(t.get("name", "")) for t in topics):
        raise invalid("secret.topics", "At most 10 topics, each projects/*/topics/*.")
    if result.get("rotation") and not topics:
        raise invalid("secret.rotation", "A rotation needs at least one topic.")
    return result
