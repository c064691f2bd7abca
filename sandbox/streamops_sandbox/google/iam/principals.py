"""Who calls: service accounts, users, and Kubernetes service accounts of a workload identity pool."""

from __future__ import annotations

import re
from dataclasses import dataclass

_POOL = re.compile(
    r"principal://iam\.googleapis\.com/projects/(?P<number>\d+)/locations/global/"
    r"workloadIdentityPools/(?P<pool>[^/]+)/subject/ns/(?P<namespace>[^/]+)/sa/(?P<account>[^/]+)"
)


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller.

    `member` is how policies name it (`serviceAccount:…`, `user:…`, `principal://…`); `unique_id` is
    the numeric ID of an account; `project` the ID of the project that its requests are counted for.
    """

    member: str
    project: str
    unique_id: str = ""

    @property
    def email(self) -> str:
        """The account's e-mail address; empty for a federated identity."""
        kind, _, rest = self.member.partition(":")
        return rest if kind in ("serviceAccount", "user") else ""

    def members(self) -> frozenset[str]:
        """Every form in which a policy's binding may name this caller.

        https://cloud.google.com/iam/docs/principal-identifiers. Groups and domains are not
        modelled: they match nobody.
        """
        names = {self.member, "allUsers", "allAuthenticatedUsers"}
        found = _POOL.fullmatch(self.member)
        if found:
            pool = (
                f"principalSet://iam.googleapis.com/projects/{found['number']}/locations/global/"
                f"workloadIdentityPools/{found['pool']}"
            )
            account = f"{found['pool']}[{found['namespace']}/{found['account']}]"
            names |= {
                f"{pool}/*",
                f"{pool}/namespace/{found['namespace']}",
                f"serviceAccount:{account}",
            }
        return frozenset(names)


def federated(number: str, pool: str, namespace: str, account: str) -> str:
    """The member name of a Kubernetes service account."""
    return (
        f"principal://iam.googleapis.com/projects/{number}/locations/global/"
        f"workloadIdentityPools/{pool}/subject/ns/{namespace}/sa/{account}"
    )
