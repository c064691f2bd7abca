"""A stock kubectl against the API server."""

from __future__ import annotations

import json
import subprocess
import threading
import time

import pytest
import yaml

pytestmark = pytest.mark.needs("kubectl")

MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  labels: {part: pipeline}
data:
  color: red
  shape: round
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {part: pipeline}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: example.org/web:1
        ports: [{containerPort: 8080, name: http}]
        env: [{name: A, value: "1"}]
        resources: {requests: {cpu: 100m, memory: 64Mi}}
---
apiVersion: v1
kind: Service
metadata:
  name: web
  labels: {part: pipeline}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
"""


@pytest.fixture
def kubectl(cluster, namespace):
    def run(*arguments, **options):
        return cluster.kubectl("-n", namespace, *arguments, **options)

    return run


def outcome(text):
    return [line.rsplit(" ", 1)[1] for line in text.strip().splitlines()]


@pytest.mark.parametrize("how", [[], ["--server-side"]], ids=["client-side", "server-side"])
def test_apply_says_what_happened(kubectl, how):
    created = "created" if not how else "serverside-applied"
    unchanged = "unchanged" if not how else "serverside-applied"
    assert outcome(kubectl("apply", *how, "-f", "-", stdin=MANIFEST)) == [created] * 3
    before = versions(kubectl)
    assert outcome(kubectl("apply", *how, "-f", "-", stdin=MANIFEST)) == [unchanged] * 3
    assert versions(kubectl) == before
    changed = MANIFEST.replace("color: red", "color: blue").replace("  shape: round\n", "")
    kubectl("apply", *how, "-f", "-", stdin=changed)
    data = json.loads(kubectl("get", "cm", "settings", "-o", "json"))["data"]
    assert data == {"color": "blue"}, "a key that is no longer applied goes"


def versions(kubectl):
    return kubectl("get", "cm,deploy,svc", "-o", "jsonpath={.items[*].metadata.resourceVersion}")


def test_apply_moves_from_the_client_to_the_server(kubectl):
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    changed = MANIFEST.replace("color: red", "color: blue")
    kubectl("apply", "--server-side", "-f", "-", stdin=changed)
    managers = kubectl(
        "get", "cm", "settings", "--show-managed-fields",
        "-o", "jsonpath={.metadata.managedFields[*].manager}",
    )  # fmt: skip
    # kubectl itself moves its annotation to a manager of its own.
    assert sorted(managers.split()) == ["kubectl", "kubectl-last-applied"]


def test_apply_reports_conflicts(cluster, kubectl, namespace):
    kubectl("apply", "--server-side", "--field-manager=mine", "-f", "-", stdin=MANIFEST)
    changed = MANIFEST.replace("color: red", "color: blue")
    result = cluster.kubectl_result("-n", namespace, "apply", "--server-side", "-f", "-",
                                    stdin=changed)  # fmt: skip
    assert result.returncode != 0
    assert 'Apply failed with 1 conflict: conflict with "mine": .data.color' in result.stderr
    assert "--force-conflicts" in result.stderr
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=changed)


def test_diff_and_dry_run(cluster, kubectl, namespace):
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert kubectl("diff", "-f", "-", stdin=MANIFEST) == ""
    changed = MANIFEST.replace("replicas: 2", "replicas: 5")
    for how in ([], ["--server-side", "--force-conflicts"]):
        result = cluster.kubectl_result("-n", namespace, "diff", *how, "-f", "-", stdin=changed)
        assert result.returncode == 1, result.stderr
        assert "-  replicas: 2" in result.stdout
        assert "+  replicas: 5" in result.stdout
    kubectl("apply", "--dry-run=server", "-f", "-", stdin=changed)
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "2"


def test_apply_refuses_what_the_schema_does_not_know(cluster, kubectl, namespace):
    wrong = MANIFEST.replace("replicas: 2", "replcas: 2").replace("env:", "enw:")
    result = cluster.kubectl_result("-n", namespace, "apply", "-f", "-", stdin=wrong)
    assert 'strict decoding error: unknown field "spec.replcas"' in result.stderr
    assert 'unknown field "spec.template.spec.containers[0].enw"' in result.stderr


def test_prune_by_label(kubectl):
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    fewer = "---".join(MANIFEST.split("---")[1:])
    out = kubectl("apply", "--prune", "-l", "part=pipeline", "-f", "-", stdin=fewer)
    assert "configmap/settings pruned" in out


def test_get_prints_tables(kubectl):
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    lines = kubectl("get", "deploy,svc").splitlines()
    assert lines[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert lines[1].split()[:2] == ["deployment.apps/web", "0/2"]
    assert lines[3].split() == [
        "NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE",
    ]  # fmt: skip
    wide = kubectl("get", "deploy", "-o", "wide").splitlines()[1].split()
    assert wide[5:] == ["main", "example.org/web:1", "app=web"]
    assert kubectl("get", "cm", "-l", "part=pipeline", "-o", "name") == "configmap/settings\n"
    assert kubectl("get", "all", "-o", "name").split() == ["service/web", "deployment.apps/web"]


def test_get_watches(cluster, kubectl, namespace):
    kubectl("create", "configmap", "a")
    environment = cluster.environment()
    process = subprocess.Popen(
        ["kubectl", "-n", namespace, "get", "cm", "-w", "-o", "name"],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.extend(iter(process.stdout.readline, "")))
    reader.start()
    try:
        wait_for(lambda: seen == ["configmap/a\n"])
        kubectl("create", "configmap", "b")
        wait_for(lambda: seen == ["configmap/a\n", "configmap/b\n"])
    finally:
        process.terminate()
        process.wait(60)
        reader.join(60)
        process.stdout.close()


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_describe(kubectl):
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    text = kubectl("describe", "deploy", "web")
    assert "Image:      example.org/web:1" in text
    assert "StrategyType:           RollingUpdate" in text
    assert "shape:\n----\nround" in kubectl("describe", "cm", "settings")


def test_patch_in_three_ways(kubectl):
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    sidecar = '{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"s:1"}]}}}}'
    kubectl("patch", "deploy", "web", "-p", sidecar)
    kubectl("patch", "deploy", "web", "--type=merge", "-p", '{"spec":{"minReadySeconds":3}}')
    kubectl("patch", "deploy", "web", "--type=json", "-p",
            '[{"op":"replace","path":"/spec/replicas","value":7}]')  # fmt: skip
    spec = json.loads(kubectl("get", "deploy", "web", "-o", "json"))["spec"]
    assert {c["name"] for c in spec["template"]["spec"]["containers"]} == {"main", "side"}
    assert (spec["minReadySeconds"], spec["replicas"]) == (3, 7)
    text = kubectl("patch", "deploy", "web", "-p", '{"spec":{"replicas":7}}')
    assert "patched (no change)" in text


def test_set_label_annotate_scale(kubectl):
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    kubectl("set", "image", "deploy/web", "main=example.org/web:2")
    kubectl("set", "env", "deploy/web", "B=2")
    kubectl("label", "deploy", "web", "tier=front")
    kubectl("annotate", "deploy", "web", "note=hello")
    kubectl("scale", "deploy/web", "--replicas=4")
    obj = json.loads(kubectl("get", "deploy", "web", "-o", "json"))
    assert obj["spec"]["template"]["spec"]["containers"][0]["image"] == "example.org/web:2"
    assert obj["metadata"]["labels"]["tier"] == "front"
    assert obj["metadata"]["annotations"]["note"] == "hello"
    assert obj["spec"]["replicas"] == 4
    kubectl("rollout", "restart", "deploy/web")
    kubectl("rollout", "pause", "deploy/web")
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.paused}") == "true"


def test_delete_waits(cluster, kubectl, namespace):
    kubectl("create", "configmap", "a")
    kubectl("patch", "cm", "a", "--type=merge", "-p", '{"metadata":{"finalizers":["x.io/y"]}}')
    result = cluster.kubectl_result("-n", namespace, "delete", "cm", "a", "--timeout=1s")
    assert "timed out waiting for the condition" in result.stderr
    command = ["kubectl", "-n", namespace, "delete", "cm", "a", "--timeout=60s"]
    environment = cluster.environment()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert "deleted" in process.stdout.readline()  # said before it waits
        assert process.poll() is None
        kubectl("patch", "cm", "a", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        assert process.wait(60) == 0
    assert "deleted" not in kubectl("delete", "cm", "a", "--ignore-not-found")


def test_waits_for_conditions(cluster, kubectl, namespace):
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web/status"
    ready = {"status": {"observedGeneration": 1, "conditions": [
        {"type": "Available", "status": "True", "reason": "R", "message": "m"}]}}  # fmt: skip
    timer = threading.Timer(
        0.5,
        cluster.call,
        ["PATCH", path, ready],
        {"content_type": "application/merge-patch+json"},
    )
    timer.start()
    kubectl("wait", "--for=condition=Available", "deploy/web", "--timeout=60s")
    timer.join()
    kubectl("wait", "--for=jsonpath={.status.observedGeneration}=1", "deploy/web", "--timeout=60s")


def test_explain_reads_the_published_schema(kubectl):
    text = kubectl("explain", "deployment.spec.template.spec.containers.livenessProbe.httpGet")
    assert "FIELD: httpGet <HTTPGetAction>" in text
    assert "-required-" in text
    assert "KIND:       Deployment" in kubectl("explain", "deploy", "--recursive")


def test_api_resources_and_versions(kubectl):
    lines = kubectl("api-resources", "--no-headers").splitlines()
    assert any(line.split()[:3] == ["deployments", "deploy", "apps/v1"] for line in lines)
    assert "rbac.authorization.k8s.io/v1" in kubectl("api-versions").split()
    namespaced = kubectl("api-resources", "--namespaced=false", "-o", "name").split()
    assert "nodes" in namespaced
    assert "pods" not in namespaced


def test_imperative_commands_send_protobuf(kubectl):
    kubectl("create", "deployment", "d", "--image=a:1", "--replicas=0", "--port=80")
    kubectl("create", "secret", "generic", "s", "--from-literal=k=ä")
    kubectl("create", "job", "j", "--image=a:1", "--", "true")
    kubectl("create", "cronjob", "c", "--image=a:1", "--schedule=* * * * *")
    kubectl("create", "service", "nodeport", "n", "--tcp=80:http")
    kubectl("create", "role", "r", "--verb=get", "--resource=pods,deployments.apps")
    kubectl("create", "rolebinding", "b", "--role=r", "--user=jane")
    deployment = json.loads(kubectl("get", "deploy", "d", "-o", "json"))
    assert deployment["spec"]["replicas"] == 0
    assert "minReadySeconds" not in deployment["spec"]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["ports"] == [
        {"containerPort": 80, "protocol": "TCP"}
    ]
    assert kubectl("get", "secret", "s", "-o", "jsonpath={.data.k}") == "w6Q="
    service = json.loads(kubectl("get", "svc", "n", "-o", "json"))["spec"]["ports"][0]
    assert service["targetPort"] == "http"
    assert 30000 <= service["nodePort"] < 32768
    assert kubectl("auth", "can-i", "get", "pods", "--as=jane") == "yes\n"


def test_who_may_do_what(cluster, namespace):
    token = cluster.kubectl("-n", namespace, "create", "token", "default", "--duration=10m").strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = cluster.folder / f"{namespace}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    who = cluster.kubectl_result("auth", "whoami", "-o", "json", kubeconfig=path)
    user = json.loads(who.stdout)["status"]["userInfo"]
    assert user["username"] == f"system:serviceaccount:{namespace}:default"
    assert f"system:serviceaccounts:{namespace}" in user["groups"]
    denied = cluster.kubectl_result("-n", namespace, "get", "pods", kubeconfig=path)
    assert (
        f'User "system:serviceaccount:{namespace}:default" cannot list resource "pods" in API '
        f'group "" in the namespace "{namespace}"'
    ) in denied.stderr


def test_raw_and_version(kubectl):
    assert json.loads(kubectl("get", "--raw", "/version"))["gitVersion"].startswith("v1.")
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert json.loads(kubectl("get", "--raw", "/openid/v1/jwks"))["keys"][0]["alg"] == "RS256"
