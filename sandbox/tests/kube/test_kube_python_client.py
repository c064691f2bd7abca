"""The `kubernetes` package: typed client, dynamic client, watch, server-side apply."""

from __future__ import annotations

import threading

import pytest
from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError


@pytest.fixture(scope="module")
def api(cluster):
    configuration = client.Configuration()
    config.load_kube_config(str(cluster.kubeconfig), client_configuration=configuration)
    configuration.proxy = None
    with client.ApiClient(configuration) as made:
        yield made


def test_typed_client(api, namespace):
    core = client.CoreV1Api(api)
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="a"), data={"k": "v"})
    made = core.create_namespaced_config_map(namespace, body)
    assert made.metadata.creation_timestamp.tzinfo is not None
    made.data["k"] = "w"
    core.replace_namespaced_config_map("a", namespace, made)
    core.patch_namespaced_config_map("a", namespace, {"data": {"x": "y"}})
    assert core.read_namespaced_config_map("a", namespace).data == {"k": "w", "x": "y"}
    with pytest.raises(ApiException) as conflict:
        core.replace_namespaced_config_map("a", namespace, made)
    assert conflict.value.status == 409
    core.delete_namespaced_config_map("a", namespace)
    assert core.list_namespaced_config_map(namespace).items == []


def test_typed_workloads(api, namespace):
    apps = client.AppsV1Api(api)
    pod = client.V1PodSpec(containers=[client.V1Container(name="a", image="b:1")])
    labels = {"app": "a"}
    template = client.V1PodTemplateSpec(client.V1ObjectMeta(labels=labels), pod)
    spec = client.V1DeploymentSpec(
        selector=client.V1LabelSelector(match_labels=labels), template=template
    )
    body = client.V1Deployment(metadata=client.V1ObjectMeta(name="d"), spec=spec)
    made = apps.create_namespaced_deployment(namespace, body)
    assert made.spec.strategy.rolling_update.max_surge == "25%"
    scale = apps.read_namespaced_deployment_scale("d", namespace)
    scale.spec.replicas = 3
    apps.replace_namespaced_deployment_scale("d", namespace, scale)
    assert apps.read_namespaced_deployment("d", namespace).spec.replicas == 3


def test_watch_resumes(api, namespace):
    core = client.CoreV1Api(api)
    start = core.list_namespaced_config_map(namespace).metadata.resource_version

    def later() -> None:
        for name in ("a", "b"):
            core.create_namespaced_config_map(namespace, {"metadata": {"name": name}})
        core.delete_namespaced_config_map("a", namespace)

    threading.Timer(0.2, later).start()
    seen = []
    for event in watch.Watch().stream(
        core.list_namespaced_config_map, namespace, resource_version=start, timeout_seconds=60
    ):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 3:
            break
    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]


def test_dynamic_client(api, cluster, namespace):
    found = dynamic.DynamicClient(api)
    deployments = found.resources.get(api_version="apps/v1", kind="Deployment")
    assert "deploy" in deployments.short_names
    configmaps = found.resources.get(api_version="v1", kind="ConfigMap")
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": namespace},
        "data": {"k": "v"},
    }
    first = configmaps.server_side_apply(body=body, namespace=namespace, field_manager="one")
    again = configmaps.server_side_apply(body=body, namespace=namespace, field_manager="one")
    assert first.metadata.resourceVersion == again.metadata.resourceVersion
    body["data"] = {"k": "w"}
    with pytest.raises(ConflictError) as conflict:
        configmaps.server_side_apply(body=body, namespace=namespace, field_manager="two")
    assert 'conflict with \\"one\\": .data.k' in conflict.value.body
    forced = configmaps.server_side_apply(
        body=body, namespace=namespace, field_manager="two", force_conflicts=True
    )
    assert forced.data.k == "w"
    assert [item.metadata.name for item in configmaps.get(namespace=namespace).items] == ["a"]
    configmaps.delete(name="a", namespace=namespace)
    with pytest.raises(NotFoundError):
        configmaps.get(name="a", namespace=namespace)


def test_pages_through_a_list(api, namespace):
    core = client.CoreV1Api(api)
    for number in range(5):
        core.create_namespaced_config_map(namespace, {"metadata": {"name": f"c{number}"}})
    names, token = [], None
    while token != "":
        page = core.list_namespaced_config_map(namespace, limit=2, _continue=token)
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue or ""
    assert names == [f"c{number}" for number in range(5)]
