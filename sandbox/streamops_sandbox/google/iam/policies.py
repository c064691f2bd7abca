"""IAM: what roles permit, and policies with their etags (https://cloud.google.com/iam/docs/allow-policies)."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from streamops_sandbox.google.errors import GoogleError, invalid, invalid_argument, not_modelled
from streamops_sandbox.google.iam.principals import Principal

#: Role -> patterns of the permissions it holds.
ROLES: Mapping[str, Sequence[str]] = yaml.safe_load(
    (Path(__file__).parent / "roles.yaml").read_text(encoding="utf-8")
)

_MEMBER = re.compile(
    r"allUsers|allAuthenticatedUsers|(user|serviceAccount|group|domain|deleted:\w+):[^\s:]\S*"
    r"|(principal|principalSet)://\S+"
)


@dataclass(slots=True)
class Policy:
    """The allow policy of one resource; `generation` makes its etag."""

    bindings: list[dict[str, Any]] = field(default_factory=list)
    generation: int = 0
    version: int = 1

    @property
    def etag(self) -> str:
        """Base64, as Google's; the empty policy has the one Google gives it, ACAB."""
        if not self.generation:
            return "ACAB"
        return base64.b64encode(b"BwY" + self.generation.to_bytes(5)).decode()

    def read(self, requested_version: int) -> dict[str, Any]:
        """The policy as getIamPolicy answers it; its conditions are told with version 3 only."""
        conditional = any("condition" in b for b in self.bindings)
        if conditional and requested_version < 3:
            raise not_modelled("reading a policy with conditions as one of an older version than 3")
        shown = {"version": 3 if conditional else 1, "etag": self.etag}
        return shown | ({"bindings": copy.deepcopy(self.bindings)} if self.bindings else {})

    def write(self, policy: Mapping[str, Any]) -> None:
        """Replace the bindings, as setIamPolicy does with `policy`."""
        etag = policy.get("etag")
        if etag and etag != self.etag:
            raise GoogleError(
                "ABORTED",
                "There were concurrent policy changes. Please retry the whole read-modify-write"
                " with exponential backoff. The request's ETag "
                f"'{etag}' did not match the current policy's ETag '{self.etag}'.",
            )
        bindings = [_checked(binding) for binding in policy.get("bindings", [])]
        if any("condition" in b for b in [*bindings, *self.bindings]):
            if policy.get("version") != 3:
                raise invalid_argument(
                    "The specified policy version is not supported: a policy with conditions is"
                    " written with version 3."
                )
            if not etag:
                raise invalid_argument("A policy with conditions is written with its etag.")
        self.bindings = bindings
        self.generation += 1

    def grants(self, permission: str, members: Iterable[str]) -> bool:
        """Whether a binding gives `permission` to one of `members`; those with a condition do not."""
        names = frozenset(members)
        return any(
            names.intersection(binding.get("members", ()))
            and "condition" not in binding
            and permits(binding["role"], permission)
            for binding in self.bindings
        )


def permits(role: str, permission: str) -> bool:
    """Whether a role holds a permission."""
    return any(fnmatchcase(permission, pattern) for pattern in ROLES.get(role, ()))


def allowed(principal: Principal, permission: str, policies: Iterable[Policy]) -> bool:
    """Whether one of the policies, from the resource up to its project, allows it."""
    members = principal.members()
    return any(policy.grants(permission, members) for policy in policies)


def _checked(binding: Mapping[str, Any]) -> dict[str, Any]:
    role, members = binding.get("role", ""), binding.get("members", [])
    if role not in ROLES:
        raise invalid(
            "policy.bindings.role",
            f"Role {role} is not supported for this resource. (The sandbox knows:"
            f" {', '.join(sorted(ROLES))}.)",
        )
    for member in members:
        if not _MEMBER.fullmatch(member):
            raise invalid("policy.bindings.member", f"Invalid member: {member!r}")
    checked: dict[str, Any] = {"role": role, "members": sorted(set(members))}
    if condition := binding.get("condition"):
        checked["condition"] = dict(condition)
    return checked
