"""The checkpoint: in a file, and in a ConfigMap with a Lease, at the stand-in for Kubernetes."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from support.producer import PATIENCE, Kit, wait_for
from support.producer_cluster import NAMESPACE, Cluster

from twitter_producer import checkpoint as checkpoints
from twitter_producer.progress import MOST_SEEN, Batch, Progress, Window
from twitter_producer.progress import XPost as Post

DAY = "2026-05-04"
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
#: A holder may be held up for two thirds of it by a busy machine.
LEASE_SECONDS = 6


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
    added = {"metadata": {"labels": {"team": "birds"}}, "data": {"note": "mine"}}
    cluster.patch(cluster.configmap_path, added)
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
    other = cluster.configmap()["data"]["checkpoint.json"].replace(" ", "  ")
    cluster.patch(cluster.configmap_path, {"data": {"checkpoint.json": other}})
    x.publish_many(1)
    assert producer.wait() == 3
    assert "written by another producer" in producer.log[-1]["message"]
    assert "LEASE" in producer.log[-1]["message"]


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_lost_answer_of_the_configmap_is_no_other_producer(
    kit: Kit, cluster: Cluster, method: str
) -> None:
    """The write was carried out: its repetition brings 409."""
    x, sink = kit.x(), kit.sink()
    proxy = cluster.behind_proxy()
    ids = x.publish_many(2)
    proxy.faults[method] = ["lose", (409, {})]
    producer = kit.producer(**cluster.settings(x, sink))
    wait_for(
        lambda: not proxy.faults[method] and sink.ids == ids, explain=lambda: str(producer.log)
    )
    ids += x.publish_many(2)
    wait_for(lambda: sink.ids == ids, explain=lambda: str(producer.log))
    assert producer.stop() == 0
    assert cluster.checkpoint()["windows"] == [{"after": ids[-1]}]


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_lost_answer_of_the_lease_is_no_other_holder(
    kit: Kit, cluster: Cluster, method: str
) -> None:
    x, sink = kit.x(), kit.sink()
    proxy = cluster.behind_proxy()
    settings = cluster.settings(x, sink, lease="producer", lease_duration_seconds=LEASE_SECONDS)
    lost: list[str] = []

    def decide(made: str, path: str) -> str | None:
        if made == method and "/leases" in path and len(lost) < 2:
            lost.append(path)
            return "lose"
        return None

    proxy.decide = decide
    producer = kit.producer(**settings, pod_name="pod-1")
    wait_for(lambda: lost)
    producer.saying("holds the lease")
    renewals = len(proxy.seen)
    wait_for(lambda: sum("/leases" in path for _, path in proxy.seen[renewals:]) > 4)
    assert producer.stop() == 0, producer.log
    assert not any("the lease is lost" in message for message in producer.messages())
    assert not cluster.lease().get("holderIdentity"), "an API server leaves out what is empty"


def test_lost_answer_when_the_lease_is_given_back_costs_no_time(kit: Kit, cluster: Cluster) -> None:
    x, sink = kit.x(), kit.sink()
    proxy = cluster.behind_proxy()
    settings = cluster.settings(x, sink, lease="producer", lease_duration_seconds=60)
    producer = kit.producer(**settings, pod_name="pod-1")
    producer.saying("holds the lease")
    wait_for(x.requests)
    lost: list[str] = []

    def decide(made: str, path: str) -> str | None:
        if made == "PUT" and "/leases" in path and not lost:
            lost.append(path)
            return "lose"
        return None

    proxy.decide = decide
    assert producer.stop() == 0
    assert lost
    assert not cluster.lease().get("holderIdentity"), "an API server leaves out what is empty"


@pytest.mark.parametrize(
    "faults",
    [
        ["drop", "drop"],
        [(429, {"Retry-After": "1"})],
        [(500, {}), (503, {"Retry-After": "0"}), (504, {})],
    ],
)
def test_requests_to_the_api_server_are_retried_before_anything_is_reported(
    kit: Kit, cluster: Cluster, faults: list[Any]
) -> None:
    x, sink = kit.x(), kit.sink()
    proxy = cluster.behind_proxy()
    proxy.faults["GET"] = list(faults)
    ids = x.publish_many(1)
    producer = kit.producer(**cluster.settings(x, sink))
    wait_for(lambda: sink.ids == ids)
    assert producer.stop() == 0
    assert not [e for e in producer.log if e["severity"] == "ERROR"]
    assert not proxy.faults["GET"]


def test_answers_that_are_not_objects_of_kubernetes_are_reported_and_pass(
    kit: Kit, cluster: Cluster
) -> None:
    x, sink = kit.x(), kit.sink()
    proxy = cluster.behind_proxy()
    proxy.faults["GET"] = [(200, {}), (302, {"Location": "http://127.0.0.1:9/"})]
    ids = x.publish_many(1)
    producer = kit.producer(**cluster.settings(x, sink))
    assert "not an object of Kubernetes" in producer.saying("cannot be read or stored")["error"]
    wait_for(lambda: sink.ids == ids)
    assert producer.stop() == 0


def test_deleted_configmap_is_told_with_the_remedy_where_it_may_not_be_created(kit: Kit) -> None:
    cluster = Cluster(kit, verbs=("get", "update"))
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**cluster.settings(x, sink))
    error = producer.saying("the checkpoint cannot be read or stored")["error"]
    remedy = f"kubectl create configmap twitter-producer-state --namespace {NAMESPACE}"
    assert remedy in error
    body = {"metadata": {"name": "twitter-producer-state"}}
    cluster.call("POST", cluster.configmap_path.rsplit("/", 1)[0], body)
    ids = x.publish_many(1)
    wait_for(lambda: sink.ids == ids)
    assert producer.stop() == 0
    kit.loop.run(cluster.server.stop())


def test_checkpoint_is_begun_anew_by_emptying_the_configmap(kit: Kit) -> None:
    cluster = Cluster(kit, verbs=("get", "update"))
    x, sink = kit.x(), kit.sink()
    body = {"metadata": {"name": "twitter-producer-state"}, "data": {"checkpoint.json": "{}"}}
    made = cluster.call("POST", cluster.configmap_path.rsplit("/", 1)[0], body)
    cluster.call("PUT", cluster.configmap_path, {**made, "data": None})
    ids = x.publish_many(1)
    producer = kit.producer(**cluster.settings(x, sink))
    wait_for(lambda: sink.ids == ids)
    assert producer.stop() == 0
    kit.loop.run(cluster.server.stop())


def test_holder_that_was_paused_delivers_nothing_after_the_next_one_began(
    kit: Kit, cluster: Cluster
) -> None:
    x, sink = kit.x(), kit.sink(decide=lambda _event: (503, {"Retry-After": "0"}))
    settings = cluster.settings(
        x, sink, lease="producer", lease_duration_seconds=LEASE_SECONDS, backoff_max_seconds=0.2
    )
    first = kit.producer(**settings, pod_name="pod-1")
    ids = x.publish_many(3)
    wait_for(lambda: sink.refused)
    os.kill(first.pid, signal.SIGSTOP)
    second = kit.producer(**settings, pod_name="pod-2")
    second.saying("holds the lease")
    sink.decide = None  # only now: a request of the first may have been under way
    wait_for(lambda: len(sink.received) == 3)
    checkpoint = cluster.checkpoint()
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait() in (1, 3)
    assert sink.ids == ids
    assert cluster.checkpoint()["writer"] == checkpoint["writer"]
    assert second.running


def test_two_producers_without_a_lease_are_found_out_before_the_second_post(
    kit: Kit, cluster: Cluster
) -> None:
    x, sink = kit.x(), kit.sink()
    first = kit.producer(**cluster.settings(x, sink))
    wait_for(cluster.configmap)
    second = kit.producer(**cluster.settings(x, sink))
    second.saying("resumes from the checkpoint")
    x.publish_many(1)
    assert first.wait() == 3
    assert second.running


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
    settings = cluster.settings(x, sink, lease="producer", lease_duration_seconds=30)
    first = kit.producer(**settings, pod_name="pod-1")
    wait_for(lambda: len(sink.received) == 3)
    second = kit.producer(**settings, pod_name="pod-2")
    assert second.saying("waits for the lease")["holder"] == "pod-1"
    assert requests.get(second.url + "/readyz", timeout=PATIENCE).status_code == 200
    third = kit.producer(**settings, pod_name="pod-3")
    third.saying("waits for the lease")
    assert third.stop() == 0
    assert cluster.lease()["holderIdentity"] == "pod-1"
    assert first.stop() == 0
    ids += x.publish_many(3)
    wait_for(lambda: len(sink.received) == 6, timeout=25)  # before the Lease would expire
    assert sink.ids == ids
    assert cluster.lease()["holderIdentity"] == "pod-2"
    assert cluster.lease()["leaseTransitions"] >= 1


def test_lease_of_a_dead_holder_expires(kit: Kit, cluster: Cluster) -> None:
    x, sink = kit.x(), kit.sink()
    settings = cluster.settings(x, sink, lease="producer", lease_duration_seconds=LEASE_SECONDS)
    first = kit.producer(**settings, pod_name="pod-1")
    first.saying("holds the lease")
    second = kit.producer(**settings, pod_name="pod-2")
    second.saying("waits for the lease")
    first.kill()
    [post_id] = x.publish_many(1)
    wait_for(lambda: sink.ids == [post_id])


def test_lost_lease_ends_the_process(kit: Kit, cluster: Cluster) -> None:
    x, sink = kit.x(), kit.sink()
    settings = cluster.settings(x, sink, lease="producer", lease_duration_seconds=LEASE_SECONDS)
    producer = kit.producer(**settings, pod_name="pod-1")
    producer.saying("holds the lease")
    path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/producer"
    cluster.patch(path, {"spec": {"holderIdentity": "someone"}})
    assert producer.wait() == 1
    producer.saying("the lease is lost")
    assert cluster.lease()["holderIdentity"] == "someone"


def test_outside_of_a_pod_it_says_what_is_missing(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    settings = kit.searching(x, sink, state="configmap", service_account_dir=kit.folder)
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


def test_stop_before_x_has_told_its_time_leaves_the_look_back(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    ids = x.publish_many(2)
    x.control("PUT", "/clock", {"ahead_seconds": 60})
    settings = kit.searching(x, sink, x_api_url="http://127.0.0.1:9")
    first = kit.producer(**settings)
    first.saying("X did not answer as expected")
    assert first.stop() == 0
    kit.producer(**settings | {"x_api_url": x.url})
    wait_for(lambda: sink.ids == ids)


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
    assert progress.billed([20 << 22, 30 << 22, 50 << 22], DAY) == {50 << 22}
    assert progress.billed([20 << 22, 30 << 22], "2026-05-05") == {20 << 22, 30 << 22}
    assert progress.billed([20 << 22, 30 << 22], "2026-05-05") == set()


def test_delivery_broken_off_in_the_overlap_does_not_move_the_window_backwards() -> None:
    """What was delivered below the overlap is forgotten: it would come again."""
    progress = Progress([Window(after=1000 << 22)])
    progress.advance(_read(progress, 950, 1010, left=950), [True, False], 0.1, DAY)
    assert _windows(progress)[0] == (1000, None)
    progress = Progress([Window(after=1000 << 22)])
    progress.advance(_read(progress, 950, 1010, left=950), [False, False], 0.1, DAY)
    assert _windows(progress)[0] == (1000, None)


@pytest.mark.parametrize(
    ("outer", "inner", "covered"),
    [
        (Window(after=1), Window(after=1), True),
        (Window(after=1), Window(after=2, before=9), True),
        (Window(after=2), Window(after=1), False),
        (Window(after=1, before=9), Window(after=1), False),
        (Window(after=1, before=9), Window(after=1, before=10), False),
        (Window(start=NOON), Window(start=NOON, before=5), True),
        (Window(start=NOON), Window(start=NOON - timedelta(1)), False),
        (Window(start=NOON), Window(after=1), False),
        (Window(after=1), Window(start=NOON), False),
    ],
)
def test_window_covers_another(outer: Window, inner: Window, *, covered: bool) -> None:
    assert outer.covers(inner) is covered


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
    assert len(checkpoints.text(progress.dump(), "x")) < 1 << 20


def test_checkpoint_reads_what_it_wrote() -> None:
    start = datetime(2026, 5, 4, tzinfo=UTC)
    progress = Progress(
        [Window(start=start, before=5), Window(after=9)], {10: DAY}, {11: "2026-05-03"}
    )
    stored = checkpoints.parse(checkpoints.text(progress.dump(), "x", "pod-1/ab12"), "x")
    assert Progress.load(stored) == progress


@pytest.mark.parametrize("window", [{"after": "9", "before": "12"}, {"after": "x"}, []])
def test_checkpoint_without_an_open_end_is_refused(window: object) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Progress.load({"windows": [window], "seen": {}, "read": {}})


def test_checkpoint_of_another_network_is_refused() -> None:
    text = checkpoints.text({"cursor": 1}, "bluesky")
    with pytest.raises(checkpoints.UnreadableCheckpoint, match="'bluesky'"):
        checkpoints.parse(text, "x")
