"""What an upgrade of Knative makes fail is found by object, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.kube import Kube, Object, api_server, config_map, definition, deployment, namespace

from ansible_collections.streamops.knative.plugins.module_utils._knative.releases import Version
from ansible_collections.streamops.knative.plugins.module_utils._knative.upgrade_traps import (
    findings,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import KubeError
from ansible_collections.streamops.knative.plugins.modules.knative_info import TASK
from streamops_sandbox.knative import release

#: Of what changes whatever objects there are.
NO_OBJECT = " /"
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with api_server(tmp_path_factory.mktemp("kube")) as running:
        definitions = release.render("knative/serving", "1.23.0", "serving-crds") or ""
        running.apply(
            definitions,
            *(kind("sources.knative.dev", name) for name in ("SinkBinding", "ContainerSource")),
            kind("eventing.knative.dev", "Trigger"),
            kind("eventing.knative.dev", "EventType", "v1beta1"),
            namespace("knative-serving"),
            namespace("knative-eventing"),
            wait=True,
        )
        yield running


def kind(group: str, name: str, version: str = "v1") -> Object:
    """Return a CustomResourceDefinition that takes any spec."""
    made = definition(name, group=group)
    (served,) = made["spec"]["versions"]
    served["name"] = version
    served["schema"]["openAPIV3Schema"]["properties"] |= {"spec": OPEN, "status": OPEN}
    return made


def obj(api_version: str, kind: str, name: str, **fields: Any) -> Object:
    metadata = {"name": name, "namespace": "default", **fields.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def service(name: str, revision: str = "", **annotations: str) -> Object:
    """Return a Knative Service, with traffic to a revision and annotations of networking.knative.dev."""
    template = {
        "metadata": {
            "annotations": {
                f"networking.knative.dev/{key.replace('_', '-')}": value
                for key, value in annotations.items()
            }
        }
    }
    spec: Object = {"template": template}
    if revision:
        spec["traffic"] = [{"revisionName": revision, "percent": 100}]
    return obj("serving.knative.dev/v1", "Service", name, spec=spec)


def revision(name: str, owner: str) -> Object:
    labels = {"serving.knative.dev/service": owner}
    return obj("serving.knative.dev/v1", "Revision", name, metadata={"labels": labels})


def found(kube: Kube, project: str, have: str, want: str) -> dict[str, str]:
    """Return problems by "Kind namespace/name"."""
    return {
        f"{finding.kind} {finding.namespace}/{finding.name}": finding.problem
        for finding in findings(
            kube.connect(),
            {project: Version.parse(have, "x")},
            {project: Version.parse(want, "x")},
        )
    }


def test_services_that_serving_1_21_refuses_are_listed(kube: Kube) -> None:
    kube.apply(
        service("fine", revision="fine-1", ingress_class="kourier.ingress.networking.knative.dev"),
        revision("fine-1", "fine"),
        service("annotated", ingress_clas="kourier.ingress.networking.knative.dev"),
        service("stranger", revision="fine-1"),
    )
    met = found(kube, "serving", "1.20.3", "1.21.0")
    assert met.pop(NO_OBJECT).startswith("names and labels of metrics change")
    assert set(met) == {"Service default/annotated", "Service default/stranger"}
    assert "networking.knative.dev/ingress-clas " in met["Service default/annotated"]
    assert "the revision fine-1 of fine" in met["Service default/stranger"]
    assert "RevisionNotOwned" in met["Service default/stranger"]
    assert found(kube, "serving", "1.21.0", "1.21.5") == {}


def test_sinks_that_eventing_1_22_reaches_by_tls_1_3_only_are_listed(kube: Kube) -> None:
    sources = "sources.knative.dev/v1"
    outside = {"uri": "https://sink.example.com"}
    kube.apply(
        obj(sources, "SinkBinding", "inside", spec={"sink": {"uri": "http://sink.example.com"}}),
        obj(sources, "SinkBinding", "by-name", spec={"sink": {"ref": {"name": "x"}}}),
        obj(sources, "ContainerSource", "outside", spec={"sink": outside}),
        obj(
            "eventing.knative.dev/v1",
            "Trigger",
            "dead-letters",
            spec={"subscriber": {"uri": "http://x"}, "delivery": {"deadLetterSink": outside}},
        ),
    )
    met = found(kube, "eventing", "1.21.1", "1.22.2")
    assert set(met) == {"ContainerSource default/outside", "Trigger default/dead-letters"}
    by_name = obj(sources, "SinkBinding", "by-name")
    kube.set_status(by_name, {"sinkUri": "https://sink.example.com/resolved"})
    resolved = found(kube, "eventing", "1.21.1", "1.22.2")
    assert set(resolved) - set(met) == {"SinkBinding default/by-name"}
    assert "sink.example.com/resolved only by TLS" in resolved["SinkBinding default/by-name"]
    assert "https://sink.example.com only by TLS 1.3" in met["ContainerSource default/outside"]


def test_configuration_that_changes_its_meaning_is_listed(kube: Kube) -> None:
    observability = {"metrics.backend-destination": "prometheus"}
    kube.apply(
        config_map("config-observability", "knative-serving", **observability),
        config_map("config-tracing", "knative-serving", **{"sample-rate": "0.1"}),
        config_map("config-features", "knative-serving", _example="secure-pod-defaults: disabled"),
    )
    old = found(kube, "serving", "1.18.0", "1.19.0")
    assert old.pop(NO_OBJECT).startswith("metrics and traces are OpenTelemetry's")
    assert set(old) == {
        "ConfigMap knative-serving/config-observability",
        "ConfigMap knative-serving/config-tracing",
    }
    assert (
        "metrics.backend-destination have no effect"
        in old["ConfigMap knative-serving/config-observability"]
    )
    new = found(kube, "serving", "1.22.1", "1.23.0")
    assert "secure-pod-defaults is not set" in new["ConfigMap knative-serving/config-features"]
    features = {"secure-pod-defaults": "disabled"}
    kube.apply(config_map("config-features", "knative-serving", **features))
    assert found(kube, "serving", "1.22.1", "1.23.0") == {}


def test_who_writes_a_deprecated_version_is_named(kube: Kube) -> None:
    event_type = obj("eventing.knative.dev/v1beta1", "EventType", "post", spec={"type": "post"})
    kube.apply(event_type, field_manager="some-team")
    met = found(kube, "eventing", "1.22.2", "1.23.0")
    assert "endpointslices.discovery.k8s.io" in met.pop(NO_OBJECT)
    assert set(met) == {"EventType default/post"}
    assert "some-team writes it as eventing.knative.dev/v1beta1" in met["EventType default/post"]
    assert "write it as v1beta3" in met["EventType default/post"]


def test_the_module_returns_them_for_the_releases_asked_for(kube: Kube) -> None:
    running = deployment("activator")
    running["metadata"] |= {
        "namespace": "knative-serving",
        "labels": {"app.kubernetes.io/version": "1.20.0"},
    }
    kube.apply(running, service("unknown-key", other="x"))
    asked: Object = {"gateway": "none"}
    assert kube.run(TASK, **asked).result["upgrade_findings"] == []
    listed = kube.run(TASK, **asked, upgrade_to={"serving": "1.21.0"}).result["upgrade_findings"]
    (met,) = [entry for entry in listed if entry["name"] == "unknown-key"]
    assert (met["project"], met["release"], met["kind"]) == ("serving", "1.21", "Service")
    assert met["namespace"] == "default"
    with pytest.raises(KubeError, match="upgrade_to: servin is unknown; there are serving"):
        kube.run(TASK, **asked, upgrade_to={"servin": "1.21.0"})
