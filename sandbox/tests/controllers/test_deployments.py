"""Deployments as kubectl and the kubernetes package see them."""

from __future__ import annotations

import pytest
from support.sandbox import SERVER, Cluster, until


def deployment(cluster: Cluster, namespace: str, replicas: int = 2, **spec: object) -> dict:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": 2,
                    "containers": [
                        {
                            "name": "web",
                            "image": cluster.image,
                            "command": ["python3", "-c", SERVER],
                            "ports": [{"containerPort": 8080, "name": "http"}],
                            "readinessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 1},
                        }
                    ],
                },
            },
            **spec,
        },
    }


def conditions(cluster: Cluster, namespace: str) -> dict[str, tuple[str, str]]:
    status = cluster.get("apps/v1", "Deployment", "web", namespace).get("status") or {}
    found = status.get("conditions") or []
    return {entry["type"]: (entry["status"], entry["reason"]) for entry in found}


def rolled_out(cluster: Cluster, namespace: str) -> bool:
    obj = cluster.get("apps/v1", "Deployment", "web", namespace)
    status, wanted = obj.get("status") or {}, obj["spec"]["replicas"]
    return (
        status.get("observedGeneration", 0) >= obj["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )


def test_a_deployment_gets_available_and_its_history_counts_up(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(deployment(cluster, namespace))
    until(lambda: rolled_out(cluster, namespace), "the first rollout")
    until(
        lambda: (
            conditions(cluster, namespace)
            == {
                "Available": ("True", "MinimumReplicasAvailable"),
                "Progressing": ("True", "NewReplicaSetAvailable"),
            }
        ),
        "both conditions",
    )
    first = cluster.list("apps/v1", "ReplicaSet", namespace)[0]["metadata"]["name"]
    change = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
    cluster.patch("apps/v1", "Deployment", "web", namespace, change)
    until(lambda: rolled_out(cluster, namespace), "the second rollout")
    sets = cluster.list("apps/v1", "ReplicaSet", namespace)
    sizes = {entry["metadata"]["name"]: entry["spec"]["replicas"] for entry in sets}
    assert sizes.pop(first) == 0
    assert list(sizes.values()) == [2]
    found = cluster.get("apps/v1", "Deployment", "web", namespace)
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"


def test_a_rolling_update_never_falls_below_what_has_to_be_available(
    cluster: Cluster, namespace: str
) -> None:
    strategy = {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    cluster.apply(deployment(cluster, namespace, 3, strategy=strategy))
    until(lambda: rolled_out(cluster, namespace), "the first rollout")
    change = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
    cluster.patch("apps/v1", "Deployment", "web", namespace, change)
    seen: list[tuple[int, int]] = []

    def look() -> bool:
        status = cluster.get("apps/v1", "Deployment", "web", namespace)["status"]
        seen.append((status.get("availableReplicas", 0), status["replicas"]))
        return rolled_out(cluster, namespace)

    until(look, "the second rollout")
    assert min(available for available, _ in seen) >= 3
    assert max(total for _, total in seen) <= 4


def test_a_template_that_never_gets_ready_exceeds_its_deadline_and_keeps_the_old_pods(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(deployment(cluster, namespace, 1, progressDeadlineSeconds=2))
    until(lambda: rolled_out(cluster, namespace), "the first rollout")
    image = f"{cluster.registry}/no/such:image"
    change = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}}
    cluster.patch("apps/v1", "Deployment", "web", namespace, change)
    until(
        lambda: (
            conditions(cluster, namespace).get("Progressing")
            == ("False", "ProgressDeadlineExceeded")
        ),
        "the deadline",
    )
    assert conditions(cluster, namespace)["Available"] == ("True", "MinimumReplicasAvailable")
    cluster.apply(deployment(cluster, namespace, 1, progressDeadlineSeconds=2))
    until(lambda: rolled_out(cluster, namespace), "the way back")
    until(
        lambda: conditions(cluster, namespace)["Progressing"] == ("True", "NewReplicaSetAvailable"),
        "progress again",
    )


def test_recreate_starts_new_pods_only_after_the_old_ones_have_ended(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(deployment(cluster, namespace, 1, strategy={"type": "Recreate"}))
    until(lambda: rolled_out(cluster, namespace), "the first rollout")
    old = {pod["metadata"]["uid"] for pod in cluster.pods(namespace)}
    change = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
    cluster.patch("apps/v1", "Deployment", "web", namespace, change)

    def look() -> bool:
        uids = {pod["metadata"]["uid"] for pod in cluster.pods(namespace)}
        assert not (uids & old and uids - old), "old and new pods beside each other"
        return rolled_out(cluster, namespace) and not uids & old

    until(look, "the second rollout")


def test_scaling_up_and_down(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment(cluster, namespace, 1))
    until(lambda: rolled_out(cluster, namespace), "the rollout")
    for replicas in (3, 0):
        change = {"spec": {"replicas": replicas}}
        cluster.patch("apps/v1", "Deployment", "web", namespace, change)
        until(lambda: rolled_out(cluster, namespace), f"{replicas} replicas")
        until(lambda n=replicas: len(cluster.pods(namespace)) == n, f"{replicas} pods")


def test_a_paused_deployment_says_so_and_rolls_out_once_it_is_resumed(
    cluster: Cluster, namespace: str
) -> None:
    def progressing(reason: str) -> bool:
        return conditions(cluster, namespace).get("Progressing", ("", ""))[1] == reason

    cluster.apply(deployment(cluster, namespace, replicas=1, paused=True))
    until(lambda: progressing("DeploymentPaused"), "the condition of a paused Deployment")
    assert not cluster.list("apps/v1", "ReplicaSet", namespace)
    cluster.apply(deployment(cluster, namespace, replicas=1, paused=False))
    until(lambda: progressing("NewReplicaSetAvailable"), "the rollout")


def test_deleting_a_deployment_takes_its_replica_sets_and_pods_with_it(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(deployment(cluster, namespace, 1))
    until(lambda: cluster.pods(namespace), "a pod")
    cluster.delete("apps/v1", "Deployment", "web", namespace)
    until(lambda: not cluster.list("apps/v1", "ReplicaSet", namespace), "no ReplicaSet")
    until(lambda: not cluster.pods(namespace), "no pod")


def test_orphans_stay_and_are_adopted_again(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment(cluster, namespace, 1))
    until(lambda: rolled_out(cluster, namespace), "the rollout")
    cluster.delete("apps/v1", "Deployment", "web", namespace, propagationPolicy="Orphan")
    until(lambda: not cluster.list("apps/v1", "Deployment", namespace), "no Deployment")
    (replica_set,) = cluster.list("apps/v1", "ReplicaSet", namespace)
    assert not replica_set["metadata"].get("ownerReferences")
    pods = {pod["metadata"]["uid"] for pod in cluster.pods(namespace)}
    cluster.apply(deployment(cluster, namespace, 1))
    until(lambda: rolled_out(cluster, namespace), "adoption")
    assert {pod["metadata"]["uid"] for pod in cluster.pods(namespace)} == pods


@pytest.mark.needs("kubectl")
def test_kubectl_follows_a_rollout_and_undoes_it(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment(cluster, namespace, 1))
    inside = ("-n", namespace)
    text = cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s", *inside)
    assert "successfully rolled out" in text
    cluster.kubectl("set", "env", "deployment/web", "COLOUR=blue", *inside)
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s", *inside)
    cluster.kubectl("rollout", "undo", "deployment/web", *inside)
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s", *inside)
    (container,) = cluster.get("apps/v1", "Deployment", "web", namespace)["spec"]["template"][
        "spec"
    ]["containers"]
    assert "env" not in container
    history = cluster.kubectl("rollout", "history", "deployment/web", *inside)
    assert "2" in history
    assert "3" in history
    text = cluster.kubectl("wait", "--for=condition=Available", "deployment/web", *inside)
    assert "condition met" in text
