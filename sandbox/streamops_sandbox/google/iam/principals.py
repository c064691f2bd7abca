"""Who calls: service accounts, users, and Kubernetes service accounts of a workload identity pool."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller.

    `member` is how policies name it (`serviceAccount:…`, `user:…`, `principal://…`); `unique_id` is
    the numeric ID of an account; `project` the ID of the project that its requests are counted for;
    `alias` another name that policies may have for it.
    """

    member: str
    project: str
    unique_id: str = ""
    alias: str = ""

    @property
    def email(self) -> str:
        """The account's e-mail address; empty for a federated identity."""
        kind, _, rest = self.member.partition(":")
        return rest if kind in ("serviceAccount", "user") else ""

    def members(self) -> frozenset[str]:
        """Every form in which a policy's binding may name this caller.

        https://cloud.google.com/iam/docs/principal-identifiers. Groups, domains and sets of
        principals are not modelled: they match nobody.
        """
        return frozenset({self.member, self.alias, "allUsers", "allAuthenticatedUsers"})
