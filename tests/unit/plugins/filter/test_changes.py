"""What tasks have changed, in words."""

from __future__ import annotations

import pytest

from ansible_collections.streamops.knative.plugins.filter.changes import changes


def touched(action: str, *names: str) -> list[dict[str, str]]:
    return [
        {"action": action, "kind": "Deployment", "namespace": "a", "name": name} for name in names
    ]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({}, []),
        ({"skipped": True, "changed": False}, []),
        ({"changed": False, "changes": [], "objects": touched("unchanged", "x")}, []),
        ({"changed": True, "changes": ["create cluster a"]}, ["create cluster a"]),
        ({"changed": True, "image": "r/a@sha256:1"}, ["pushed r/a@sha256:1"]),
        (
            {"changed": True, "objects": touched("created", "x") + touched("unchanged", "y")},
            ["created Deployment a/x"],
        ),
        (
            {"changed": True, "objects": touched("created", *"abcdef") + touched("pruned", "z")},
            ["created 6 objects", "pruned Deployment a/z"],
        ),
        (
            {"changed": True, "objects": [{"action": "created", "kind": "Namespace", "name": "n"}]},
            ["created Namespace n"],
        ),
        (
            {"changed": True, "results": [{"changed": True, "image": "i"}, {"skipped": True}]},
            ["pushed i"],
        ),
    ],
)
def test_results_in_words(result, said):
    assert changes([result]) == said


def test_a_change_that_two_results_report_is_told_once():
    one = {"changed": True, "changes": ["enable API a"]}
    assert changes([one, one]) == ["enable API a"]
