"""What cannot run as a rulebook: each is refused by its variable, with what to do."""

from __future__ import annotations

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._pipelines.rulebook_probe import (
    PROBE_TYPE,
)
from ansible_collections.streamops.knative.plugins.module_utils._pipelines.rulebooks import problems

KNOWN = ["streamops.knative.bindings", "streamops.knative.posts"]
RULEBOOK = f"""
- name: Any
  hosts: all
  sources:
    - name: events
      streamops.knative.cloudevents: {{port: 5000}}
  rules:
    - name: A probe has arrived
      condition: event.type == "{PROBE_TYPE}"
      action: {{none: {{}}}}
"""


@pytest.fixture(name="project")
def make_project(tmp_path):
    """A project with a rulebook that can run."""
    (tmp_path / "good.yml").write_text(RULEBOOK)
    return tmp_path


def found(**given):
    values = {
        "state": "present",
        "name": "event-driven",
        "namespace": "streamops",
        "registry": "registry.example.com/streamops",
        "image": "",
        "broker": "twitter",
        "verify": True,
        "rulebook": "streamops.knative.posts",
        "project": "",
        **given,
    }
    return problems({f"event_driven_{name}": value for name, value in values.items()}, KNOWN)


def of_project(project, content, **given):
    (project / "tried.yml").write_text(content)
    return found(project=str(project), rulebook="tried.yml", **given)


def test_rulebooks_of_the_collection_and_of_a_project_can_run(project):
    assert found() == []
    assert found(project=str(project), rulebook="good.yml") == []


def test_absent_needs_no_rulebook():
    assert found(state="absent", rulebook="", registry="") == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rulebook": ""}, "event_driven_rulebook is empty"),
        ({"rulebook": "streamops.knative.post"}, "did you mean streamops.knative.posts?"),
        ({"rulebook": "posts"}, "is neither a full name"),
        ({"rulebook": "good.yml"}, "set event_driven_project"),
        ({"registry": ""}, "event_driven_registry is empty"),
        ({"name": "Rules"}, "event_driven_name: 'Rules' is not a DNS label"),
        ({"namespace": "kube-system"}, "belongs to the cluster"),
        ({"broker": "", "filters": [{"exact": {"type": "a"}}]}, "event_driven_filters: without"),
        ({"broker": "", "dead_letter": {"uri": "http://a"}}, "event_driven_dead_letter: without"),
        ({"rulebook": "other.rules.all"}, "would not have the collection other.rules"),
    ],
)
def test_what_contradicts_itself_is_named(given, words):
    (said,) = found(**given)
    assert words in said


def test_a_file_that_is_not_there_is_named(project):
    (said,) = found(project=str(project), rulebook="rules/bad.yml")
    assert f"there is no file {project}/rules/bad.yml" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("- name: [", "tried.yml:2: not valid YAML"),
        ("- name: [", "does not parse"),
        ("name: Any", "is not a rulebook: a list of rule sets"),
        ("[]\n---\n[]", "is not a rulebook"),
        ("- just a text", "is not a rulebook"),
        (RULEBOOK.replace("hosts: all", ""), "rule set 1 has no hosts"),
        (RULEBOOK.replace(PROBE_TYPE, "other"), "has no rule for the probe"),
        (
            RULEBOOK.replace("streamops.knative.cloudevents", "other.rules.source"),
            "its source other.rules.source: the collection other.rules is not in",
        ),
    ],
)
def test_a_rulebook_that_cannot_run_is_refused(project, content, words):
    (said,) = of_project(project, content)
    assert said.startswith("event_driven_rulebook: ")
    assert words in said


def test_without_a_probe_no_rule_is_needed_for_it(project):
    other = RULEBOOK.replace(PROBE_TYPE, "other")
    assert of_project(project, other, verify=False) == []
    assert of_project(project, other, broker="") == []


def test_collections_of_the_project_are_found(project):
    (project / "collections/ansible_collections/other/rules").mkdir(parents=True)
    content = RULEBOOK.replace("streamops.knative.cloudevents", "other.rules.source")
    assert of_project(project, content) == []
    assert found(project=str(project), rulebook="other.rules.all") == []


def test_what_is_in_an_image_that_exists_is_not_looked_for():
    image = "registry.example.com/rules:1.0"
    assert found(image=image, registry="", rulebook="rules/all.yml") == []
    assert found(image=image, registry="", rulebook="other.rules.all") == []
