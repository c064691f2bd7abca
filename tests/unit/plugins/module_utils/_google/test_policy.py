"""Members are added and removed, and nothing else of a policy changes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.streamops.knative.plugins.module_utils._google.policy import (
    changed,
    members_of,
    principal,
)

SOON = {"title": "soon", "expression": "request.time < x"}
MEMBERS = st.sets(st.sampled_from(["user:a", "user:b", "user:c", "group:d"]))
ROLES = st.sampled_from(["roles/x", "roles/y"])
BINDINGS = st.lists(
    st.fixed_dictionaries(
        {"role": ROLES, "members": MEMBERS.map(sorted)},
        optional={"condition": st.just(SOON)},
    ),
    max_size=4,
)


def others(policy: dict[str, Any], role: str) -> list[Any]:
    """Who has what, besides the unconditional binding of a role."""
    return sorted(
        (b["role"], str(b.get("condition")), m)
        for b in policy["bindings"]
        for m in b["members"]
        if b["role"] != role or b.get("condition")
    )


@given(BINDINGS, ROLES, MEMBERS, MEMBERS)
def test_only_what_is_asked_for_changes(
    bindings: list[Any], role: str, add: set[str], remove: set[str]
) -> None:
    policy = {"etag": "e", "bindings": bindings}
    result = changed(policy, role, None, add=add, remove=remove)
    assert members_of(result, role) == (members_of(policy, role) | add) - remove
    assert others(result, role) == others(policy, role)
    assert (result["etag"], result["version"]) == ("e", 3)
    assert policy == {"etag": "e", "bindings": bindings}, "the one that was read is left alone"


def test_a_condition_is_part_of_what_a_binding_is() -> None:
    policy = {"bindings": [{"role": "roles/x", "members": ["user:a"], "condition": SOON}]}
    assert members_of(policy, "roles/x") == set()
    assert members_of(policy, "roles/x", SOON) == {"user:a"}
    gone = changed(policy, "roles/x", SOON, remove=["user:a"])
    assert gone["bindings"] == []


def test_a_principal_as_google_writes_it() -> None:
    assert principal("12", "p.svc.id.goog", "ns", "sa") == (
        "principal://iam.googleapis.com/projects/12/locations/global/workloadIdentityPools/"
        "p.svc.id.goog/subject/ns/ns/sa/sa"
    )
