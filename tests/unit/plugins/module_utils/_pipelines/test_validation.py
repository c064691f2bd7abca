"""Misspelt and invalid role variables."""

from __future__ import annotations

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._pipelines.validation import (
    check,
    unknown,
)

OPTIONS = {
    "knative_eventing_version": {"type": "str", "default": "1.22.2"},
    "knative_eventing_timeout": {"type": "int", "default": 300},
    "knative_eventing_state": {"type": "str", "choices": ["present", "absent"]},
    "knative_eventing_entries": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str", "default": "x"}, "count": {"type": "int"}},
    },
}


def test_right_variables_have_no_problems_and_get_their_types():
    given = {"knative_eventing_version": "1.21.0", "knative_eventing_timeout": "20", "other": 1}
    checked = check(OPTIONS, given)
    assert checked.problems == []
    assert checked.sound
    assert checked.values["knative_eventing_timeout"] == 20
    assert unknown("knative_eventing", OPTIONS, given) == []


def test_a_misspelt_variable_is_named_with_the_one_that_was_meant():
    (said,) = unknown("knative_eventing", OPTIONS, ["knative_eventing_verison"])
    assert said.startswith("knative_eventing_verison:")
    assert said.endswith("did you mean knative_eventing_version?")


def test_an_unknown_variable_that_resembles_nothing_is_refused_too():
    (said,) = unknown("knative_eventing", OPTIONS, ["knative_eventing_qqqqqq"])
    assert said == "knative_eventing_qqqqqq: the role knative_eventing has no such variable"


@pytest.mark.parametrize(("name", "count"), [("secrets_path_of_mine", 0), ("secrets_backnd", 1)])
def test_a_prefix_that_others_use_is_refused_only_when_it_looks_misspelt(name, count):
    assert len(unknown("secrets", {"secrets_backend": {"type": "str"}}, [name])) == count


@pytest.mark.parametrize(
    ("given", "word", "sound"),
    [
        ({"knative_eventing_timeout": "soon"}, "knative_eventing_timeout", False),
        ({"knative_eventing_state": "gone"}, "knative_eventing_state", True),
        ({"knative_eventing_entries": [{"count": "many"}]}, "count", False),
        ({"knative_eventing_entries": "many"}, "knative_eventing_entries", False),
        (
            {"knative_eventing_entries": [{}, {"nam": 1}]},
            "knative_eventing_entries[1].nam: there is no such key; did you mean name?",
            True,
        ),
        (
            {"knative_eventing_entries": [{"qqq": 1}]},
            "knative_eventing_entries[0].qqq: there is no such key; there are name, count",
            True,
        ),
    ],
)
def test_an_invalid_value_is_refused_by_the_specification(given, word, sound):
    checked = check(OPTIONS, given)
    assert any(word in said for said in checked.problems)
    assert checked.sound is sound


def test_a_default_is_the_roles_to_give():
    checked = check(OPTIONS, {"knative_eventing_entries": [{"count": 1}]})
    assert checked.values["knative_eventing_entries"] == [{"name": None, "count": 1}]
