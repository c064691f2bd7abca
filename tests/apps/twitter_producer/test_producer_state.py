"""The checkpoint: in a file, and in a ConfigMap with a Lease, at the stand-in for Kubernetes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from support.producer import Kit, Sink, X, wait_for

from streamops_sandbox.kube.server import ApiServer
from twitter_producer.progress import (
    MOST_SEEN,
    Batch,
    Checkpoint,
    Post,
    Progress,
    UnreadableCheckpoint,
    Window,
)

NAMESPACE = "birds"
DAY = "2026-05-04"


@dataclass
class Cluster:
    """An API server with a namespace and a service account that may do what the README says."""

    kit: Kit
    verbs: tuple[str, ...] = ("get", "create", "update")
    server: ApiServer = field(init=False)

    def __post_init__(self) -> None:
        self.server = ApiServer(self.kit.folder / "kube")
        self.kit.loop.run(self.server.start())
        self._admin = self.server.admin_kubeconfig()["users"][0]["user"]["token"]
        self.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
        self.call("POST", accounts, {"metadata": {"name": "producer"}})
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}"
        rules = [
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": list(self.verbs)},
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "verbs": list(self.verbs),
            },
        ]
        self.call("POST", rbac + "/roles", {"metadata": {"name": "producer"}, "rules": rules})
        binding = {
            "metadata": {"name": "producer"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "producer",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "producer", "namespace": NAMESPACE}],
        }
        self.call("POST", rbac + "/rolebindings", binding)
        request = {"spec": {"expirationSeconds": 3600}}
        token = self.call("POST", f"{accounts}/producer/token", request)["status"]["token"]
        self.root = self.kit.folder / "root"
        folder = self.root / "var/run/secrets/kubernetes.io/serviceaccount"
        folder.mkdir(parents=True)
        (folder / "token").write_text(token)
        (folder / "namespace").write_text(NAMESPACE)
        (folder / "ca.crt").write_bytes(self.server.ca_file.read_bytes())

    def call(self, method: str, path: str, body: Any = None) -> Any:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                method,
                self.server.url + path,
                json=body,
                headers={"Authorization": f"Bearer {self._admin}"},
                verify=str(self.server.ca_file),
                timeout=10,
            )
        if answer.status_code == 404 and method == "GET":
            return None
        assert answer.ok, answer.text
        return answer.json()

    def settings(self, x: X, sink: Sink, **more: Any) -> dict[str, Any]:
        host, port = self.server.url.removeprefix("https://").split(":")
        settings = self.kit.searching(x, sink, state="configmap", **more)
        del settings["state_file"]
        return {
            **settings,
            "container_sandbox_mount_point": self.root,
            "kubernetes_service_host": host,
            "kubernetes_service_port": port,
        }

    @property
    def configmap_path(self) -> str:
        return f"/api/v1/namespaces/{NAMESPACE}/configmaps/twitter-producer-state"

    def configmap(self) -> Any:
        return self.call("GET", self.configmap_path)

    def checkpoint(self) -> Any:
        return json.loads(self.configmap()["data"]["checkpoint.json"])

    def lease(self, name: str = "producer") -> Any:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{name}"
        return (self.call("GET", path) or {}).get("spec")


@pytest.fixture
def cluster(kit: Kit) -> Any:
    made = Cluster(kit)
    yield made
    for producer in kit.producers:
        producer.kill()
    kit.loop.run(made.server.stop())


def test_configmap_carries_the_checkpoint_over_restarts(kit: Kit, cluster: Cluster) -> None:
    x, sink = kit.x(), kit.sink()
    ids = x.publish_many(5)
    settings = cluster.settings(x, sink)
    first = kit.producer(**settings)
    wait_for(lambda: len(sink.received) == 5)
    assert first.stop() == 0
    assert cluster.checkpoint()["windows"] == [{"after": ids[-1]}]
    ids += x.publish_many(3)
    second = kit.producer(**settings)
    wait_for(lambda: len(sink.received) == 8)
    assert second.stop() == 0
    assert sink.ids == ids


def test_labels_and_other_keys_of_the_configmap_are_left_alone(kit: Kit, cluster: Cluster) -> None:
    x, sink = kit.x(), kit.sink()
    x.publish_many(1)
    producer = kit.producer(**cluster.settings(x, sink))
    wait_for(lambda: cluster.configmap() and "after" in str(cluster.checkpoint()["windows"]))
    changed = cluster.configmap()
    changed["metadata"].setdefault("labels", {})["team"] = "birds"
    changed["data"]["note"] = "mine"
    cluster.call("PUT", cluster.configmap_path, changed)
    [newest] = x.publish_many(1)
    wait_for(lambda: cluster.checkpoint()["windows"] == [{"after": newest}])
    kept = cluster.configmap()
    assert (kept["metadata"]["labels"]["team"], kept["data"]["note"]) == ("birds", "mine")
    assert producer.stop() == 0


def test_second_writer_ends_the_process(kit: Kit, cluster: Cluster) -> None:
    x, sink = kit.x(), kit.sink()
    x.publish_many(1)
    producer = kit.producer(**cluster.settings(x, sink))
    wait_for(lambda: cluster.configmap() and "after" in str(cluster.checkpoint()["windows"]))
    changed = cluster.configmap()
    changed["data"]["checkpoint.json"] = changed["data"]["checkpoint.json"].replace(" ", "  ")
    cluster.call("PUT", cluster.configmap_path, changed)
    x.publish_many(1)
    assert producer.wait() == 3
    assert "another producer" in producer.log[-1]["message"]


def test_unreadable_configmap_is_kept_aside(kit: Kit, cluster: Cluster) -> None:
    x, sink = kit.x(), kit.sink()
    body = {
        "metadata": {"name": "twitter-producer-state"},
        "data": {"checkpoint.json": "{broken"},
    }
    cluster.call("POST", cluster.configmap_path.rsplit("/", 1)[0], body)
    [newest] = x.publish_many(1)
    producer = kit.producer(**cluster.settings(x, sink))
    wait_for(lambda: cluster.configmap()["data"]["checkpoint.json"] != "{broken")
    wait_for(lambda: cluster.checkpoint()["windows"] == [{"after": newest}])
    assert cluster.configmap()["data"]["unreadable"] == "{broken"
    producer.saying("the checkpoint is unreadable")


def test_without_permission_it_waits_and_says_so(kit: Kit) -> None:
    cluster = Cluster(kit, verbs=("list",))
    x, sink = kit.x(), kit.sink()
    x.publish_many(1)
    producer = kit.producer(**cluster.settings(x, sink))
    error = producer.saying("the checkpoint cannot be read or stored")["error"]
    assert "configmaps" in error
    assert "forbidden" in error
    assert not sink.received
    assert not x.requests()
    producer.kill()
    kit.loop.run(cluster.server.stop())


def test_only_the_holder_of_the_lease_works_and_hands_over(kit: Kit, cluster: Cluster) -> None:
    x, sink = kit.x(), kit.sink()
    ids = x.publish_many(3)
    settings = cluster.settings(x, sink, lease="producer", lease_duration_seconds=15)
    first = kit.producer(**settings, pod_name="pod-1")
    wait_for(lambda: len(sink.received) == 3)
    second = kit.producer(**settings, pod_name="pod-2")
    assert second.saying("waits for the lease")["holder"] == "pod-1"
    assert requests.get(second.url + "/readyz", timeout=5).status_code == 200
    third = kit.producer(**settings, pod_name="pod-3")
    third.saying("waits for the lease")
    assert third.stop() == 0
    assert cluster.lease()["holderIdentity"] == "pod-1"
    assert first.stop() == 0
    ids += x.publish_many(3)
    wait_for(lambda: len(sink.received) == 6, timeout=12)  # before the Lease would expire
    assert sink.ids == ids
    assert cluster.lease()["holderIdentity"] == "pod-2"
    assert cluster.lease()["leaseTransitions"] >= 1


def test_lease_of_a_dead_holder_expires(kit: Kit, cluster: Cluster) -> None:
    x, sink = kit.x(), kit.sink()
    settings = cluster.settings(x, sink, lease="producer", lease_duration_seconds=3)
    first = kit.producer(**settings, pod_name="pod-1")
    first.saying("holds the lease")
    first.kill()
    second = kit.producer(**settings, pod_name="pod-2")
    second.saying("waits for the lease")
    [post_id] = x.publish_many(1)
    wait_for(lambda: sink.ids == [post_id], timeout=15)


def test_lost_lease_ends_the_process(kit: Kit, cluster: Cluster) -> None:
    x, sink = kit.x(), kit.sink()
    settings = cluster.settings(x, sink, lease="producer", lease_duration_seconds=3)
    producer = kit.producer(**settings, pod_name="pod-1")
    producer.saying("holds the lease")
    path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/producer"
    lease = cluster.call("GET", path)
    lease["spec"]["holderIdentity"] = "someone"
    cluster.call("PUT", path, lease)
    assert producer.wait() == 1
    producer.saying("the lease is lost")
    assert cluster.lease()["holderIdentity"] == "someone"


def test_outside_of_a_pod_it_says_what_is_missing(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    settings = kit.searching(x, sink, state="configmap", container_sandbox_mount_point=kit.folder)
    producer = kit.producer(**settings)
    assert producer.wait() == 2
    assert "not in a pod" in producer.log[-1]["message"]


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", '{"version": 9}', '{"version": 1, "windows": []}']
)
def test_unreadable_file_is_kept_aside_and_the_look_back_begins(kit: Kit, text: str) -> None:
    x, sink = kit.x(), kit.sink()
    ids = x.publish_many(2)
    state = kit.folder / "state.json"
    state.write_text(text)
    producer = kit.producer(**kit.searching(x, sink))
    wait_for(lambda: sink.ids == ids)
    assert producer.saying("the checkpoint is unreadable")["severity"] == "ERROR"
    [aside] = kit.folder.glob("state.json.unreadable-*")
    assert aside.read_text() == text
    assert producer.stop() == 0
    assert json.loads(state.read_text())["windows"] == [{"after": ids[-1]}]


def test_file_that_cannot_be_written_is_waited_for(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    blocker = kit.folder / "blocker"
    blocker.write_text("a file where a folder should be")
    producer = kit.producer(**kit.searching(x, sink, state_file=blocker / "state.json"))
    producer.saying("the checkpoint cannot be read or stored")
    blocker.unlink()
    [post_id] = x.publish_many(1)
    wait_for(lambda: sink.ids == [post_id])
    assert producer.stop() == 0


# What the checkpoint remembers


def _post(post_id: int) -> Post:
    return Post(post_id << 22, {"id": str(post_id << 22)})


def _windows(progress: Progress) -> list[tuple[int | None, int | None]]:
    def short(post_id: int | None) -> int | None:
        return None if post_id is None else post_id >> 22

    return [(short(w.after), short(w.before)) for w in progress.windows]


def _read(progress: Progress, *ids: int, left: int | None = None) -> Batch:
    window = progress.next_window
    rest = Window(window.after, left << 22, window.start) if left else None
    posts = [_post(post_id) for post_id in ids]
    return Batch(posts, window, rest, newest=posts[-1].id if posts else None)


def test_complete_reading_moves_the_lower_end() -> None:
    progress = Progress.begin(datetime(2026, 5, 4, tzinfo=UTC))
    progress.advance(_read(progress, 5, 7, 9), [True] * 3, 0.003, DAY)
    assert _windows(progress) == [(9, None)]
    assert sorted(i >> 22 for i in progress.seen) == [7, 9]
    progress.advance(_read(progress), [], 0.003, DAY)
    assert _windows(progress) == [(9, None)]


def test_partial_reading_leaves_an_older_window_that_is_read_first() -> None:
    progress = Progress([Window(after=1 << 22)])
    progress.advance(_read(progress, 50, 60, left=50), [True] * 2, 0, DAY)
    assert _windows(progress) == [(1, 50), (60, None)]
    progress.advance(_read(progress, 30, 40, left=30), [True] * 2, 0, DAY)
    assert _windows(progress) == [(1, 30), (60, None)]
    progress.advance(_read(progress, 10), [True], 0, DAY)
    assert _windows(progress) == [(60, None)]


def test_delivery_broken_off_leaves_what_was_not_delivered() -> None:
    progress = Progress([Window(after=1 << 22)])
    batch = _read(progress, 10, 20, 30, 40, left=10)
    progress.advance(batch, [True, False, True, False], 0, DAY)
    assert _windows(progress) == [(10, None), (1, 10)]
    assert sorted(i >> 22 for i in progress.seen) == [30]
    assert sorted(i >> 22 for i in progress.read) == [20, 40]
    assert progress.billed([20 << 22, 30 << 22, 50 << 22], DAY) == 1
    assert progress.billed([20 << 22, 30 << 22], "2026-05-05") == 2
    assert progress.billed([20 << 22, 30 << 22], "2026-05-05") == 0


def test_nothing_delivered_of_a_first_reading_keeps_the_start() -> None:
    start = datetime(2026, 5, 4, tzinfo=UTC)
    progress = Progress.begin(start)
    progress.advance(_read(progress, 10, 20), [False, False], 0, DAY)
    assert progress.windows == [Window(start=start)]


def test_what_is_remembered_is_bounded_and_nothing_comes_twice() -> None:
    progress = Progress([Window(after=1)])
    burst = [Post(1000 + n, {}) for n in range(MOST_SEEN + 500)]
    batch = Batch(burst, progress.next_window, newest=burst[-1].id)
    progress.advance(batch, [True] * len(burst), 30, DAY)
    assert len(progress.seen) == MOST_SEEN
    assert progress.floor == 1499
    assert progress.read_after(burst[-1].id, 30) == 1499
    later = burst[-1].id + (60_000 << 22)
    assert progress.read_after(later, 30) == later - (30_000 << 22)
    assert len(Checkpoint(progress, DAY, 0).text(0)) < 1 << 20


def test_checkpoint_reads_what_it_wrote() -> None:
    start = datetime(2026, 5, 4, tzinfo=UTC)
    progress = Progress(
        [Window(start=start, before=5), Window(after=9)], {10: DAY}, {11: "2026-05-03"}
    )
    again = Checkpoint.parse(Checkpoint(progress, DAY, 7).text(ceiling=107))
    assert (again.progress, again.day) == (progress, DAY)
    assert again.posts == 107


@pytest.mark.parametrize("window", [{"after": "9", "before": "12"}, {"after": "x"}, []])
def test_checkpoint_without_an_open_end_is_refused(window: object) -> None:
    text = json.dumps({"version": 1, "windows": [window], "seen": {}, "read": {}, "budget": {}})
    with pytest.raises(UnreadableCheckpoint):
        Checkpoint.parse(text)
