"""sink_binding on a cluster with Knative Eventing: what binds, what does not, and what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kube import (
    Kube,
    Object,
    Outcome,
    api_server,
    cluster,
    definition,
    deployment,
    eventing_release,
    namespace,
)
from support.tls import issue

from ansible_collections.streamops.knative.plugins.module_utils._knative.sink_binding import (
    EVENTING,
    WEBHOOK,
    BindingError,
)
from ansible_collections.streamops.knative.plugins.modules.sink_binding import TASK

SINK = {"apiVersion": "v1", "kind": "Service", "name": "sink"}
URI = "http://sink.{}.svc.cluster.local"


@pytest.fixture(scope="module")
def eventing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """A cluster with Knative Eventing running on it."""
    with cluster(tmp_path_factory.mktemp("cluster")) as kube:
        kube.apply(*eventing_release(), wait=True, wait_timeout=150)
        yield kube


@pytest.fixture
def space(eventing: Kube, request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own, with a Service to send to."""
    name = f"test-{abs(hash(request.node.name)) % 10**8}"
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "sink", "namespace": name},
        "spec": {"ports": [{"port": 80}]},
    }
    eventing.apply(namespace(name), service)
    return name


def bind(
    kube: Kube,
    space: str,
    progress: list[str] | None = None,
    *,
    check: bool = False,
    **options: object,
) -> Outcome:
    subject = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"}
    given = {"subject": subject, "sink": {"ref": SINK}, "timeout": 60, **options}
    return kube.run(TASK, progress, check=check, diff=True, name="b", namespace=space, **given)


def environment(kube: Kube, space: str) -> dict[str, str]:
    found = kube.get("apps/v1", "Deployment", "app", space)
    assert found is not None
    (container,) = found["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", "") for entry in container.get("env") or []}


def test_a_subject_created_after_its_binding_never_lacks_the_sink(
    eventing: Kube, space: str
) -> None:
    before = bind(eventing, space, wait_for="webhook", extensions={"origin": "test"})
    assert before.result["changed"]
    eventing.apply(deployment("app", space))
    assert environment(eventing, space)["K_SINK"] == URI.format(space)
    created = eventing.get("apps/v1", "Deployment", "app", space)
    assert created is not None
    assert created["metadata"]["generation"] == 1
    after = bind(eventing, space, extensions={"origin": "test"})
    assert not after.result["changed"]
    assert after.result["sink_uri"] == URI.format(space)
    assert after.result["subjects"] == ["app"]


def test_check_mode_predicts_what_the_run_does(eventing: Kube, space: str) -> None:
    eventing.apply(deployment("app", space))
    foreseen = bind(eventing, space, check=True)
    assert foreseen.result["changed"]
    assert eventing.get("sources.knative.dev/v1", "SinkBinding", "b", space) is None
    done = bind(eventing, space)
    assert done.result["diff"]["after"]["spec"]["sink"]["ref"]["name"] == "sink"
    assert foreseen.result["diff"] == done.result["diff"]
    assert not bind(eventing, space, check=True).result["changed"]


def test_another_sink_is_one_change_that_reaches_the_subject(eventing: Kube, space: str) -> None:
    eventing.apply(deployment("app", space))
    bind(eventing, space)
    changed = bind(eventing, space, sink={"uri": "http://elsewhere.example.com"})
    assert changed.result["changed"]
    assert environment(eventing, space)["K_SINK"] == "http://elsewhere.example.com"


def test_authorities_and_overrides_of_a_sink_by_uri_reach_the_subject(
    eventing: Kube, space: str, tmp_path: Path
) -> None:
    eventing.apply(deployment("app", space))
    authority, _ = issue("sink.example.com", tmp_path)
    sink = {"uri": "https://sink.example.com/in", "CACerts": authority}
    bound = bind(eventing, space, sink=sink, extensions={"origin": "test", "tenant": "a"})
    assert bound.result["sink_uri"] == "https://sink.example.com/in"
    given = environment(eventing, space)
    assert given["K_SINK"] == "https://sink.example.com/in"
    assert given["K_CA_CERTS"] == authority
    assert json.loads(given["K_CE_OVERRIDES"]) == {"extensions": {"origin": "test", "tenant": "a"}}
    assert not bind(
        eventing, space, sink=sink, extensions={"origin": "test", "tenant": "a"}
    ).result["changed"]


def test_extensions_reach_the_subject_as_strings(eventing: Kube, space: str) -> None:
    eventing.apply(deployment("app", space))
    bind(eventing, space, extensions={"tenant": 7, "internal": True})
    given = json.loads(environment(eventing, space)["K_CE_OVERRIDES"])
    assert given == {"extensions": {"tenant": "7", "internal": "true"}}
    assert not bind(eventing, space, extensions={"tenant": 7, "internal": True}).result["changed"]
    with pytest.raises(BindingError, match=r"extensions\.tenant: \['a'\] is not a valid value"):
        bind(eventing, space, extensions={"tenant": ["a"]})


def test_a_reference_takes_a_relative_uri_and_an_audience(eventing: Kube, space: str) -> None:
    eventing.apply(deployment("app", space))
    sink = {"ref": SINK, "uri": "/in", "audience": "sink-audience"}
    assert bind(eventing, space, sink=sink).result["sink_uri"] == f"{URI.format(space)}/in"
    applied = eventing.get("sources.knative.dev/v1", "SinkBinding", "b", space)
    assert applied is not None
    assert applied["spec"]["sink"]["audience"] == "sink-audience"
    assert applied["status"]["sinkAudience"] == "sink-audience"


def test_a_long_wait_tells_what_it_waits_for(eventing: Kube, space: str) -> None:
    told: list[str] = []
    with pytest.raises(BindingError):
        bind(eventing, space, told, timeout=4)
    assert f"there is no Deployment app in namespace {space}" in told[0]


def test_a_binding_from_a_manifest_is_only_waited_for(eventing: Kube, space: str) -> None:
    eventing.apply(deployment("app", space))
    bind(eventing, space)
    waited = bind(eventing, space, subject=None, sink=None)
    assert not waited.result["changed"]
    assert waited.result["subjects"] == ["app"]


def test_absent_takes_the_sink_out_and_then_changes_nothing(eventing: Kube, space: str) -> None:
    eventing.apply(deployment("app", space))
    bind(eventing, space)
    assert bind(eventing, space, state="absent", check=True).result["changed"]
    assert "K_SINK" in environment(eventing, space)
    assert bind(eventing, space, state="absent").result["changed"]
    assert "K_SINK" not in environment(eventing, space)
    assert not bind(eventing, space, state="absent").result["changed"]


def selecting(label: str) -> Object:
    selector = {"matchLabels": {"app": label}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "selector": selector}


def test_a_selector_binds_all_that_match(eventing: Kube, space: str) -> None:
    labelled = deployment("app", space)
    labelled["metadata"]["labels"] = {"app": "app"}
    eventing.apply(labelled)
    assert bind(eventing, space, subject=selecting("app")).result["subjects"] == ["app"]


def test_a_selector_that_matches_nothing_is_named(eventing: Kube, space: str) -> None:
    eventing.apply(deployment("app", space))
    with pytest.raises(BindingError, match="there is no Deployment with the labels app=ap "):
        bind(eventing, space, subject=selecting("ap"), timeout=1)


def test_a_sink_that_does_not_exist_is_refused_before_anything_is_touched(
    eventing: Kube, space: str
) -> None:
    with pytest.raises(BindingError, match=f"there is no Service gone in namespace {space}"):
        bind(eventing, space, sink={"ref": {**SINK, "name": "gone"}})
    assert eventing.get("sources.knative.dev/v1", "SinkBinding", "b", space) is None


def test_a_sink_without_an_address_is_named_with_the_reason(eventing: Kube, space: str) -> None:
    eventing.apply(deployment("app", space))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "kube-root-ca.crt"}
    with pytest.raises(BindingError, match="its sink does not resolve to an address: "):
        bind(eventing, space, sink={"ref": reference}, timeout=5)


def test_a_namespace_that_the_webhook_leaves_alone_is_named(eventing: Kube, space: str) -> None:
    excluded = namespace(space)
    excluded["metadata"]["labels"] = {"bindings.knative.dev/exclude": "true"}
    eventing.apply(excluded, deployment("app", space))
    with pytest.raises(BindingError, match=r"bindings\.knative\.dev/exclude=true"):
        bind(eventing, space, timeout=1)


def test_subject_and_sink_go_together(eventing: Kube, space: str) -> None:
    with pytest.raises(BindingError, match="subject and sink go together"):
        bind(eventing, space, sink=None)


def test_without_knative_it_says_what_to_install(tmp_path: Path) -> None:
    with api_server(tmp_path) as bare:
        bare.apply(namespace("test"))
        assert bind(bare, "test", check=True).result["changed"]
        with pytest.raises(BindingError, match="install Knative Eventing"):
            bind(bare, "test", sink={"uri": "http://a.example.com"})


MISSING = {"reason": "SubjectMissing", "message": 'deployments.apps "app" not found'}


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Kube]:
    """An API server with a binding as Knative's own controller leaves it before its subject exists."""
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
    webhook = {
        "name": WEBHOOK,
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Ignore",
        "clientConfig": {"service": {"name": "eventing-webhook", "namespace": EVENTING}},
        "rules": [{**rule, "operations": ["CREATE"]}],
    }
    with api_server(tmp_path) as kube:
        anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        crd = definition("SinkBinding", "sources.knative.dev", sink=anything, subject=anything)
        kube.apply(crd, wait=True)
        kube.apply(
            namespace("test"),
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": WEBHOOK},
                "webhooks": [webhook],
            },
        )
        bind(kube, "test", sink={"uri": "http://sink.example"}, wait_for="nothing")
        binding = kube.get("sources.knative.dev/v1", "SinkBinding", "b", "test")
        assert binding is not None
        conditions = [
            {"type": "Ready", "status": "False", **MISSING},
            {"type": "SinkBindingAvailable", "status": "False", **MISSING},
            {"type": "SinkProvided", "status": "Unknown"},
        ]
        kube.set_status(binding, {"conditions": conditions})
        yield kube


def test_the_webhook_is_waited_for_although_knative_resolves_no_sink_without_a_subject(
    recorded: Kube,
) -> None:
    sink = {"uri": "http://sink.example"}
    waited = bind(recorded, "test", sink=sink, wait_for="webhook", timeout=20)
    assert not waited.result["changed"]


def test_a_condition_that_failed_is_the_diagnosis_of_a_binding_not_reconciled(
    recorded: Kube,
) -> None:
    recorded.apply(deployment("app", "test"))
    with pytest.raises(BindingError, match=r"SinkBindingAvailable is False: deployments\.apps"):
        bind(recorded, "test", sink={"uri": "http://sink.example"}, timeout=1)
