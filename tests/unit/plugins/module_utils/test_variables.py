"""Misspelt and invalid role variables."""

from __future__ import annotations

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._variables import problems

OPTIONS = {
    "knative_eventing_version": {"type": "str", "default": "1.22.2"},
    "knative_eventing_timeout": {"type": "int", "default": 300},
    "knative_eventing_state": {"type": "str", "choices": ["present", "absent"]},
}


def test_right_variables_have_no_problems():
    given = {"knative_eventing_version": "1.21.0", "knative_eventing_timeout": "20", "other": 1}
    assert problems("knative_eventing", OPTIONS, given) == []


def test_a_misspelt_variable_is_named_with_the_one_that_was_meant():
    (said,) = problems("knative_eventing", OPTIONS, {"knative_eventing_verison": "1"})
    assert said.startswith("knative_eventing_verison:")
    assert said.endswith("did you mean knative_eventing_version?")


def test_an_unknown_variable_that_resembles_nothing_is_refused_too():
    (said,) = problems("knative_eventing", OPTIONS, {"knative_eventing_qqqqqq": "1"})
    assert said == "knative_eventing_qqqqqq: the role knative_eventing has no such variable"


@pytest.mark.parametrize(("name", "count"), [("secrets_path_of_mine", 0), ("secrets_backnd", 1)])
def test_a_prefix_that_others_use_is_refused_only_when_it_looks_misspelt(name, count):
    options = {"secrets_backend": {"type": "str"}}
    assert len(problems("secrets", options, {name: "x"})) == count


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"knative_eventing_timeout": "soon"}, "knative_eventing_timeout"),
        ({"knative_eventing_state": "gone"}, "knative_eventing_state"),
    ],
)
def test_an_invalid_value_is_refused_by_the_specification(given, word):
    (said,) = problems("knative_eventing", OPTIONS, given)
    assert word in said
