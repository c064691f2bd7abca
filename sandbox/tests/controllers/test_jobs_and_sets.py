"""Jobs, CronJobs, StatefulSets, DaemonSets and disruption budgets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException
from support.sandbox import Cluster, is_ready, until

from streamops_sandbox.controllers.daemonset import DaemonSetController
from streamops_sandbox.controllers.statefulset import StatefulSetController
from streamops_sandbox.controllers.workloads import unsupported
from streamops_sandbox.cron import Schedule

SLEEP = "import time; time.sleep(600)"


def template(cluster: Cluster, code: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": cluster.image, "command": ["python3", "-c", code]}
    return {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], **spec},
    }


def job(cluster: Cluster, namespace: str, code: str, **spec: Any) -> dict[str, Any]:
    pod = template(cluster, code, restartPolicy="Never")
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "job", "namespace": namespace},
        "spec": {"template": pod, **spec},
    }


def finished(cluster: Cluster, namespace: str, kind: str) -> dict[str, Any] | None:
    """Return the Job's status once it has this condition."""
    status = cluster.get("batch/v1", "Job", "job", namespace).get("status") or {}
    for entry in status.get("conditions") or []:
        if entry["type"] == kind and entry["status"] == "True":
            return {**status, "reason": entry.get("reason")}
    return None


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"completions": 3, "completionMode": "Indexed"}, "completions, completionMode=Indexed"),
        ({"activeDeadlineSeconds": 6}, "activeDeadlineSeconds"),
    ],
)
def test_a_job_that_is_not_run_says_so(
    cluster: Cluster, namespace: str, spec: dict[str, Any], named: str
) -> None:
    cluster.apply(job(cluster, namespace, "", **spec))
    message = f"not supported by the sandbox: {named}"

    def refused() -> bool:
        return any(event["message"] == message for event in cluster.list("v1", "Event", namespace))

    until(refused, "the event that says so")
    assert not cluster.pods(namespace)


def test_a_suspended_job_waits_and_runs_once_it_is_resumed(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(job(cluster, namespace, "pass", suspend=True))
    until(lambda: finished(cluster, namespace, "Suspended"), "the condition Suspended")
    assert not cluster.pods(namespace)
    cluster.apply(job(cluster, namespace, "pass", suspend=False))
    status = until(lambda: finished(cluster, namespace, "Complete"), "the Job's end")
    assert [entry["status"] for entry in status["conditions"] if entry["type"] == "Suspended"] == [
        "False"
    ]


def test_a_job_fails_at_its_backoff_limit(cluster: Cluster, namespace: str) -> None:
    cluster.apply(job(cluster, namespace, "raise SystemExit(1)", backoffLimit=0))
    status = until(lambda: finished(cluster, namespace, "Failed"), "failure")
    assert status["reason"] == "BackoffLimitExceeded"
    assert status["failed"] == 1


def test_a_finished_job_goes_when_its_time_is_over(cluster: Cluster, namespace: str) -> None:
    cluster.apply(job(cluster, namespace, "pass", ttlSecondsAfterFinished=1))
    until(lambda: not cluster.list("batch/v1", "Job", namespace), "the Job's end")
    until(lambda: not cluster.pods(namespace), "its pod's end")


def test_a_cron_job_catches_up_and_a_suspended_one_does_not(
    cluster: Cluster, namespace: str
) -> None:
    def cron_job(name: str, **spec: Any) -> dict[str, Any]:
        return {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "schedule": "* * * * *",
                "jobTemplate": {
                    "spec": {"template": template(cluster, "pass", restartPolicy="Never")}
                },
                **spec,
            },
        }

    cluster.apply(
        cron_job("active"),
        cron_job("suspended", suspend=True),
    )
    # As if it had last run ten minutes ago: what was missed is made up for, once.
    earlier = f"{datetime.fromtimestamp(datetime.now(UTC).timestamp() - 600, UTC):%FT%TZ}"
    for name in ("active", "suspended"):
        cluster.patch_status("batch/v1", "CronJob", name, namespace, {"lastScheduleTime": earlier})

    def seen() -> dict[str, Any]:
        found: dict[str, Any] = cluster.get("batch/v1", "CronJob", "active", namespace)["status"]
        return found

    jobs = until(lambda: cluster.list("batch/v1", "Job", namespace), "a Job")
    # Two where a minute begins meanwhile.
    assert {entry["metadata"]["ownerReferences"][0]["name"] for entry in jobs} == {"active"}
    until(lambda: seen()["lastScheduleTime"] > earlier, "the time of it")
    until(lambda: "active" not in seen(), "its end")


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("*/15 * * * *", "2026-01-01T00:00", "2026-01-01T00:15"),
        ("0 9-17/4 * * mon-fri", "2026-01-02T17:00", "2026-01-05T09:00"),
        ("30 4 1,15 * 5", "2026-01-01T04:30", "2026-01-02T04:30"),  # either day is enough
        ("0 0 29 2 *", "2026-01-01T00:00", "2028-02-29T00:00"),
        ("@monthly", "2026-01-31T23:59", "2026-02-01T00:00"),
        ("59 23 31 dec sun", "2026-12-31T23:59", "2027-12-05T23:59"),
        ("0 0 * * 7", "2026-01-01T00:00", "2026-01-04T00:00"),
    ],
)
def test_schedules(schedule: str, after: str, expected: str) -> None:
    found = Schedule.parse(schedule).next_after(datetime.fromisoformat(after))
    assert found == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    "schedule", ["* * * *", "60 * * * *", "* * 0 * *", "*/0 * * * *", "a b c d e"]
)
def test_schedules_that_are_none(schedule: str) -> None:
    with pytest.raises(ValueError, match=r"fields|within|failed to parse"):
        Schedule.parse(schedule)


def test_a_schedule_that_never_comes() -> None:
    assert Schedule.parse("0 0 31 2 *").next_after(datetime(2026, 1, 1)) is None


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"updateStrategy": {"type": "OnDelete"}}, ["updateStrategy.type=OnDelete"]),
        (
            {"updateStrategy": {"rollingUpdate": {"partition": 1}}, "ordinals": {"start": 2}},
            ["ordinals.start", "updateStrategy.rollingUpdate.partition"],
        ),
        ({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}, []),
        ({"updateStrategy": None}, []),
    ],
)
def test_what_of_a_stateful_set_is_not_modelled(spec: dict[str, Any], found: list[str]) -> None:
    assert unsupported(spec, StatefulSetController.unsupported) == found


def test_a_daemon_set_that_is_updated_on_deletion_is_not_modelled() -> None:
    spec = {"updateStrategy": {"type": "OnDelete"}}
    assert unsupported(spec, DaemonSetController.unsupported) == ["updateStrategy.type=OnDelete"]


def test_a_stateful_set_starts_in_order_updates_in_reverse_and_keeps_names(
    cluster: Cluster, namespace: str
) -> None:
    pod = template(cluster, "import os; print(os.environ['HOSTNAME'], flush=True)\n" + SLEEP)
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "db", "namespace": namespace},
            "spec": {"clusterIP": "None", "selector": {"app": "x"}, "ports": [{"port": 80}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": namespace},
            "spec": {
                "serviceName": "db",
                "replicas": 2,
                "selector": {"matchLabels": {"app": "x"}},
                "template": pod,
            },
        },
    )

    def status() -> dict[str, Any]:
        found: dict[str, Any] = cluster.get("apps/v1", "StatefulSet", "db", namespace)
        return found.get("status") or {}

    until(lambda: status().get("readyReplicas") == 2, "both pods")
    pods = sorted(cluster.pods(namespace), key=lambda entry: entry["metadata"]["name"])
    assert [entry["metadata"]["name"] for entry in pods] == ["db-0", "db-1"]
    until(lambda: cluster.logs("db-1", namespace) == "db-1\n", "its host name")

    def names() -> list[str]:
        slices = cluster.list("discovery.k8s.io/v1", "EndpointSlice", namespace)
        return sorted(entry["hostname"] for part in slices for entry in part["endpoints"] or [])

    until(lambda: names() == ["db-0", "db-1"], "both endpoints")

    old = {entry["metadata"]["name"]: entry["metadata"]["uid"] for entry in pods}
    change = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
    first_revision = status()["updateRevision"]
    cluster.patch("apps/v1", "StatefulSet", "db", namespace, change)

    def look() -> bool:
        now = {
            entry["metadata"]["name"]: entry["metadata"]["uid"] for entry in cluster.pods(namespace)
        }
        if now.get("db-0") != old["db-0"]:
            assert now.get("db-1") != old["db-1"], "the lower pod was updated first"
        # Until the controller has seen the change, the status tells of the first revision.
        seen = status()
        counts = (seen.get("updatedReplicas"), seen.get("readyReplicas"))
        return seen["updateRevision"] != first_revision and counts == (2, 2)

    until(look, "the update")
    until(lambda: status()["currentRevision"] == status()["updateRevision"], "the end of it")
    cluster.patch("apps/v1", "StatefulSet", "db", namespace, {"spec": {"replicas": 0}})
    until(lambda: not cluster.pods(namespace), "no pod")


def test_a_daemon_set_has_one_pod_on_the_node_and_replaces_it(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "agent", "namespace": namespace},
            "spec": {
                "selector": {"matchLabels": {"app": "x"}},
                "template": template(cluster, SLEEP),
            },
        }
    )

    def done(updated: int = 1) -> bool:
        found = cluster.get("apps/v1", "DaemonSet", "agent", namespace)
        status = found.get("status") or {}
        return (
            status.get("observedGeneration") == found["metadata"]["generation"]
            and status.get("numberAvailable") == 1
            and status.get("updatedNumberScheduled") == updated
        )

    until(done, "its pod")
    (pod,) = cluster.pods(namespace)
    change = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
    cluster.patch("apps/v1", "DaemonSet", "agent", namespace, change)
    until(
        lambda: done() and cluster.pods(namespace)[0]["metadata"]["uid"] != pod["metadata"]["uid"],
        "the new pod",
    )
    selector = {"spec": {"template": {"spec": {"nodeSelector": {"no": "such"}}}}}
    cluster.patch("apps/v1", "DaemonSet", "agent", namespace, selector)
    until(lambda: not cluster.pods(namespace), "no pod where no node fits")


def test_a_budget_counts_and_evictions_honour_it(cluster: Cluster, namespace: str) -> None:
    cluster.apply(
        cluster.python_pod("only", namespace, SLEEP, pod={"terminationGracePeriodSeconds": 0}),
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "budget", "namespace": namespace},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "only"}}},
        },
    )
    cluster.wait_for_pod("only", namespace, is_ready, "ready")

    def status() -> dict[str, Any]:
        found = cluster.get("policy/v1", "PodDisruptionBudget", "budget", namespace)
        return found.get("status") or {}

    until(lambda: status().get("currentHealthy") == 1, "its status")
    assert status()["disruptionsAllowed"] == 0
    eviction = {"metadata": {"name": "only", "namespace": namespace}}
    with pytest.raises(ApiException) as refusal:
        cluster.core.create_namespaced_pod_eviction("only", namespace, eviction)
    assert refusal.value.status == 429
    cluster.patch(
        "policy/v1", "PodDisruptionBudget", "budget", namespace, {"spec": {"minAvailable": 0}}
    )
    until(lambda: status().get("disruptionsAllowed") == 1, "the change")
    cluster.core.create_namespaced_pod_eviction("only", namespace, eviction)
    until(lambda: not cluster.pods(namespace), "the eviction")
