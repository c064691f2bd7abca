"""The apply task against an API server: what it sends, what it says, what it refuses."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from support.kube import (
    KNATIVE,
    Kube,
    api_server,
    config_map,
    custom,
    definition,
    deployment,
    namespace,
)
from support.sandbox import until

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.apply import Interrupted
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import (
    ApiError,
    ConfigError,
    KubeError,
    Unreachable,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import Refused
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.wait import NotReady
from streamops_sandbox.kube.tls import Authority


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with api_server(tmp_path_factory.mktemp("kube")) as running:
        yield running


@pytest.fixture
def ns() -> str:
    """A name nobody else uses."""
    return f"test-{uuid4().hex[:8]}"


def test_creates_in_order_and_repeats_without_a_change(kube: Kube, ns: str) -> None:
    bundle = [deployment("app", ns), config_map("settings", ns, key="1"), namespace(ns)]
    first = kube.apply(*copy.deepcopy(bundle))
    assert [o["kind"] for o in first.result["objects"]] == ["Namespace", "ConfigMap", "Deployment"]
    assert set(first.actions.values()) == {"created"}
    second = kube.apply(*copy.deepcopy(bundle))
    assert second.result["changed"] is False
    assert set(second.actions.values()) == {"unchanged"}


def test_nothing_is_read_below_namespaces_that_are_yet_to_be_created(kube: Kube, ns: str) -> None:
    spaces = [f"{ns}-{number}" for number in range(20)]
    bundle = [item for space in spaces for item in (namespace(space), config_map("one", space))]
    first = kube.apply(*bundle)
    assert set(first.actions.values()) == {"created"}
    discovery, schemas, listed, tried = 2, 2, 1, len(spaces)
    assert first.result["requests"] <= discovery + schemas + listed + tried + len(bundle)


def test_no_change_costs_one_request_per_kind_and_namespace(kube: Kube, ns: str) -> None:
    many = [config_map(f"map-{number}", ns, key="value") for number in range(30)]
    kube.apply(namespace(ns), *copy.deepcopy(many))
    again = kube.apply(namespace(ns), *copy.deepcopy(many))
    discovery = 2
    assert again.result["requests"] <= discovery + 2


@pytest.mark.skipif(
    not KNATIVE.is_dir(), reason="the upstream manifests are not beside this checkout"
)
def test_no_change_to_knative_eventing_stays_within_the_budget(kube: Kube) -> None:
    files = [
        str(KNATIVE / name)
        for name in ("eventing-core.yaml", "in-memory-channel.yaml", "mt-channel-broker.yaml")
    ]
    kube.apply(files=files)
    again = kube.apply(files=files)
    assert again.result["counts"] == {"unchanged": len(again.result["objects"])}
    groups = {(o["kind"], o["namespace"]) for o in again.result["objects"]}
    assert again.result["requests"] <= len(again.result["objects"]) + len(groups)


def test_changed_is_what_the_server_says_even_when_values_are_written_another_way(
    kube: Kube, ns: str
) -> None:
    def stored() -> tuple[str, str]:
        live = kube.get("apps/v1", "Deployment", "app", ns)
        assert live is not None
        container = live["spec"]["template"]["spec"]["containers"][0]
        return live["metadata"]["resourceVersion"], container["resources"]["limits"]["cpu"]

    kube.apply(namespace(ns), deployment("app", ns))  # with 1000m of CPU
    _, first = stored()
    other = deployment("app", ns)
    other["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "1"
    written_otherwise = kube.apply(other)
    version, second = stored()
    assert written_otherwise.result["changed"] == (first != second)
    assert kube.apply(other).result["changed"] is False
    assert stored() == (version, second)


def test_a_change_by_somebody_else_is_undone_and_seen(kube: Kube, ns: str) -> None:
    kube.apply(namespace(ns), config_map("settings", ns, key="ours"))
    client = kube.connect()
    maps = client.resource("v1", "ConfigMap")
    client.patch(maps, "settings", ns, {"data": {"other": "theirs"}})
    assert kube.apply(config_map("settings", ns, key="ours")).result["changed"] is False
    taken = kube.apply(config_map("settings", ns, key="ours", new="one"))
    assert taken.actions == {"ConfigMap settings": "changed"}
    live = client.get(maps, "settings", ns)
    assert live is not None
    assert live["data"] == {"key": "ours", "new": "one", "other": "theirs"}


def test_a_key_that_is_left_out_is_removed(kube: Kube, ns: str) -> None:
    kube.apply(namespace(ns), config_map("settings", ns, a="1", b="2"))
    assert kube.apply(config_map("settings", ns, a="1")).result["changed"] is True
    live = kube.get("v1", "ConfigMap", "settings", ns)
    assert live is not None
    assert live["data"] == {"a": "1"}


def test_conflicts_name_manager_and_fields_and_change_nothing(kube: Kube, ns: str) -> None:
    kube.apply(namespace(ns), deployment("app", ns), field_manager="somebody-else")
    mine = deployment("app", ns, image="example.com/app:2")
    with pytest.raises(Refused) as refused:
        kube.apply(mine, config_map("settings", ns, key="1"))
    message = str(refused.value)
    assert "'somebody-else'" in message
    assert ".image is owned by" in message
    assert "force_conflicts" in message
    assert kube.get("v1", "ConfigMap", "settings", ns) is None
    forced = kube.apply(mine, force_conflicts=True)
    assert forced.actions == {"Deployment app": "changed"}


def test_check_mode_predicts_what_the_run_does(kube: Kube, ns: str) -> None:
    kube.apply(namespace(ns), config_map("old", ns, key="1"), config_map("same", ns, key="1"))
    bundle = [
        config_map("old", ns, key="2"),
        config_map("same", ns, key="1"),
        config_map("new", ns, key="1"),
        namespace(f"{ns}-new"),
        deployment("app", f"{ns}-new"),
        definition("Predicted", group=f"{ns}.example.com"),
        {
            "apiVersion": f"{ns}.example.com/v1",
            "kind": "Predicted",
            "metadata": {"name": "one", "namespace": f"{ns}-new"},
            "spec": {},
        },
    ]
    predicted = kube.apply(*copy.deepcopy(bundle), check=True)
    assert kube.get("v1", "Namespace", f"{ns}-new") is None
    done = kube.apply(*copy.deepcopy(bundle))
    assert predicted.actions == done.actions
    assert predicted.result["changed"] is done.result["changed"] is True


def test_namespaces_are_created_where_that_is_asked_for(kube: Kube, ns: str) -> None:
    with pytest.raises(Refused, match=f"namespace '{ns}' does not exist"):
        kube.apply(config_map("b", ns), check=True)
    predicted = kube.apply(config_map("b", ns), create_namespace=True, check=True)
    assert predicted.actions == {f"Namespace {ns}": "created", "ConfigMap b": "created"}
    assert kube.apply(config_map("b", ns), create_namespace=True).actions == predicted.actions
    again = kube.apply(config_map("b", ns), create_namespace=True)
    assert again.actions == {"ConfigMap b": "unchanged"}
    kube.apply(config_map("b", ns), create_namespace=True, state="absent")
    assert kube.get("v1", "Namespace", ns) is not None


def test_diff_shows_the_change_and_no_secret(kube: Kube, ns: str) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": ns},
        "stringData": {"token": "first-secret", "user": "bob"},
    }
    kube.apply(namespace(ns), copy.deepcopy(secret))
    assert kube.apply(copy.deepcopy(secret)).result["changed"] is False
    secret["stringData"]["token"] = "second-secret"
    changed = kube.apply(secret, config_map("new", ns, key="shown"), diff=True)
    text = json.dumps(changed.result)
    for value in ("first-secret", "second-secret", "c2Vjb25kLXNlY3JldA==", "Ym9i"):
        assert value not in text
    secret_diff, map_diff = sorted(
        changed.result["diff"], key=lambda d: d["after_header"], reverse=True
    )
    assert "token: '********'" in secret_diff["before"]
    assert "token: '******** (changed)'" in secret_diff["after"]
    assert "user: '********'" in secret_diff["after"]
    assert map_diff["before"] == ""
    assert "key: shown" in map_diff["after"]


def test_everything_wrong_is_told_at_once_before_anything_changes(
    kube: Kube, ns: str, tmp_path: Path
) -> None:
    (tmp_path / "broken.yaml").write_text("a: 1\n---\nkind: [unclosed\n")
    with pytest.raises(Refused) as refused:
        kube.apply(namespace(ns), "kind: ConfigMap", files=[str(tmp_path)])
    first = str(refused.value)
    assert "broken.yaml:1: apiVersion is missing" in first
    assert "broken.yaml:4: not valid YAML" in first
    assert "definitions[1]:1: apiVersion is missing" in first

    kube.apply(namespace(f"{ns}-there"))
    wrong = deployment("there", f"{ns}-there")
    wrong["spec"]["replicas"] = "three"
    wrong["spec"]["template"]["spec"]["contaners"] = []
    alike = deployment("later", ns)
    alike["spec"]["replicas"] = "three"
    del alike["spec"]["selector"]
    with pytest.raises(Refused) as refused:
        kube.apply(namespace(ns), wrong, alike)
    message = str(refused.value)
    assert f"Deployment {ns}-there/there" in message
    assert "replicas" in message
    assert "contaners" in message
    assert f"Deployment {ns}/later: spec.selector: is required" in message
    assert f"Deployment {ns}/later: spec.replicas: must be integer, not string" in message
    assert kube.get("v1", "Namespace", ns) is None


def test_an_unknown_kind_is_refused_with_close_names(kube: Kube, ns: str) -> None:
    wrong = {"apiVersion": "apps/v1", "kind": "Deploymnet", "metadata": {"name": "x"}}
    old = {"apiVersion": "extensions/v1beta1", "kind": "Ingress", "metadata": {"name": "x"}}
    with pytest.raises(Refused) as refused:
        kube.apply(namespace(ns), wrong, old)
    assert "Did you mean apps/v1 Deployment" in str(refused.value)
    assert "networking.k8s.io/v1 Ingress" in str(refused.value)
    assert kube.get("v1", "Namespace", ns) is None


def test_a_namespace_nobody_brings_is_named(kube: Kube, ns: str) -> None:
    with pytest.raises(Refused, match=f"namespace '{ns}' does not exist and is not part of"):
        kube.apply(config_map("settings", ns))


def test_custom_resources_come_with_their_definition(kube: Kube, ns: str) -> None:
    group = f"{ns}.example.com"
    widget = {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": "one", "namespace": "default"},
        "spec": {"size": 3},
    }
    crd = definition("Widget", group=group, size={"type": "integer", "maximum": 5})
    wrong = copy.deepcopy(widget)
    wrong["spec"] = {"size": 9, "colour": "red"}
    with pytest.raises(Refused) as refused:
        kube.apply(wrong, copy.deepcopy(crd))
    assert "spec.size: is more than maximum 5" in str(refused.value)
    assert "spec.colour: no such field" in str(refused.value)
    assert kube.apply(widget, crd).actions["Widget one"] == "created"


def test_prune_removes_what_left_the_bundle_and_nothing_else(kube: Kube, ns: str) -> None:
    kube.apply(namespace(ns), config_map("stranger", ns))
    bundle = [config_map(name, ns) for name in ("stays", "goes")]
    first = kube.apply(*copy.deepcopy(bundle), apply_set=ns, prune=True)
    assert first.result["counts"] == {"created": 2}
    predicted = kube.apply(config_map("stays", ns), apply_set=ns, prune=True, check=True)
    assert kube.get("v1", "ConfigMap", "goes", ns)
    second = kube.apply(config_map("stays", ns), apply_set=ns, prune=True)
    assert second.actions == {"ConfigMap stays": "unchanged", "ConfigMap goes": "pruned"}
    assert predicted.actions == second.actions
    assert kube.get("v1", "ConfigMap", "goes", ns) is None
    assert kube.get("v1", "ConfigMap", "stranger", ns)
    assert kube.apply(config_map("stays", ns), apply_set=ns, prune=True).result["changed"] is False


def test_prune_spares_what_controllers_make_of_members(kube: Kube, ns: str) -> None:
    """They hand labels on: Knative's Service for a Route has those of the Route, the set's too."""
    kube.apply(namespace(ns))
    kube.apply(config_map("stays", ns), apply_set=ns, prune=True)
    owner = kube.get("v1", "ConfigMap", "stays", ns)
    assert owner is not None
    made = config_map("made", ns)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "controller": True}
    made["metadata"] |= {
        "labels": owner["metadata"]["labels"],
        "ownerReferences": [reference | {key: owner["metadata"][key] for key in ("name", "uid")}],
    }
    kube.apply(made)
    again = kube.apply(config_map("stays", ns), apply_set=ns, prune=True)
    assert again.actions == {"ConfigMap stays": "unchanged"}
    assert kube.get("v1", "ConfigMap", "made", ns)


def test_a_pruned_kind_and_an_absent_set_leave_nothing(kube: Kube, ns: str) -> None:
    kube.apply(namespace(ns))
    kube.apply(deployment("app", ns), config_map("settings", ns), apply_set=ns, prune=True)
    pruned = kube.apply(config_map("settings", ns), apply_set=ns, prune=True)
    assert pruned.actions["Deployment app"] == "pruned"
    gone = kube.apply(apply_set=ns, state="absent", wait=True)
    assert gone.actions == {"ConfigMap settings": "deleted"}
    assert kube.get("v1", "ConfigMap", ns, "default") is None
    assert kube.apply(apply_set=ns, state="absent").result["changed"] is False


def test_one_object_is_a_member_of_one_set(kube: Kube, ns: str) -> None:
    kube.apply(namespace(ns))
    kube.apply(config_map("settings", ns), apply_set=f"{ns}-a")
    with pytest.raises(Refused, match="belongs to the apply set"):
        kube.apply(config_map("settings", ns), apply_set=f"{ns}-b")
    kube.apply(config_map(f"{ns}-c"))
    with pytest.raises(Refused, match="is not a set of this module"):
        kube.apply(config_map("other", ns), apply_set=f"{ns}-c")


def test_a_namespace_with_other_peoples_objects_is_kept(kube: Kube, ns: str) -> None:
    kube.apply(namespace(ns), config_map("ours", ns), apply_set=ns)
    kube.apply(config_map("theirs", ns))
    predicted = kube.apply(apply_set=ns, state="absent", check=True)
    gone = kube.apply(apply_set=ns, state="absent", wait=True)
    assert gone.actions == {f"Namespace {ns}": "kept", "ConfigMap ours": "deleted"}
    assert predicted.actions == gone.actions
    assert gone.warnings == [f"Namespace {ns} is kept: it holds ConfigMap theirs"]
    assert kube.get("v1", "Namespace", ns)


def test_what_openshift_puts_into_every_namespace_does_not_keep_one(kube: Kube, ns: str) -> None:
    kube.apply(namespace(ns), apply_set=ns)
    given = config_map("openshift-service-ca.crt", ns, **{"service-ca.crt": "PEM"})
    accounts = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": ns}}
        for name in ("builder", "deployer")
    ]
    credentials = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "builder-dockercfg-x",
            "namespace": ns,
            "annotations": {"kubernetes.io/service-account.name": "builder"},
        },
    }
    kube.apply(given, *accounts, credentials)
    gone = kube.apply(apply_set=ns, state="absent")
    assert gone.actions == {f"Namespace {ns}": "deleted"}
    assert gone.warnings == []


def test_absent_refuses_to_take_custom_resources_along(kube: Kube, ns: str) -> None:
    group = f"{ns}.example.com"
    crd = definition("Gadget", group=group)
    kube.apply(copy.deepcopy(crd), wait=True)  # its kind can be used right afterwards
    gadget = {
        "apiVersion": f"{group}/v1",
        "kind": "Gadget",
        "metadata": {"name": "precious", "namespace": "default"},
        "spec": {},
    }
    kube.apply(gadget)
    with pytest.raises(Refused, match="Gadget default/precious would be deleted"):
        kube.apply(copy.deepcopy(crd), state="absent")
    predicted = kube.apply(crd, state="absent", delete_custom_resources=True, check=True)
    assert set(predicted.actions.values()) == {"deleted"}
    assert len(predicted.actions) == 2
    assert kube.get(f"{group}/v1", "Gadget", "precious", "default")


def test_a_run_that_fails_before_it_changed_anything_says_so(kube: Kube, ns: str) -> None:
    kube.apply(namespace(ns), deployment("app", ns))
    with pytest.raises(NotReady) as late:
        kube.apply(deployment("app", ns), wait=True, wait_timeout=0.2)
    assert late.value.result["changed"] is False
    with pytest.raises(NotReady) as late:
        kube.apply(deployment("app", ns, image="x:2"), wait=True, wait_timeout=0.2)
    assert late.value.result["changed"] is True


def test_empty_maps_cost_no_request_of_their_own(kube: Kube, ns: str) -> None:
    empty = config_map("empty", ns)
    empty["metadata"] |= {"labels": {}, "annotations": {}}
    bundle = [namespace(ns), empty, config_map("full", ns, key="1")]
    kube.apply(*copy.deepcopy(bundle))
    again = kube.apply(*copy.deepcopy(bundle))
    discovery = 2
    assert again.result["requests"] <= discovery + 2


def test_a_finalizer_nobody_removes_is_named(kube: Kube, ns: str) -> None:
    stuck = config_map("stuck", ns)
    stuck["metadata"]["finalizers"] = ["example.com/never"]
    kube.apply(namespace(ns), copy.deepcopy(stuck))
    with pytest.raises(Interrupted, match=r"waits for finalizer example.com/never"):
        kube.apply(copy.deepcopy(stuck), state="absent", wait=True, wait_timeout=0.3)
    client = kube.connect()
    maps = client.resource("v1", "ConfigMap")
    client.patch(maps, "stuck", ns, {"metadata": {"finalizers": None}})
    assert client.get(maps, "stuck", ns) is None


def test_waiting_honours_observed_generation(kube: Kube, ns: str) -> None:
    kube.apply(namespace(ns), deployment("app", ns, image="example.com/app:0"))
    kube.apply(deployment("app", ns))
    live = kube.get("apps/v1", "Deployment", "app", ns)
    assert live is not None
    ready = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    generation = live["metadata"]["generation"]
    kube.set_status(live, {**ready, "observedGeneration": generation - 1})
    with pytest.raises(NotReady, match="has not seen the newest version"):
        kube.apply(deployment("app", ns), wait=True, wait_timeout=0.2)
    kube.set_status(live, {**ready, "observedGeneration": generation})
    assert kube.apply(deployment("app", ns), wait=True, wait_timeout=60).result["changed"] is False


def test_the_timeout_tells_what_is_missing_and_why(kube: Kube, ns: str) -> None:
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": ns},
    }
    kube.apply(namespace(ns), account, deployment("app", ns))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app-1", "namespace": ns, "labels": {"app": "app"}},
        "spec": {"containers": [{"name": "main", "image": "example.com/app:1"}]},
    }
    kube.apply(copy.deepcopy(pod))
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    kube.set_status(
        pod,
        {
            "phase": "Pending",
            "containerStatuses": [
                {
                    "name": "main",
                    "ready": False,
                    "restartCount": 0,
                    "image": "example.com/app:1",
                    "imageID": "",
                    "state": waiting,
                }
            ],
        },
    )
    with pytest.raises(NotReady) as late:
        kube.apply(deployment("app", ns), wait=True, wait_timeout=0.2)
    message = str(late.value)
    assert "1 of 1 objects are not ready after 0.2 s (wait_timeout)" in message
    assert "pod app-1: container main: ImagePullBackOff: no such image" in message
    assert list(late.value.result["pending"]) == [f"Deployment {ns}/app"]


def test_a_custom_resource_is_not_ready_just_because_it_exists(kube: Kube, ns: str) -> None:
    kube.apply(definition("Slow"), wait=True)
    slow = custom("Slow", ns)
    with pytest.raises(NotReady, match="has not reported on it yet"):
        kube.apply(copy.deepcopy(slow), wait=True, wait_timeout=0.2)
    live = kube.get("example.com/v1", "Slow", ns, "default")
    assert live is not None
    failing = {"type": "Ready", "status": "False", "reason": "Broken", "message": "no disk"}
    kube.set_status(live, {"conditions": [failing]})
    with pytest.raises(NotReady, match=r"Ready=False \(Broken: no disk\)"):
        kube.apply(copy.deepcopy(slow), wait=True, wait_timeout=0.2)
    half = {"kind": "Slow", "type": "Ready", "status": "False", "reason": "Broken"}
    kube.apply(copy.deepcopy(slow), wait=True, wait_timeout=60, wait_conditions=[half])
    kube.set_status(live, {"conditions": [{"type": "Ready", "status": "True"}]})
    kube.apply(copy.deepcopy(slow), wait=True, wait_timeout=60)


def test_a_failed_job_ends_the_wait_at_once(kube: Kube, ns: str) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "migrate-", "namespace": ns},
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "main", "image": "example.com/migrate:1"}],
                }
            }
        },
    }
    created = kube.apply(namespace(ns), copy.deepcopy(job))
    (name,) = [o["name"] for o in created.result["objects"] if o["kind"] == "Job"]
    assert name.startswith("migrate-")
    assert kube.apply(copy.deepcopy(job)).result["changed"] is False, "the name is deterministic"
    live = kube.get("batch/v1", "Job", name, ns)
    assert live is not None
    reason = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
    target = {**reason, "type": "FailureTarget"}
    kube.set_status(
        live, {"conditions": [target, reason], "startTime": live["metadata"]["creationTimestamp"]}
    )
    with pytest.raises(NotReady, match=r"Failed for good:\n.*BackoffLimitExceeded"):
        kube.apply(copy.deepcopy(job), wait=True, wait_timeout=60)


def test_a_finished_job_that_changed_is_run_again(kube: Kube, ns: str) -> None:
    def job(image: str) -> dict[str, object]:
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "default-domain", "namespace": ns},
            "spec": {
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "containers": [{"name": "main", "image": image}],
                    }
                }
            },
        }

    kube.apply(namespace(ns), job("example.com/job:1"))
    live = kube.get("batch/v1", "Job", "default-domain", ns)
    assert live is not None
    with pytest.raises(Refused, match="field is immutable"):
        kube.apply(job("example.com/job:2"))
    now = live["metadata"]["creationTimestamp"]
    done = [
        {"type": kind, "status": "True", "reason": "CompletionsReached"}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    kube.set_status(
        live, {"conditions": done, "startTime": now, "completionTime": now, "succeeded": 1}
    )
    assert kube.apply(job("example.com/job:2"), check=True).actions == {
        "Job default-domain": "recreated"
    }
    assert kube.apply(job("example.com/job:2")).actions == {"Job default-domain": "recreated"}
    new = kube.get("batch/v1", "Job", "default-domain", ns)
    assert new is not None
    assert new["metadata"]["uid"] != live["metadata"]["uid"]


def test_patches_change_objects_before_they_are_applied(kube: Kube, ns: str) -> None:
    memory = {"containers": [{"name": "main", "resources": {"limits": {"memory": "1Gi"}}}]}
    patch = {"kind": "Deployment", "merge": {"spec": {"template": {"spec": memory}}}}
    kube.apply(namespace(ns), deployment("app", ns), patches=[patch])
    live = kube.get("apps/v1", "Deployment", "app", ns)
    assert live is not None
    (container,) = live["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "example.com/app:1"
    assert container["resources"]["limits"]["memory"] == "1Gi"
    with pytest.raises(Refused, match="no StatefulSet"):
        kube.apply(deployment("app", ns), patches=[{"kind": "StatefulSet", "merge": {}}])


def test_two_definitions_of_one_object_are_noticed(kube: Kube, ns: str) -> None:
    kube.apply(namespace(ns))
    outcome = kube.apply(config_map("twice", ns, a="1"), config_map("twice", ns, a="2"))
    assert outcome.warnings == [
        f"ConfigMap {ns}/twice is defined in both definitions[0]:1 and definitions[1]:1: the"
        " definition from definitions[1]:1 is used"
    ]
    live = kube.get("v1", "ConfigMap", "twice", ns)
    assert live is not None
    assert live["data"] == {"a": "2"}


def test_an_object_on_its_way_out_is_waited_for(kube: Kube, ns: str) -> None:
    leaving = config_map("leaving", ns)
    leaving["metadata"]["finalizers"] = ["example.com/never"]
    kube.apply(namespace(ns), leaving)
    kube.apply(config_map("leaving", ns), state="absent")
    with pytest.raises(Interrupted, match="is still being deleted"):
        kube.apply(config_map("leaving", ns), retry_timeout=0.3)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"kubeconfig": "/nowhere/config"}, ConfigError, "no such file: /nowhere/config"),
        ({"context": "elsewhere"}, ConfigError, "context 'elsewhere' is not in .*; it has: "),
        ({"host": "https://127.0.0.1:9"}, Unreachable, "127.0.0.1:9 cannot be reached"),
        ({"api_key": "expired"}, ApiError, "refused or has expired.*log in again"),
        ({"urls": [{"url": "ftp://x"}]}, KubeError, "not an http"),
        ({"files": ["/nowhere.yaml"]}, KubeError, "cannot read /nowhere.yaml"),
    ],
)
def test_what_cannot_work_says_what_to_do(
    kube: Kube, options: dict[str, str], error: type[Exception], text: str
) -> None:
    if "api_key" in options:
        # A token counts only where no client certificate speaks first.
        url = kube.client.transport.url
        options = {**options, "kubeconfig": _without_user(kube), "host": url}
    with pytest.raises(error, match=text):
        kube.apply(config_map("settings"), **options)


def test_who_one_is_comes_from_the_options(kube: Kube, ns: str, tmp_path: Path) -> None:
    """A client certificate, as text and by path, and impersonation on top of it."""
    authority = Authority(kube.kubeconfig.parent)
    certificate, key = authority.issue("jane", organization="system:masters")
    (tmp_path / "key").write_bytes(key)
    jane = {
        "kubeconfig": _without_user(kube),
        "client_cert": certificate.decode(),
        "client_key": str(tmp_path / "key"),
    }
    assert kube.apply(namespace(ns), **jane).result["changed"] is True
    with pytest.raises(KubeError) as refused:
        kube.apply(config_map("settings", ns), **jane, impersonate_user="guest")
    assert 'User "guest" cannot' in str(refused.value)
    assert "Ask an administrator for a role that allows this" in str(refused.value)
    assert kube.get("v1", "ConfigMap", "settings", ns) is None


def _without_user(kube: Kube) -> dict[str, object]:
    document = yaml.safe_load(kube.kubeconfig.read_text())
    for user in document["users"]:
        user["user"] = {}
    return document


@pytest.mark.parametrize(
    ("reason", "ready"), [("", True), ("Completed", True), ("BackoffLimitExceeded", False)]
)
def test_a_job_that_deletes_itself_is_finished(
    kube: Kube, ns: str, reason: str, ready: bool
) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once", "namespace": ns},
        "spec": {
            "ttlSecondsAfterFinished": 0,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "main", "image": "example.com/app:1"}],
                }
            },
        },
    }
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "once.1", "namespace": ns},
        "involvedObject": {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": "once",
            "namespace": ns,
        },
        "reason": reason,
        "message": "m",
    }
    kube.apply(namespace(ns), *([event] if reason else []))
    client = kube.connect()
    jobs = client.resource("batch/v1", "Job")

    def finish() -> None:
        until(lambda: client.get(jobs, "once", ns), "the Job is there")
        client.delete(jobs, "once", ns)

    controller = threading.Thread(target=finish)
    controller.start()
    if ready:
        kube.apply(job, wait=True, wait_timeout=60)
    else:
        with pytest.raises(NotReady, match=r"failed \(BackoffLimitExceeded: m\)"):
            kube.apply(job, wait=True, wait_timeout=60)
    controller.join()
