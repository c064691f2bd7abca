"""Egress rules: what is reached inside the cluster, what outside, and what is not."""

from __future__ import annotations

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._pipelines.egress import (
    DNS,
    egress,
)


def spaces(rules):
    return [
        name
        for rule in rules
        for peer in rule.get("to", [])
        for name in peer["namespaceSelector"]["matchExpressions"][0]["values"]
    ]


def ports(rules):
    return [entry["port"] for rule in rules if rule != DNS for entry in rule.get("ports", [])]


def test_names_are_always_resolved():
    assert egress([]) == [DNS]


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("https://api.twitter.com", 443),
        ("http://127.0.0.1:4000/2", 4000),
        ("rediss://:secret@cache.example.com/0", 6379),
        ("https://[2001:db8::1]", 443),
    ],
)
def test_what_is_outside_the_cluster_is_narrowed_to_its_port(url, port):
    rules = egress([url])
    assert ports(rules) == [port]
    assert spaces(rules) == []


def test_a_service_opens_its_namespace_and_those_its_address_leads_through():
    rules = egress(["http://sink.events.svc.cluster.local", "http://sink.more.svc:8080/in"])
    assert ports(rules) == []
    assert spaces(rules) == [
        "events",
        "istio-system",
        "knative-eventing",
        "knative-serving",
        "kourier-system",
        "more",
    ]


def test_paths_and_files_open_nothing():
    assert egress(["/in", "", "/var/lib/events.db"]) == [DNS]


def test_a_viewer_that_may_replay_anywhere_may_reach_everything():
    assert egress(["", "*"]) == [{}]
