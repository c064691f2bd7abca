"""IAM policies: adding and removing members without touching the grants of others.

https://cloud.google.com/iam/docs/allow-policies. A binding is identified by its role and its
condition; policies are read and written as version 3, with the etag, so that conditions survive.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._module.options import Spec
from .errors import ConfigError
from .session import Session

Json = dict[str, Any]
VERSION = 3
#: What holds for the options that name the resource whose policy is meant.
SECRET: Spec = {"secret": {"no_log": False}}  # its name
ONE_RESOURCE: Mapping[str, Any] = {
    "mutually_exclusive": [("secret", "service_account", "repository")],
    "required_by": {"repository": ("location",)},
}
_MEMBER = re.compile(
    r"allUsers|allAuthenticatedUsers|(deleted:)?(user|serviceAccount|group|domain):[^\s:]\S*"
    r"|(deleted:)?(principal|principalSet)://\S+"
)


@dataclass(frozen=True)
class Policy:
    """The policy of one resource: how it is read and written differs from service to service."""

    session: Session
    service: str
    path: str
    what: str
    read_by_post: bool = False
    in_body: bool = False

    @classmethod
    def of(cls, session: Session, options: Json) -> Policy:
        """Return that of the secret, service account or repository that the options name, or of the project."""
        project = f"projects/{session.project}"
        if options.get("secret"):
            path = f"v1/{project}/secrets/{options['secret']}"
            return cls(session, "secretmanager", path, f"secret {options['secret']}")
        if options.get("service_account"):
            email = options["service_account"]
            path = f"v1/{project}/serviceAccounts/{email}"
            return cls(session, "iam", path, email, read_by_post=True)
        if options.get("repository"):
            name = options["repository"]
            path = f"v1/{project}/locations/{options['location']}/repositories/{name}"
            return cls(session, "artifactregistry", path, f"repository {name}")
        return cls(
            session,
            "cloudresourcemanager",
            f"v3/{project}",
            project,
            read_by_post=True,
            in_body=True,
        )

    def read(self) -> Json:
        """Return the policy, with its conditions."""
        path = f"{self.path}:getIamPolicy"
        if self.in_body:
            body = {"options": {"requestedPolicyVersion": VERSION}}
            return self.session.post(self.service, path, body)
        if self.read_by_post:
            return self.session.post(
                self.service, path, None, options__requestedPolicyVersion=VERSION
            )
        return self.session.get(self.service, path, options__requestedPolicyVersion=VERSION)

    def change(self, change: Callable[[Json], Json], policy: Json | None = None) -> None:
        """Change the policy that was read, or is read now; it is written with the etag it came with.

        Raises Aborted where the policy was modified concurrently.
        """
        policy = policy or self.read()
        wanted = change(policy)
        if _bindings(wanted) != _bindings(policy):
            self.session.post(self.service, f"{self.path}:setIamPolicy", {"policy": wanted})


def check_members(option: str, members: Iterable[str]) -> list[str]:
    """Return the members as IAM writes them; raise ConfigError naming those that IAM would refuse.

    E-mail addresses and domains are lower-case there
    (https://cloud.google.com/iam/docs/principal-identifiers).
    """
    wrong = [m for m in members if not _MEMBER.fullmatch(m)]
    if wrong:
        raise ConfigError(
            f"{option}: {' and '.join(map(repr, wrong))} is not a valid member: user:, serviceAccount:,"
            " group:, domain:, principal:// or principalSet:// comes first"
        )
    return [m if "://" in m or m.startswith("all") else _lower(m) for m in members]


def _lower(member: str) -> str:
    kind, colon, rest = member.rpartition(":")
    return f"{kind}{colon}{rest.lower()}"


def members_of(policy: Json, role: str, condition: Json | None = None) -> set[str]:
    """Return who has `role` under exactly this condition."""
    found: set[str] = set()
    for binding in policy.get("bindings", []):
        if _is(binding, role, condition):
            found.update(binding.get("members", []))
    return found


def changed(
    policy: Json,
    role: str,
    condition: Json | None,
    *,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
) -> Json:
    """Return a copy of the policy with members added to and removed from one binding; the etag is kept."""
    result = copy.deepcopy(policy)
    result["version"] = VERSION
    members = (members_of(policy, role, condition) | set(add)) - set(remove)
    bindings = [b for b in result.get("bindings", []) if not _is(b, role, condition)]
    if members:
        binding: Json = {"role": role, "members": sorted(members)}
        if condition:
            binding["condition"] = dict(condition)
        bindings.append(binding)
    result["bindings"] = bindings
    return result


def principal(number: str, pool: str, namespace: str, service_account: str) -> str:
    """Return how policies name a Kubernetes service account of a workload identity pool.

    https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity#principal-identifiers
    """
    return (
        f"principal://iam.googleapis.com/projects/{number}/locations/global/"
        f"workloadIdentityPools/{pool}/subject/ns/{namespace}/sa/{service_account}"
    )


def pool_of(project: str) -> str:
    """Return the workload pool of a project's clusters; raise ConfigError where only its number is known."""
    if project.isdigit():
        raise ConfigError(f"pool: name the workload pool (ID.svc.id.goog) of project {project}")
    return f"{project}.svc.id.goog"


def project_number(session: Session, project: str) -> str:
    """Return the number of a project, from Service Usage: the one API that is enabled in every project."""
    if project.isdigit():
        return project
    path = f"v1/projects/{project}/services/serviceusage.googleapis.com"
    parent: str = session.get("serviceusage", path)["parent"]
    return parent.removeprefix("projects/")


def _is(binding: Json, role: str, condition: Json | None) -> bool:
    return binding.get("role") == role and (binding.get("condition") or None) == (condition or None)


def _bindings(policy: Json) -> list[Any]:
    return sorted(
        (b["role"], str(b.get("condition")), sorted(b.get("members", [])))
        for b in policy.get("bindings", [])
        if b.get("members")
    )
