"""What a container finds: environment, volumes, identity."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from support.sandbox import Cluster, until

REPORT = """
import json, os, pathlib, sys
files = {}
for folder in sys.argv[1:]:
    for path in sorted(pathlib.Path(folder).iterdir()):
        if path.is_file() and not path.name.startswith(".."):
            files[folder + "/" + path.name] = path.read_text()
print(json.dumps({"env": dict(os.environ), "files": files, "cwd": os.getcwd()}))
"""


def report(cluster: Cluster, pod: dict[str, Any]) -> dict[str, Any]:
    """Run a pod that prints what it finds; returns that."""
    cluster.apply(pod)
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    cluster.wait_for_pod(name, namespace, lambda s: s.get("phase") == "Succeeded", "its end")
    found: dict[str, Any] = json.loads(cluster.logs(name, namespace))
    return found


def test_variables_come_from_everywhere_and_refer_to_each_other(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings", "namespace": namespace},
            "data": {"COLOUR": "blue", "SIZE": "1"},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "keys", "namespace": namespace},
            "stringData": {"KEY": "geheim ü\n2"},
        },
    )
    pod = cluster.python_pod(
        "env",
        namespace,
        REPORT,
        restartPolicy="Never",
        env=[
            {"name": "SIZE", "value": "2"},
            {"name": "BOTH", "value": "$(COLOUR)-$(SIZE)-$$(SIZE)-$(UNKNOWN)"},
            {"name": "K", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "KEY"}}},
            {
                "name": "NONE",
                "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k", "optional": True}},
            },
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        ],
        envFrom=[
            {"configMapRef": {"name": "settings"}},
            {"secretRef": {"name": "keys"}, "prefix": "P_"},
        ],
    )
    env = report(cluster, pod)["env"]
    assert env["BOTH"] == "blue-2-$(SIZE)-$(UNKNOWN)"
    assert env["K"] == env["P_KEY"] == "geheim ü\n2"
    assert "NONE" not in env
    assert env["APP"] == env["HOSTNAME"] == "env"
    assert env["IP"] == env["HOST"]
    assert env["IP"] == cluster.get("v1", "Pod", "env", namespace)["status"]["podIP"]
    assert env["KUBERNETES_SERVICE_HOST"] == "127.0.0.1"


def test_nothing_of_the_users_own_environment_gets_in(cluster: Cluster, namespace: str) -> None:
    env = report(cluster, cluster.python_pod("clean", namespace, REPORT, restartPolicy="Never"))[
        "env"
    ]
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "VIRTUAL_ENV", "USER", "SANDBOX_ID"):
        assert name not in env
    assert ".venv" not in env["PATH"]


def test_volumes_of_every_kind(cluster: Cluster, namespace: str) -> None:
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "files", "namespace": namespace},
            "data": {"a.txt": "A", "b.txt": "B"},
            "binaryData": {"c.bin": base64.b64encode(b"\x01C").decode()},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "keys", "namespace": namespace},
            "stringData": {"key": "secret"},
        },
    )
    volumes = [
        {"name": "cm", "configMap": {"name": "files"}},
        {
            "name": "some",
            "configMap": {"name": "files", "items": [{"key": "a.txt", "path": "first"}]},
        },
        {"name": "secret", "secret": {"secretName": "keys"}},
        {"name": "scratch", "emptyDir": {}},
        {
            "name": "all",
            "projected": {
                "sources": [
                    {"secret": {"name": "keys"}},
                    {
                        "downwardAPI": {
                            "items": [
                                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
                            ]
                        }
                    },
                    {"configMap": {"name": "files", "items": [{"key": "b.txt", "path": "b"}]}},
                    {"serviceAccountToken": {"path": "token", "audience": "me"}},
                ]
            },
        },
    ]
    names = [volume["name"] for volume in volumes]
    pod = cluster.python_pod(
        "volumes",
        namespace,
        REPORT,
        restartPolicy="Never",
        args=[f"/mnt/{name}" for name in names]
        + ["/var/run/secrets/kubernetes.io/serviceaccount", "/mnt"],
        volumeMounts=[{"name": name, "mountPath": f"/mnt/{name}"} for name in names]
        + [{"name": "cm", "mountPath": "/mnt/single", "subPath": "a.txt"}],
        pod={"volumes": volumes},
    )
    files = report(cluster, pod)["files"]
    assert files["/mnt/cm/a.txt"] == files["/mnt/some/first"] == files["/mnt/single"] == "A"
    assert files["/mnt/cm/c.bin"] == "\x01C"
    assert files["/mnt/secret/key"] == files["/mnt/all/key"] == "secret"
    assert files["/mnt/all/b"] == "B"
    assert files["/mnt/all/labels"] == 'app="volumes"'
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert files[f"{account}/namespace"] == namespace
    assert "BEGIN CERTIFICATE" in files[f"{account}/ca.crt"]
    claims = [
        json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        for token in (files[f"{account}/token"], files["/mnt/all/token"])
    ]
    assert {claim["sub"] for claim in claims} == {f"system:serviceaccount:{namespace}:default"}
    assert claims[1]["aud"] == ["me"]
    assert claims[1]["kubernetes.io"]["pod"]["name"] == "volumes"


def test_a_changed_config_map_reaches_the_running_container(
    cluster: Cluster, namespace: str
) -> None:
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": namespace},
        "data": {"colour": "blue"},
    }
    code = """
import os, pathlib, time
path = pathlib.Path("/etc/settings/colour")
last = None
while True:
    text = path.read_text()
    if text != last:
        print(text)
        last = text
    time.sleep(0.05)
"""
    pod = cluster.python_pod(
        "watcher",
        namespace,
        code,
        volumeMounts=[{"name": "settings", "mountPath": "/etc/settings"}],
        pod={
            "volumes": [{"name": "settings", "configMap": {"name": "settings"}}],
            "terminationGracePeriodSeconds": 0,
        },
    )
    cluster.apply(pod)
    # Without its ConfigMap the pod has to wait; with it, it starts by itself.
    until(
        lambda: any(
            event["reason"] == "FailedMount"
            and 'configmap "settings" not found' in event["message"]
            for event in cluster.list("v1", "Event", namespace)
        ),
        "the event",
    )
    cluster.apply(settings)
    cluster.wait_for_pod("watcher", namespace, lambda s: s.get("phase") == "Running", "its start")
    until(lambda: cluster.logs("watcher", namespace) == "blue\n", "the first value")
    settings["data"] = {"colour": "red"}
    cluster.apply(settings)
    until(lambda: cluster.logs("watcher", namespace) == "blue\nred\n", "the second value")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "no", "key": "k"}}, 'configmap "no" not found'),
        (
            {"configMapKeyRef": {"name": "kube-root-ca.crt", "key": "k"}},
            "couldn't find key k in ConfigMap {namespace}/kube-root-ca.crt",
        ),
    ],
)
def test_a_missing_reference_is_a_create_container_config_error(
    cluster: Cluster, namespace: str, source: dict[str, Any], message: str
) -> None:
    env = [{"name": "X", "valueFrom": source}]
    cluster.apply(cluster.python_pod("bad", namespace, "pass", env=env))

    def waiting(status: dict[str, Any]) -> bool:
        (container,) = status.get("containerStatuses") or [{"state": {}}]
        return container["state"].get("waiting") == {
            "reason": "CreateContainerConfigError",
            "message": message.format(namespace=namespace),
        }

    cluster.wait_for_pod("bad", namespace, waiting, "the reason")
