"""What the preflight finds of other scopes, and of histories that a run would delete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.kube import Kube, api_server, config_map, namespace

from ansible_collections.streamops.knative.plugins.module_utils._pipelines.ownership import problems

VALUES: dict[str, Any] = {
    "knative_eventing_scope": "team-b",
    "secrets_scope": "team-b",
    "secrets_backend": "kubernetes",
    "secrets_kubernetes_name": "keys",
    "secrets_consumers": [{"namespace": "theirs", "service_account": "a"}],
    "twitter_pipeline_scope": "team-b",
    "twitter_pipeline_delete_history": False,
    "twitter_pipeline_name": "twitter",
    "twitter_pipeline_namespace": "theirs",
    "twitter_pipeline_workload": "Deployment",
    "twitter_pipeline_subject_by": "name",
    "twitter_pipeline_delivery": "direct",
    "twitter_pipeline_sink": {},
    "twitter_pipeline_sink_ca_certs": "",
    "twitter_pipeline_sink_audience": "",
    "twitter_pipeline_triggers": [{"name": "viewer"}],
    "twitter_pipeline_viewer": True,
}


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """An API server with the sets of team-a."""
    with api_server(tmp_path_factory.mktemp("server")) as server:
        owned = {"apply_set_scope": "team-a"}
        server.apply(config_map("knative"), apply_set="streamops-knative", **owned)
        server.apply(namespace("theirs"))
        owned["apply_set_namespace"] = "theirs"
        server.apply(config_map("key", "theirs"), apply_set="streamops-keys", **owned)
        checkpoint = config_map("twitter-state", "theirs", last="1")
        server.apply(checkpoint, apply_set="twitter-pipeline", **owned)
        yield server


def found(kube: Kube, role: str, **values: Any) -> list[str]:
    return problems(kube.connect(), [role], {**VALUES, **values})


@pytest.mark.parametrize("role", ["knative_eventing", "secrets", "twitter_pipeline"])
def test_what_belongs_to_another_scope_is_named_with_its_owner(kube: Kube, role: str) -> None:
    (said,) = found(kube, role)
    assert said.startswith(f"{role}_scope: ")
    assert "belongs to the scope 'team-a', not to 'team-b'" in said
    assert found(kube, role, **{f"{role}_scope": "team-a"}) == []


@pytest.mark.parametrize("scope", ["team-a", "team-b"])
def test_a_history_is_deleted_only_when_that_is_confirmed(kube: Kube, scope: str) -> None:
    elsewhere = {"twitter_pipeline_namespace": "elsewhere", "twitter_pipeline_scope": scope}
    said = found(kube, "twitter_pipeline", **elsewhere)
    if scope == "team-b":  # another team, beside the first
        assert said == []
        return
    assert said[0].startswith(
        "twitter_pipeline_delete_history: this run would delete the checkpoint"
    )
    assert "ConfigMap theirs/twitter-state" in said[0]
    assert found(kube, "twitter_pipeline", **elsewhere, twitter_pipeline_delete_history=True) == []
