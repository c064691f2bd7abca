"""What of a cluster is the same, what results from an update, and what Google would refuse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.streamops.knative.plugins.module_utils._google.errors import ConfigError
from ansible_collections.streamops.knative.plugins.module_utils._google.gke.settings import (
    SETTINGS,
    covers,
    limits,
    overlaid,
    same,
)

LEAVES = st.one_of(st.booleans(), st.integers(0, 3), st.sampled_from(["a", "b"]))
VALUES = st.recursive(LEAVES, lambda v: st.dictionaries(st.sampled_from("xyz"), v), max_leaves=6)


@given(VALUES, VALUES)
def test_an_update_is_in_what_results_from_it(current: Any, wanted: Any) -> None:
    result = overlaid(current, wanted)
    assert covers(result, wanted)
    assert overlaid(result, wanted) == result
    if isinstance(current, dict) and isinstance(wanted, dict):
        assert {k: v for k, v in result.items() if k not in wanted} == {
            k: v for k, v in current.items() if k not in wanted
        }


def test_times_are_compared_as_times() -> None:
    assert covers({"t": "2030-01-05T00:00:00Z"}, {"t": "2030-01-05T01:00:00+01:00"})
    assert not covers({"t": "2030-01-05T00:00:00Z"}, {"t": "2030-01-05T00:00:01Z"})


def test_networks_are_compared_as_networks() -> None:
    (setting,) = (s for s in SETTINGS if s.option == "authorized_networks")

    def blocks(*cidrs: str) -> dict[str, Any]:
        return {"enabled": True, "cidrBlocks": [{"cidrBlock": cidr} for cidr in cidrs]}

    assert same(setting, blocks("10.0.0.7/8", "192.0.2.0/24"), blocks("192.0.2.0/24", "10.0.0.0/8"))
    assert not same(setting, blocks("10.0.0.0/8"), blocks("10.0.0.0/9"))


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, None),
        ({"min_nodes": 0}, {"enabled": True, "minNodeCount": 0, "maxNodeCount": 7}),
        ({"max_nodes": 9}, {"enabled": True, "minNodeCount": 2, "maxNodeCount": 9}),
    ],
)
def test_a_limit_that_is_not_given_stays(options: dict[str, Any], wanted: Any) -> None:
    assert limits(options, {"enabled": True, "minNodeCount": 2, "maxNodeCount": 7}) == wanted


def test_limits_that_cross_with_what_is_there() -> None:
    with pytest.raises(ConfigError, match="min_nodes 8 is more than max_nodes 7"):
        limits({"min_nodes": 8}, {"enabled": True, "minNodeCount": 2, "maxNodeCount": 7})
