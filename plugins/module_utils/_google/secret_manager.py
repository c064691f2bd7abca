"""Secrets of Secret Manager: what is there, what is wanted, and the steps between.

https://cloud.google.com/secret-manager/docs/reference/rest. A value is compared in memory and is in
no message, result or diff.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .._module.parallel import in_parallel
from . import policy as policies
from .errors import ConfigError, FailedPrecondition, NotFound, PermissionDenied, UnexpectedAnswer
from .payload import payload, verified
from .plan import Plan, merged_labels
from .session import Session
from .timestamps import is_time, moment

Json = dict[str, Any]

ACCESSOR = "roles/secretmanager.secretAccessor"
#: So many names keep the address of a list short enough for every proxy.
NAMES_PER_LIST = 50
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_PLURAL = {"disable": "disabled", "enable": "enabled", "destroy": "destroyed"}


@dataclass(frozen=True)
class Identity:
    """A Kubernetes service account in a workload identity pool; see `policies.principal`."""

    namespace: str
    service_account: str
    pool: str
    pool_project: str


@dataclass(frozen=True)
class Wanted:
    """What one secret shall be like; None leaves that part as it is.

    `settings` are fields of the API's Secret, by their names there. `retire` is what happens to
    versions beyond the newest `keep` that were replaced more than `grace` seconds ago.
    """

    name: str
    value: bytes | None = None
    settings: Json = field(default_factory=dict)
    replication: Json | None = None
    aliases: dict[str, str] | None = None
    accessors: frozenset[str] | None = None
    identities: tuple[Identity, ...] = ()
    purge_accessors: bool = False
    purge_labels: bool = False
    retire: str = "keep"
    keep: int = 1
    grace: float = 0.0


@dataclass
class Found:
    """What one secret is like; `secret` is None where there is none.

    `value` is that of the newest version, None where there is none or it is not enabled; `latest`
    is the newest version's number, 0 without one, -1 where it was not looked at.
    """

    secret: Json | None
    value: bytes | None = None
    latest: int = -1
    versions: list[Json] | None = None
    policy: Json | None = None


class Secrets:
    """Secrets of one project."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._parent = f"v1/projects/{session.project}"
        self._numbers: dict[str, str] = {}

    def plan_present(self, wanted: list[Wanted]) -> Plan:
        """Return steps that make the secrets as wanted."""
        found = self.find([w.name for w in wanted])
        in_parallel(lambda item: self._look_closer(*item), list(zip(wanted, found, strict=True)))
        plan = Plan(result={"secrets": []})
        for want, have in zip(wanted, found, strict=True):
            self._plan_one(plan, want, have)
        return plan

    def plan_absent(self, names: list[str]) -> Plan:
        """Return steps that delete the secrets with all their versions."""
        plan = Plan(result={"secrets": []})
        for name, have in zip(names, self.find(names), strict=True):
            if have.secret is None:
                continue
            plan.before[name] = _shown(have.secret)
            path, etag = f"{self._parent}/secrets/{name}", have.secret.get("etag")
            delete = functools.partial(self._session.delete, "secretmanager", path, etag=etag)
            plan.add(f"delete secret {name}", delete)
        return plan

    def plan_version(self, name: str, version: str, action: str) -> Plan:
        """Return steps that enable, disable or destroy one version."""
        path = f"{self._parent}/secrets/{name}/versions/{version}"
        have = self._session.get("secretmanager", path)
        label = f"{name} version {_number(have)}"
        plan = Plan(before={label: have["state"]}, after={label: _PLURAL[action].upper()})
        plan.result["secrets"] = [{"name": name, "version": _number(have)}]
        if have["state"] == _PLURAL[action].upper():
            return plan
        if have["state"] == "DESTROYED":
            raise ConfigError(f"{label} is destroyed: its value is gone and cannot come back")
        plan.add(f"{action} {label}", lambda: self._move(name, have, action))
        return plan

    def find(self, names: list[str]) -> list[Found]:
        """Return the secrets' own fields: one request for all, where the caller may list."""
        if len(names) > 1:
            try:
                by_name = {s["name"].rpartition("/")[2]: s for s in self._listed(names)}
                return [Found(by_name.get(name)) for name in names]
            except PermissionDenied:
                pass  # a caller that may not list can still have rights on single secrets
        paths = [f"{self._parent}/secrets/{name}" for name in names]
        return in_parallel(lambda path: Found(self._session.find("secretmanager", path)), paths)

    def _listed(self, names: list[str]) -> Iterator[Json]:
        """Yield the secrets whose names contain one of these; others are among them."""
        for start in range(0, len(names), NAMES_PER_LIST):
            batch = names[start : start + NAMES_PER_LIST]
            wanted = " OR ".join(f"name:{name}" for name in batch)
            yield from self._session.pages(
                "secretmanager", f"{self._parent}/secrets", "secrets", filter=wanted
            )

    def versions(self, name: str) -> list[Json]:
        """Return the versions of a secret, newest first."""
        path = f"{self._parent}/secrets/{name}/versions"
        return list(self._session.pages("secretmanager", path, "versions"))

    def policy(self, name: str) -> Json:
        """Return the IAM policy of a secret."""
        return self._policy(name).read()

    def _look_closer(self, want: Wanted, have: Found) -> None:
        """Read of an existing secret what the wanted state depends on."""
        if have.secret is None:
            have.latest = 0
            return
        if want.value is not None:
            self._read_value(want.name, have)
        # the first version has nothing older, so there is nothing to retire
        if want.aliases or (want.retire != "keep" and have.latest not in (0, 1)):
            have.versions = self.versions(want.name)
            have.latest = _number(have.versions[0]) if have.versions else 0
        if want.accessors is not None or want.identities:
            have.policy = self.policy(want.name)

    def _read_value(self, name: str, have: Found) -> None:
        path = f"{self._parent}/secrets/{name}/versions/latest:access"
        try:
            answer = self._session.get("secretmanager", path)
        except NotFound:
            have.latest = 0
        except FailedPrecondition:
            have.versions = self.versions(name)
            have.latest = _number(have.versions[0]) if have.versions else 0
        else:
            have.value = verified(answer)
            have.latest = _number(answer)

    def _plan_one(self, plan: Plan, want: Wanted, have: Found) -> None:
        report: Json = {"name": want.name}
        plan.result["secrets"].append(report)
        if have.secret is not None:
            plan.before[want.name] = _shown(have.secret)
        plan.after[want.name] = dict(plan.before.get(want.name, {}))
        self._plan_settings(plan, want, have)
        self._plan_value(plan, want, have, report)
        self._plan_aliases(plan, want, have, report)
        self._plan_accessors(plan, want, have, report)
        self._plan_retirement(plan, want, have, report)

    def _plan_settings(self, plan: Plan, want: Wanted, have: Found) -> None:
        name, path = want.name, f"{self._parent}/secrets/{want.name}"
        if have.secret is None:
            body = {**want.settings, "replication": want.replication or {"automatic": {}}}
            if body.get("rotation"):
                body["rotation"] = self._next_rotation(name, body["rotation"], {})
            plan.after[name] = _shown(body)
            plan.add(
                f"create secret {name}",
                lambda: self._session.post(
                    "secretmanager", f"{self._parent}/secrets", body, secretId=name
                ),
            )
            return
        kept = _locations(have.secret["replication"])
        if want.replication and _locations(want.replication) != kept:
            raise ConfigError(
                f"secret {name}: the replication is {kept} and"
                f" cannot be changed to {_locations(want.replication)}. Delete the secret"
                " (state: absent) and create it anew."
            )
        wanted = {
            key: merged_labels(have.secret.get(key, {}), value, purge=want.purge_labels)
            if key in ("labels", "annotations")
            else value
            for key, value in want.settings.items()
        }
        if wanted.get("rotation"):
            wanted["rotation"] = self._next_rotation(name, wanted["rotation"], have.secret)
        changed = {
            key: value
            for key, value in wanted.items()
            if _meaningful(value) != _meaningful(have.secret.get(key))
        }
        if changed:
            plan.after[name] = _shown({**have.secret, **changed})
            body = {**_shown(changed), "etag": have.secret["etag"]}
            plan.add(
                f"change {', '.join(sorted(changed))} of secret {name}",
                lambda: self._session.patch(
                    "secretmanager", path, body, updateMask=",".join(sorted(changed))
                ),
            )

    def _next_rotation(self, name: str, wanted: Json, secret: Json) -> Json:
        """Return the rotation to ask for: Google moves the time of the next message on by itself."""
        current = secret.get("rotation", {}).get("nextRotationTime")
        first = wanted.get("nextRotationTime")
        is_over = not first or moment(first) < self._session.now()
        if is_over and current:
            return {**wanted, "nextRotationTime": current}
        if is_over and first and secret and "rotationPeriod" not in wanted:
            return {}  # there was one message to send, and it was sent
        if is_over:
            raise ConfigError(
                f"rotation of secret {name}: next_time is {first or 'missing'}, and has to be a time"
                " to come"
            )
        return wanted

    def _plan_value(self, plan: Plan, want: Wanted, have: Found, report: Json) -> None:
        value = want.value
        if value is None:
            return
        report["version"] = max(have.latest, 0)
        if have.latest > 0:
            plan.before[want.name]["version"] = plan.after[want.name]["version"] = have.latest
        if have.value == value:
            return
        report["version"] += 1
        plan.after[want.name]["version"] = report["version"]
        plan.add(
            f"add version {report['version']} to secret {want.name}",
            lambda: report.update(version=self._add_version(want.name, value)),
        )

    def _add_version(self, name: str, value: bytes) -> int:
        path = f"{self._parent}/secrets/{name}:addVersion"
        return _number(self._session.post("secretmanager", path, {"payload": payload(value)}))

    def _plan_aliases(self, plan: Plan, want: Wanted, have: Found, report: Json) -> None:
        if want.aliases is None:
            return
        latest = report.get("version", max(have.latest, 0))
        known = {str(_number(v)) for v in have.versions or []} | {str(latest)} - {"0"}
        wanted = {a: str(latest) if t == "latest" else t for a, t in want.aliases.items()}
        for alias, target in want.aliases.items():
            if wanted[alias] not in known:
                raise ConfigError(
                    f"aliases of secret {want.name}: {alias} names version {target}, which does not"
                    " exist; give a version's number or latest"
                )
        if wanted == (have.secret or {}).get("versionAliases", {}):
            return
        plan.after[want.name]["versionAliases"] = wanted
        plan.add(
            f"change aliases of secret {want.name}", lambda: self._set_aliases(want, latest, report)
        )

    def _set_aliases(self, want: Wanted, planned: int, report: Json) -> None:
        """Set all aliases; `latest` is the version that was added, whatever number it got."""
        latest = report.get("version", planned)
        aliases = {a: str(latest) if t == "latest" else t for a, t in (want.aliases or {}).items()}
        self._session.patch(
            "secretmanager",
            f"{self._parent}/secrets/{want.name}",
            {"versionAliases": aliases},
            updateMask="versionAliases",
        )

    def _plan_accessors(self, plan: Plan, want: Wanted, have: Found, report: Json) -> None:
        if want.accessors is None and not want.identities:
            return
        members = set(want.accessors or ()) | {self._member(i, have) for i in want.identities}
        current = policies.members_of(have.policy or {}, ACCESSOR)
        remove = current - members if want.purge_accessors else set()
        report["accessors"] = sorted((current | members) - remove)
        if current:
            plan.before[want.name]["accessors"] = sorted(current)
        plan.after[want.name]["accessors"] = report["accessors"]
        add = members - current
        if not add and not remove:
            return
        words = [f"grant {m}" for m in sorted(add)] + [f"revoke {m}" for m in sorted(remove)]
        change = functools.partial(
            policies.changed, role=ACCESSOR, condition=None, add=add, remove=remove
        )
        plan.add(
            f"{' and '.join(words)} on secret {want.name}",
            lambda: self._policy(want.name).change(change, have.policy),
        )

    def _member(self, identity: Identity, have: Found) -> str:
        """Return the policy member of an identity; the secret's name contains the project number."""
        project = identity.pool_project
        if project not in self._numbers:
            if project == self._session.project and have.secret:
                self._numbers[project] = have.secret["name"].split("/")[1]
            else:
                self._numbers[project] = policies.project_number(self._session, project)
        number = self._numbers[project]
        return policies.principal(
            number, identity.pool, identity.namespace, identity.service_account
        )

    def _plan_retirement(self, plan: Plan, want: Wanted, have: Found, report: Json) -> None:
        """Disable or destroy what was replaced long enough ago."""
        if want.retire == "keep" or have.secret is None or have.latest < 1:
            return
        replaced_at: datetime | None = None
        kept = 0
        if report.get("version", have.latest) > have.latest:  # this run replaces the latest
            replaced_at, kept = self._session.now(), 1
        elif have.latest == 1:
            return
        newest_first = have.versions or self.versions(want.name)
        aliases = have.secret.get("versionAliases", {}) if want.aliases is None else want.aliases
        aliased = set(aliases.values())
        report["retired"] = []
        spared = not replaced_at  # the newest that can be read stays, even behind disabled ones
        for version in newest_first:
            number = _number(version)
            if version["state"] != "DESTROYED" and kept < want.keep:
                kept += 1
                spared = spared and version["state"] != "ENABLED"
            elif spared and version["state"] == "ENABLED":
                spared = False
            elif replaced_at and str(number) not in aliased and _is_left(version, want.retire):
                age = max(0.0, (self._session.now() - replaced_at).total_seconds())
                if age >= want.grace:
                    self._plan_retire(plan, want, version)
                    report["retired"].append(number)
                else:
                    report["retires_in"] = max(report.get("retires_in", 0), int(want.grace - age))
            replaced_at = moment(version["createTime"])

    def _plan_retire(self, plan: Plan, want: Wanted, version: Json) -> None:
        number = _number(version)
        plan.before[want.name][f"version {number}"] = version["state"]
        plan.after[want.name][f"version {number}"] = _PLURAL[want.retire].upper()
        plan.add(
            f"{want.retire} version {number} of secret {want.name}",
            lambda: self._move(want.name, version, want.retire),
        )

    def _move(self, name: str, version: Json, action: str) -> Json:
        path = f"{self._parent}/secrets/{name}/versions/{_number(version)}:{action}"
        return self._session.post("secretmanager", path, {"etag": version["etag"]})

    def _policy(self, name: str) -> policies.Policy:
        return policies.Policy.of(self._session, {"secret": name})


def check_name(name: str) -> None:
    """Raise ConfigError for a name that Google would refuse."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"name: '{name}' is not a valid secret name: 1 to 255 letters, digits, hyphens and underscores"
        )


def _number(version: Json) -> int:
    number: str = version["name"].rpartition("/")[2]
    if not number.isdecimal():
        raise UnexpectedAnswer(version["name"], "a version without a number")
    return int(number)


def _shown(secret: Json) -> Json:
    """Return the fields of a secret that a diff shows."""
    hidden = ("name", "etag", "createTime", "policyMember")
    return {key: value for key, value in secret.items() if key not in hidden and value}


def _meaningful(value: Any) -> Any:
    """Return a value for comparing: the API leaves out what is empty, and writes times in more than one way."""
    if isinstance(value, dict):
        return {k: _meaningful(v) for k, v in value.items() if v is not None} or None
    if isinstance(value, list):
        return [_meaningful(item) for item in value] or None
    if is_time(value):
        return moment(value).timestamp()
    return value if value != "" else None


def _locations(replication: Json) -> str:
    replicas = replication.get("userManaged", {}).get("replicas", [])
    return ", ".join(sorted(r["location"] for r in replicas)) or "automatic"


def _is_left(version: Json, action: str) -> bool:
    """Return whether the action would change the version."""
    return version["state"] == "ENABLED" or (action == "destroy" and version["state"] == "DISABLED")
