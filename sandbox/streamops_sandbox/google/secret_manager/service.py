"""Secret Manager v1 (https://cloud.google.com/secret-manager/docs/reference/rest)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import google_crc32c

from streamops_sandbox.google.errors import GoogleError, invalid, invalid_argument, not_modelled
from streamops_sandbox.google.iam.policies import Policy
from streamops_sandbox.google.projects import Project, check_labels, now
from streamops_sandbox.google.service import Call, serves, serves_policies
from streamops_sandbox.objects import Object

MAX_PAYLOAD_BYTES = 65536
_STATES = {"disable": "DISABLED", "enable": "ENABLED", "destroy": "DESTROYED"}
_URL_SAFE = str.maketrans("+/", "-_")
_TERM = re.compile(r"name:(?P<part>[\w-]+)|labels\.(?P<key>[\w-]+)=(?P<value>[\w-]*)")
_SECRET_ID = re.compile(r"[a-zA-Z0-9_-]{1,255}")
_ALIAS = re.compile(r"(?!latest$|NEW$)[A-Za-z][A-Za-z0-9_-]{0,62}")
_ANNOTATION_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_TOPIC = re.compile(r"projects/[^/]+/topics/[^/]+")
_MUTABLE = {"annotations", "labels", "rotation", "topics", "versionAliases"}


@dataclass
class _Etagged:
    """What has an etag, which changes with every change of its own fields."""

    name: str
    created: str = field(default_factory=now, init=False)
    generation: int = field(default=1, init=False)

    @property
    def etag(self) -> str:
        """The current one."""
        return f'"{hashlib.sha256(f"{self.name}#{self.generation}".encode()).hexdigest()[:14]}"'

    def require(self, given: str | None) -> None:
        """FAILED_PRECONDITION for another etag than the current one."""
        if given and given != self.etag:
            problem = "The etag in the request does not match the current etag"
            raise GoogleError("FAILED_PRECONDITION", f"{problem}: {given} is not {self.etag}.")


@dataclass
class Version(_Etagged):
    """One version of a secret; `data` is empty once it is destroyed."""

    data: bytes
    checked: bool
    state: str = "ENABLED"
    destroyed: str = ""

    def require_state(self, *states: str) -> None:
        """FAILED_PRECONDITION for another state."""
        if self.state not in states:
            problem = f"Secret Version [{self.name}] is in {self.state} state."
            raise GoogleError("FAILED_PRECONDITION", problem)

    def shown(self) -> Object:
        """The version as the API answers it: never its value."""
        return {
            "name": self.name,
            "createTime": self.created,
            "state": self.state,
            "replicationStatus": {"automatic": {}},
            "etag": self.etag,
            **({"clientSpecifiedPayloadChecksum": True} if self.checked else {}),
            **({"destroyTime": self.destroyed} if self.destroyed else {}),
        }


@dataclass
class Secret(_Etagged):
    """One secret; `settings` are the fields that its owner may set."""

    replication: Object
    settings: Object
    versions: list[Version] = field(default_factory=list)
    policy: Policy = field(default_factory=Policy)

    def shown(self) -> Object:
        """The secret as the API answers it."""
        return {
            "name": self.name,
            "createTime": self.created,
            "replication": self.replication,
            "etag": self.etag,
            **{key: value for key, value in self.settings.items() if value},
        }


class SecretManager:
    """Secrets of all projects. Regional secrets (`…/locations/…`) are not modelled."""

    def __init__(self) -> None:
        self._secrets: dict[str, dict[str, Secret]] = {}

    @serves("secretmanager.projects.secrets.create")
    async def _create(self, call: Call) -> Object:
        project = call.admit("secretmanager.secrets.create")
        secret_id = call.query.get("secretId", "")
        if not _SECRET_ID.fullmatch(secret_id):
            raise invalid_argument(
                f"The provided Secret ID [{secret_id}] does not match the expected format"
                " [[a-zA-Z_0-9]+]."
            )
        name = f"projects/{project.number}/secrets/{secret_id}"
        secrets = self._of(project)
        if secret_id in secrets:
            raise GoogleError("ALREADY_EXISTS", f"Secret [{name}] already exists.")
        settings = {k: v for k, v in call.body.items() if k not in ("name", "replication")}
        if unknown := settings.keys() - _MUTABLE:
            raise not_modelled(f"{', '.join(sorted(unknown))} of secrets")
        _check(settings)
        replication = call.body.get("replication")
        if not replication:
            raise invalid("secret.replication", "Secret.replication must be provided.")
        if not replication.get("userManaged", {"replicas": True}).get("replicas"):
            raise invalid(
                "secret.replication.user_managed.replicas", "At least one replica is needed."
            )
        secrets[secret_id] = Secret(name, replication, settings)
        return secrets[secret_id].shown()

    @serves("secretmanager.projects.secrets.get")
    async def _get(self, call: Call) -> Object:
        return self._secret(call, "secretmanager.secrets.get").shown()

    @serves("secretmanager.projects.secrets.list")
    async def _list_all(self, call: Call) -> Object:
        """Read the project's secrets, newest first."""
        project = call.admit("secretmanager.secrets.list")
        wanted = _filter(call.query.get("filter", ""))
        secrets = [s.shown() for s in reversed(self._of(project).values()) if wanted(s)]
        return _list(call, "secrets", secrets)

    @serves("secretmanager.projects.secrets.patch")
    async def _patch(self, call: Call) -> Object:
        secret = self._secret(call, "secretmanager.secrets.update")
        mask = [re.sub(r"_([a-z])", lambda found: found[1].upper(), path) for path in call.mask]
        if not mask or not _MUTABLE.issuperset(mask):
            raise invalid("update_mask", f"Fields that can be updated: {', '.join(_MUTABLE)}.")
        secret.require(call.body.get("etag"))
        settings = secret.settings | {path: call.body.get(path) or {} for path in mask}
        _check(settings)
        for alias, number in call.body.get("versionAliases", {}).items():
            if not 0 < int(number) <= len(secret.versions):
                problem = f"Alias {alias}: version {number} does not exist."
                raise invalid("secret.version_aliases", problem)
        secret.settings = settings
        secret.generation += 1
        return secret.shown()

    @serves("secretmanager.projects.secrets.delete")
    async def _delete(self, call: Call) -> Object:
        secret = self._secret(call, "secretmanager.secrets.delete")
        secret.require(call.query.get("etag"))
        del self._of(call.project())[call.parts[3]]
        return {}

    @serves("secretmanager.projects.secrets.addVersion")
    async def _add_version(self, call: Call) -> Object:
        """Add a version; the payload's checksum is compared where one is given."""
        secret = self._secret(call, "secretmanager.versions.add")
        payload = call.body.get("payload", {})
        data = base64.urlsafe_b64decode(payload.get("data", "").translate(_URL_SAFE))
        if not data:
            raise invalid_argument("Secret Payload cannot be empty.")
        if len(data) > MAX_PAYLOAD_BYTES:
            raise invalid_argument(
                f"The size of Secret Payload must be at most {MAX_PAYLOAD_BYTES} bytes."
            )
        given = payload.get("dataCrc32c")
        if given is not None and int(given) != google_crc32c.value(data):
            problem = "The provided checksum does not match the Secret Payload's checksum."
            raise invalid_argument(problem)
        number = len(secret.versions) + 1
        version = Version(f"{secret.name}/versions/{number}", data, given is not None)
        secret.versions.append(version)
        return version.shown()

    @serves("secretmanager.projects.secrets.versions.list")
    async def _list_versions(self, call: Call) -> Object:
        """Read the versions' states, newest first."""
        secret = self._secret(call, "secretmanager.versions.list")
        if call.query.get("filter"):
            raise not_modelled("filters of versions")
        return _list(call, "versions", [v.shown() for v in reversed(secret.versions)])

    @serves("secretmanager.projects.secrets.versions.get")
    async def _get_version(self, call: Call) -> Object:
        return self._version(call, "secretmanager.versions.get").shown()

    @serves("secretmanager.projects.secrets.versions.access")
    async def _access(self, call: Call) -> Object:
        """Read one version's value; `latest` is the one created last, whatever its state."""
        version = self._version(call, "secretmanager.versions.access")
        version.require_state("ENABLED")
        payload = {
            "data": base64.b64encode(version.data).decode(),
            "dataCrc32c": str(google_crc32c.value(version.data)),
        }
        return {"name": version.name, "payload": payload}

    @serves(*(f"secretmanager.projects.secrets.versions.{verb}" for verb in _STATES))
    async def _move(self, call: Call) -> Object:
        """Disable a version, enable it again, or delete its value for good."""
        verb = call.method.id.rpartition(".")[2]
        version = self._version(call, f"secretmanager.versions.{verb}")
        version.require(call.body.get("etag"))
        version.require_state("ENABLED", "DISABLED")
        version.state = _STATES[verb]
        version.generation += 1
        if version.state == "DESTROYED":
            version.data, version.destroyed = b"", now()
        return version.shown()

    @serves_policies("secretmanager.projects.secrets", "secretmanager.secrets")
    def _policy(self, call: Call, permission: str) -> Policy:
        return self._secret(call, permission).policy

    def _of(self, project: Project) -> dict[str, Secret]:
        return self._secrets.setdefault(project.project_id, {})

    def _secret(self, call: Call, permission: str) -> Secret:
        project = call.project()
        secret = self._of(project).get(call.parts[3])
        call.require(permission, project, *([secret.policy] if secret else []))
        if secret is None:
            name = f"projects/{project.number}/secrets/{call.parts[3]}"
            raise GoogleError("NOT_FOUND", f"Secret [{name}] not found.")
        return secret

    def _version(self, call: Call, permission: str) -> Version:
        secret, wanted = self._secret(call, permission), call.parts[5]
        if not secret.versions:
            raise GoogleError("NOT_FOUND", f"Secret [{secret.name}] not found or has no versions.")
        if wanted == "latest":
            return secret.versions[-1]
        number = secret.settings.get("versionAliases", {}).get(wanted, wanted)
        for version in secret.versions:
            if version.name.endswith(f"/versions/{number}"):
                return version
        problem = f"Secret Version [{secret.name}/versions/{wanted}] not found."
        raise GoogleError("NOT_FOUND", problem)


def _list(call: Call, key: str, items: list[Object]) -> Object:
    return call.page(key, items) | ({"totalSize": len(items)} if items else {})


def _check(settings: Object) -> None:
    """INVALID_ARGUMENT for settings that Google refuses."""
    check_labels("secret.labels", settings.get("labels", {}))
    annotations, topics = settings.get("annotations", {}), settings.get("topics", [])
    if sum(len(f"{key}{value}".encode()) for key, value in annotations.items()) > 16384:
        raise invalid("secret.annotations", "Annotations may have 16 KiB in all.")
    for setting, names, pattern in (
        ("annotations", annotations, _ANNOTATION_KEY),
        ("version_aliases", settings.get("versionAliases", {}), _ALIAS),
        ("topics", [topic.get("name", "") for topic in topics], _TOPIC),
    ):
        for name in names:
            if not pattern.fullmatch(name):
                raise invalid(f"secret.{setting}", f"Invalid name: {name}")
    if len(topics) > 10:
        raise invalid("secret.topics", "At most 10 topics.")
    if settings.get("rotation") and not topics:
        raise invalid("secret.rotation", "A rotation needs at least one topic.")


def _filter(expression: str) -> Callable[[Secret], bool]:
    """The part of Google's filter language that lists by a part of the name or a label, joined by OR."""
    terms = [_TERM.fullmatch(term) for term in expression.split(" OR ")] if expression else []
    if not all(terms):
        raise not_modelled(f"the filter {expression!r}, only name:… and labels.…=… joined by OR")

    def matches(secret: Secret) -> bool:
        short, labels = secret.name.rpartition("/")[2], secret.settings.get("labels", {})
        return not terms or any(
            found["part"] in short if found["part"] else labels.get(found["key"]) == found["value"]
            for found in terms
            if found
        )

    return matches
