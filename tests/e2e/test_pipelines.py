"""Pipelines beside the site's own: through a Broker, with a sink's authorities; what is lost, and what is not."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.kube import Kube
from support.site import PATIENCE, ROOT, Site, recap
from support.tls import issue

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import ApiError
from ansible_collections.streamops.knative.plugins.module_utils._pipelines.probe import Lost, Pods
from ansible_collections.streamops.knative.plugins.modules.event_probe import TASK
from streamops_sandbox import control_socket
from streamops_sandbox.home import Home

SPACE = "elsewhere"
VIEWER = f"http://event-viewer.{SPACE}.svc.cluster.local"
#: What a team gives its pods; what a Knative Service takes of it without further features, and the rest.
SERVED: dict[str, Any] = {
    "annotations": {"example.com/team": "streams"},
    "imagePullSecrets": [{"name": "registry"}],
    "env": [
        {"name": "CLUSTER_CA", "valueFrom": {"configMapKeyRef": {"name": "kube-root-ca.crt", "key": "ca.crt"}}},
        {"name": "TEAM", "value": "streams"},
    ],
    "volumes": [{"name": "trust", "configMap": {"name": "kube-root-ca.crt"}}],
    "volumeMounts": [{"name": "trust", "mountPath": "/etc/trust", "readOnly": True}],
}  # fmt: skip
POD: dict[str, Any] = SERVED | {
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "streams", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 1,
                    "preference": {
                        "matchExpressions": [{"key": "kubernetes.io/arch", "operator": "Exists"}]
                    },
                }
            ]
        }
    },
    "priorityClassName": "system-cluster-critical",
}
PIPELINES: list[dict[str, Any]] = [
    {},
    {
        "name": "brokered",
        "namespace": SPACE,
        "topics": ["brokered"],
        "delivery": "broker",
        "interval": 1,
        "replicas": 2,
        "pod": POD,
    },
    {
        "name": "certified",
        "namespace": SPACE,
        "topics": ["certified"],
        "sink": {"uri": VIEWER},
        "extensions": {"origin": "certified"},
        "interval": 1,
    },
    {
        "name": "contained",
        "namespace": SPACE,
        "topics": ["contained"],
        "workload": "ContainerSource",
        "sink": {"uri": VIEWER},
        "extensions": {"origin": "contained"},
        "interval": 1,
    },
    {
        "name": "yearly",
        "namespace": SPACE,
        "topics": ["yearly"],
        "workload": "CronJob",
        "schedule": "0 0 1 1 *",
    },
]
ACCOUNT = "twitter-producer"
ACCOUNT_ANNOTATIONS = {"example.com/identity": "streams"}
SHARED: dict[str, Any] = {
    "twitter_pipeline_viewer_pod": SERVED,
    "twitter_pipeline_service_account_annotations": ACCOUNT_ANNOTATIONS,
}
ON_STAND_INS = PATIENCE == 1
#: Of Kafka the sandbox only wants a connection; the real lane runs upstream's programs, and has none for Kafka.
if ON_STAND_INS:
    PIPELINES.append(
        {
            "name": "kafka",
            "namespace": SPACE,
            "topics": ["kafka"],
            "delivery": "broker",
            "broker": {"class": "Kafka"},
            "interval": 1,
        }
    )
    SHARED["knative_eventing_components"] = [
        *("serving", "kourier", "eventing", "in-memory-channel", "mt-channel-broker"),
        *("kafka-controller", "kafka-broker"),
    ]

pytestmark = pytest.mark.needs("kubectl")


def until(check: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.2)
    return found


def publish(site: Site, *texts: str) -> list[str]:
    """Write posts on the sandbox's X; returns their ids."""
    body = [{"text": text} for text in texts]
    home = Home(Path(site.state["home"]))
    status, answer = control_socket.call(home, "POST", "/x/posts?matching=text", body)
    assert status == 200, answer
    ids: list[str] = answer
    return ids


def viewer(site: Site, field: str) -> str:
    """A field of the viewer's pod in the namespace."""
    return site.run(
        "kubectl", "-n", SPACE, "get", "pods", "-l", "app.kubernetes.io/name=event-viewer",
        "-o", f"jsonpath={{.items[0].metadata.{field}}}",
    ).stdout  # fmt: skip


def events(site: Site) -> dict[str, dict[str, Any]]:
    """What the viewer of the namespace keeps, by id; nothing while it is being started."""
    proxy = f"/api/v1/namespaces/{SPACE}/pods/{viewer(site, 'name')}:8080/proxy"
    found: dict[str, dict[str, Any]] = {}
    cursor = ""
    while True:
        path = f"{proxy}/api/events?type=com.x.post&limit=100{cursor}"
        answer = site.run("kubectl", "get", "--raw", path, check=False)
        if answer.returncode:
            return {}
        page = json.loads(answer.stdout)
        found |= {record["event"]["id"]: record["event"] for record in page["events"]}
        if not page["next"]:
            return found
        cursor = f"&cursor={page['next']}"


def kill_viewer(site: Site) -> bool:
    """SIGKILL the viewer, as a node does that is out of memory; False if it does not run."""
    pod = f"/pods/{viewer(site, 'uid')}/".encode()
    killed = False
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            command = (folder / "cmdline").read_bytes()
            if b"event_viewer" in command and pod in (folder / "environ").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)
                killed = True
    return killed


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A certificate as PEM text."""
    text, _ = issue("sink.example.com", tmp_path_factory.mktemp("authority"))
    return text


# Before there are more pipelines, which these runs would remove.


def documented_tags() -> list[str]:
    """The tags of roles and steps that the guide names."""
    guide = (ROOT / "docs/how-to/existing-cluster.md").read_text()
    rows = [line for line in guide.splitlines() if line.startswith(("| one role", "| one step"))]
    roles = "|".join(path.name for path in (ROOT / "roles").iterdir())
    return re.findall(rf"`((?:{roles})(?:_[a-z]+)?)`", " ".join(rows))


def test_every_documented_tag_works_alone(site: Site) -> None:
    tags = documented_tags()
    assert len(tags) >= 12
    for tag in tags:
        done = site.play("site.yml", "--tags", tag, "-e", site.variables, check=False)
        assert done.returncode == 0, f"--tags {tag}\n{done.stdout}{done.stderr}"
        assert recap(done.stdout)["sandbox"]["changed"] == 0, f"--tags {tag}\n{done.stdout}"


#: What others need of a step, as the error says.
NEEDED = {"twitter_pipeline_images": "this run has not built the images"}


def left_out() -> list[list[str]]:
    """The documented tags by the run that leaves them out: a step of each role at a time, the rest alone."""
    steps: dict[str, list[str]] = {path.name: [] for path in (ROOT / "roles").iterdir()}
    alone = []
    for tag in documented_tags():
        role = next(role for role in steps if tag.startswith(role))
        (alone if tag in (role, *NEEDED) else steps[role]).append(tag)
    together = itertools.zip_longest(*steps.values())
    return [[tag] for tag in alone] + [[tag for tag in tags if tag] for tags in together]


def test_every_documented_tag_can_be_left_out_or_it_is_told_why_not(site: Site) -> None:
    for tags in left_out():
        skipping = ("--check", "--skip-tags", ",".join(tags), "-e", site.variables)
        done = site.play("site.yml", *skipping, check=False)
        said = f"--skip-tags {tags}\n{done.stdout}{done.stderr}"
        if tags[0] in NEEDED:
            assert NEEDED[tags[0]] in done.stdout, said
        else:
            assert done.returncode == 0, said
            assert recap(done.stdout)["sandbox"]["changed"] == 0, said


@pytest.fixture(scope="module")
def several(site: Site, authority: str) -> Any:
    """More pipelines, in a namespace of their own; what has a sink by URI has its authorities too."""
    pipelines = [
        pipeline | ({"sink_ca_certs": authority} if "sink" in pipeline else {})
        for pipeline in PIPELINES
    ]
    consumers = [{"namespace": space, "service_account": ACCOUNT} for space in ("streamops", SPACE)]
    variables = json.loads(site.variables) | {
        "twitter_pipeline_pipelines": pipelines,
        "secrets_consumers": consumers,
        **SHARED,
    }
    # Several ask each second.
    control_socket.call(
        Home(Path(site.state["home"])), "PUT", "/x/limits", {"search/user": 1_000_000}
    )
    tags = ("--tags", "secrets,twitter_pipeline")
    stop = contextlib.ExitStack()
    if ON_STAND_INS:
        kafka = stop.enter_context(socket.create_server(("127.0.0.1", 0)))
        servers = [f"127.0.0.1:{kafka.getsockname()[1]}"]
        variables["knative_eventing_kafka"] = {"bootstrap_servers": servers}
        site.play("playbooks/eventing.yml", "-e", json.dumps(variables))
    output = site.play("site.yml", *tags, "-e", json.dumps(variables)).stdout
    assert recap(output)["sandbox"]["failed"] == 0
    yield site
    stop.close()
    refused = site.play("site.yml", *tags, "-e", site.variables, check=False)
    assert refused.returncode != 0
    assert "the checkpoint in ConfigMap elsewhere/brokered-state" in refused.stdout
    confirmed = json.loads(site.variables) | {"twitter_pipeline_delete_history": True}
    site.play("site.yml", *tags, "-e", json.dumps(confirmed))
    spaces = site.run("kubectl", "get", "namespaces", "-o", "name").stdout
    assert SPACE not in spaces  # what is not listed any more is gone


def environment(site: Site, name: str) -> dict[str, str]:
    """Environment in the pod template of a Deployment of the namespace."""
    deployment = json.loads(
        site.run("kubectl", "-n", SPACE, "get", "deployment", name, "-o", "json").stdout
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def holds(pod: dict[str, Any], given: dict[str, Any]) -> None:
    """Check that a pod's template has what it was given, beside what is the role's."""
    spec = pod["spec"]
    (container,) = (c for c in spec["containers"] if c["name"] in ("producer", "event-viewer"))
    found = {**spec, "annotations": pod["metadata"].get("annotations") or {}}
    found |= {key: container.get(key) for key in ("env", "volumeMounts")}
    for key, value in given.items():
        if isinstance(value, list):
            for entry in value:
                assert any(is_part(entry, one) for one in found[key]), (key, entry, found[key])
        else:
            assert is_part(value, found[key]), (key, value, found[key])


def is_part(wanted: Any, found: Any) -> bool:
    """Return whether what is wanted is in what is found, which has defaults too."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(key in found and is_part(value, found[key]) for key, value in wanted.items())
    return bool(wanted == found)


def test_pods_have_what_a_team_gives_them(several: Site) -> None:
    def read(*names: str) -> Any:
        return json.loads(several.run("kubectl", "-n", SPACE, "get", *names, "-o", "json").stdout)

    deployment = read("deployment", "brokered")["spec"]
    holds(deployment["template"], POD)
    assert deployment["replicas"] == 2
    holds(read("ksvc", "event-viewer")["spec"]["template"], SERVED)
    annotations = read("serviceaccount", ACCOUNT)["metadata"]["annotations"]
    assert annotations.items() >= ACCOUNT_ANNOTATIONS.items()


def test_killing_the_viewer_behind_a_broker_loses_nothing(several: Site) -> None:
    published = publish(several, "brokered at first")
    until(lambda: set(published) <= set(events(several)), "the first post in the viewer")
    for number in range(30):
        published += publish(several, f"brokered {number}")
        if number in (8, 16):
            until(lambda: kill_viewer(several), "a viewer to kill")
    until(lambda: set(published) <= set(events(several)), "every post in the viewer")
    restarts = several.run(
        "kubectl", "-n", SPACE, "get", "pods", "-l", "app.kubernetes.io/name=event-viewer",
        "-o", "jsonpath={.items[0].status.containerStatuses[*].restartCount}",
    ).stdout  # fmt: skip
    # One for each, and on a busy machine perhaps one for a liveness probe.
    assert max(map(int, restarts.split())) >= 2


@pytest.mark.skipif(not ON_STAND_INS, reason="there is no Kafka on the real lane")
def test_events_go_through_a_broker_of_class_kafka(several: Site) -> None:
    broker = json.loads(
        several.run("kubectl", "-n", SPACE, "get", "broker", "kafka", "-o", "json").stdout
    )
    assert broker["metadata"]["annotations"]["eventing.knative.dev/broker.class"] == "Kafka"
    assert broker["spec"]["config"]["name"] == "kafka-broker-config", "of the class by itself"
    assert "//kafka-broker-ingress.knative-eventing." in broker["status"]["address"]["url"]
    (identifier,) = publish(several, "kafka")
    until(lambda: identifier in events(several), "the post in the viewer")


def test_a_sink_by_uri_with_authorities_and_overrides(several: Site, authority: str) -> None:
    (identifier,) = publish(several, "certified")
    given = environment(several, "certified")
    assert given["K_SINK"] == VIEWER
    assert given["K_CA_CERTS"] == authority
    assert json.loads(given["K_CE_OVERRIDES"]) == {"extensions": {"origin": "certified"}}
    arrived = until(lambda: events(several).get(identifier), "the post in the viewer")
    assert arrived["origin"] == "certified"


def test_a_container_source_takes_the_same_of_its_sink(several: Site, authority: str) -> None:
    (identifier,) = publish(several, "contained")
    source = several.run(
        "kubectl", "-n", SPACE, "get", "containersource", "contained", "-o", "jsonpath={.spec.sink}"
    ).stdout
    assert json.loads(source) == {"uri": VIEWER, "CACerts": authority}
    arrived = until(lambda: events(several).get(identifier), "the post in the viewer")
    assert arrived["origin"] == "contained"


def test_a_job_of_a_cron_job_is_bound_before_it_runs(several: Site) -> None:
    (identifier,) = publish(several, "yearly")
    kubectl = ("kubectl", "-n", SPACE)
    several.run(*kubectl, "create", "job", "now", "--from=cronjob/yearly")
    several.run(*kubectl, "wait", "--for=condition=Complete", "--timeout=200s", "job/now")
    until(lambda: identifier in events(several), "the post in the viewer")


def test_a_first_installation_that_reads_nothing_from_x_is_not_green(several: Site) -> None:
    deaf = {"name": "deaf", "namespace": SPACE, "environment": {"X_API_URL": "http://127.0.0.1:9"}}
    variables = json.loads(several.variables) | SHARED
    variables["twitter_pipeline_pipelines"] = [*PIPELINES, deaf]
    run = several.play("playbooks/pipeline.yml", "-e", json.dumps(variables), check=False)
    assert run.returncode != 0
    said = " ".join(run.stdout.split())
    assert "The probe was lost at the source: the producer reads nothing from X." in said
    assert "look at twitter_pipeline_x_api_url" in said
    labels = {"app.kubernetes.io/instance": "brokered"}
    outcome = Kube(several.home / "kubeconfig").run(TASK, namespace=SPACE, producer_labels=labels)
    assert outcome.result["source"] == ""


def test_a_wrong_setting_takes_no_running_producer_down(several: Site) -> None:
    labels = "app.kubernetes.io/instance=certified"
    before = several.run("kubectl", "-n", SPACE, "get", "pods", "-l", labels, "-o", "name").stdout
    wrong = [dict(pipeline) for pipeline in PIPELINES]
    wrong[2]["environment"] = {"MAX_RESULTS": "many"}
    variables = json.loads(several.variables) | SHARED | {"twitter_pipeline_pipelines": wrong}
    variables["twitter_pipeline_timeout"] = 20
    run = several.play("playbooks/pipeline.yml", "-e", json.dumps(variables), check=False)
    assert run.returncode != 0
    said = " ".join(run.stdout.split())
    assert "the settings are wrong: MAX_RESULTS" in said
    assert f"kubectl -n {SPACE} rollout undo deployment/certified" in said
    after = several.run("kubectl", "-n", SPACE, "get", "pods", "-l", labels, "-o", "name").stdout
    assert set(before.split()) <= set(after.split())
    right = variables | {"twitter_pipeline_pipelines": PIPELINES, "twitter_pipeline_timeout": 120}
    right["twitter_pipeline_delete_history"] = True  # that of the pipeline "deaf"
    several.play("playbooks/pipeline.yml", "-e", json.dumps(right))


def action(output: str, kind: str, name: str) -> str:
    """What a run at -v did, or in check mode would do, with an object."""
    entry = rf"action: (\w+)\n\s+api_version: \S+\n\s+kind: {kind}\n\s+name: {name}\n\s+namespace: {SPACE}\n"
    return next(iter(re.findall(entry, output)), "")


def test_what_cannot_be_changed_is_made_anew_and_hand_changes_are_repaired(several: Site) -> None:
    """The workload of one pipeline, the subject of another, a Broker's channel, and a scaled Deployment."""
    kubectl = ("kubectl", "-n", SPACE)

    def uid(kind: str, name: str) -> str:
        return several.run(*kubectl, "get", kind, name, "-o", "jsonpath={.metadata.uid}").stdout

    channel = several.run(
        "kubectl", "-n", "knative-eventing", "get", "configmap", "config-br-default-channel", "-o", "json"
    )  # fmt: skip
    copy = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "channel"}}
    file = several.home / "channel.json"
    file.write_text(json.dumps(copy | {"data": json.loads(channel.stdout)["data"]}))
    several.run("kubectl", "-n", "knative-eventing", "apply", "-f", str(file))
    several.run(*kubectl, "scale", "deployment/certified", "--replicas=0")
    brokers, deployments = uid("broker", "brokered"), uid("deployment", "certified")
    variables = json.loads(several.variables) | {
        "twitter_pipeline_pipelines": [dict(pipeline) for pipeline in PIPELINES],
    }
    by_name = {entry.get("name", ""): entry for entry in variables["twitter_pipeline_pipelines"]}
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "channel"}
    reference |= {"namespace": "knative-eventing"}
    by_name["brokered"] |= {"broker": {"config": reference}, "workload": "StatefulSet"}
    by_name["certified"] |= {"subject_by": "selector"}
    extra = ("-e", json.dumps(variables | SHARED))
    foreseen = several.play("playbooks/pipeline.yml", *extra, "--check", "-v").stdout
    done = several.play("playbooks/pipeline.yml", *extra, "-v").stdout
    for said in (foreseen, done):
        assert action(said, "Broker", "brokered") == "recreated"
        assert action(said, "Deployment", "brokered") == "pruned"
        assert action(said, "StatefulSet", "brokered") == "created"
        assert action(said, "Deployment", "certified") == "changed"
        assert action(said, "SinkBinding", "certified") == "changed"
    assert uid("broker", "brokered") != brokers
    assert uid("deployment", "certified") == deployments
    assert (
        several.run(
            *kubectl, "get", "deployment", "certified", "-o", "jsonpath={.spec.replicas}"
        ).stdout
        == "1"
    )
    assert uid("statefulset", "brokered")
    assert "brokered" not in several.run(*kubectl, "get", "deployments", "-o", "name").stdout
    again = several.play("playbooks/pipeline.yml", *extra).stdout
    assert recap(again)["sandbox"]["changed"] == 0
    (identifier,) = publish(several, "brokered again")
    until(lambda: identifier in events(several), "a post through the new Broker")
    several.run("kubectl", "-n", "knative-eventing", "delete", "configmap", "channel")


NOBODY = {"app.kubernetes.io/instance": "nobody"}
TWITTER = {"app.kubernetes.io/instance": "twitter"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"producer_labels": NOBODY},
            "no producer to send it: there is no pod with the labels"
            " app.kubernetes.io/instance=nobody in namespace streamops",
        ),
        (
            {"producer_labels": {"app.kubernetes.io/name": "event-viewer"}},
            "serves no POST /probe: its image is another program",
        ),
        (
            {"producer_labels": TWITTER, "viewer_labels": NOBODY, "timeout": 6},
            "the sink http://event-viewer.streamops.svc.cluster.local took it, but there is no pod",
        ),
        (
            {
                "producer_labels": TWITTER,
                "viewer_labels": {"app.kubernetes.io/name": "event-viewer"},
                "viewer_namespace": SPACE,
                "timeout": 6,
            },
            "took it with status 202, but after 6 s no viewer",
        ),
    ],
)
def test_a_lost_probe_is_told_with_the_hop(
    several: Site, options: dict[str, Any], said: str
) -> None:
    kube = Kube(several.home / "kubeconfig")
    with pytest.raises(Lost) as lost:
        kube.run(TASK, **{"namespace": "streamops", "timeout": 2, **options})
    assert said in str(lost.value)


def ask(
    site: Site,
    space: str,
    method: str,
    path: str,
    token: str = "",
    port: int = 8080,
    **options: Any,
) -> Any:
    """Send a request to the viewer of a namespace, with the session that a token gives."""
    client = Kube(site.home / "kubeconfig").client
    pods = Pods(space, {"app.kubernetes.io/name": "event-viewer"}, port, token)
    pod = pods.ready(client)
    assert pod is not None
    return pods.request(client, pod, method, path, **options)


def refused(site: Site, *arguments: Any, **options: Any) -> int:
    """The status with which a request is refused, 0 where it is not."""
    try:
        ask(site, *arguments, **options)
    except ApiError as error:
        return error.status
    return 0


def test_tokens_and_their_rotation(several: Site) -> None:
    """Producers and Triggers deliver to viewers that ask for a token, and while it is exchanged."""
    spaces = ("streamops", SPACE)
    topics = {"name": "twitter", "topics": ["guarded"], "interval": 1}
    written: dict[str, list[str]] = {space: [] for space in spaces}

    def play(number: int) -> tuple[str, str]:
        tokens = {name: f"{name}-token-{number}-0123456789" for name in ("read", "write")}
        variables = json.loads(several.variables) | {
            "twitter_pipeline_pipelines": [topics, PIPELINES[1]],
            "twitter_pipeline_delete_history": True,  # that of the other pipelines
            "twitter_pipeline_viewer_exposure": "cluster",
            **{f"twitter_pipeline_viewer_{name}_token": value for name, value in tokens.items()},
        }
        output = several.play("playbooks/pipeline.yml", "-e", json.dumps(variables)).stdout
        assert recap(output)["sandbox"]["failed"] == 0
        assert not [value for value in tokens.values() if value in output]
        return tokens["read"], tokens["write"]

    def arrived(token: str, space: str) -> set[str]:
        query = {"type": "com.x.post", "limit": 100}
        try:
            page = ask(several, space, "GET", "/api/events", token, query=query)
        except ApiError:  # it has yet to read its new token
            return set()
        return {record["event"]["id"] for record in page["events"]}

    def all_arrived(token: str) -> bool:
        return all(set(written[space]) <= arrived(token, space) for space in spaces)

    def kubectl(*arguments: str) -> str:
        return several.run("kubectl", "-n", SPACE, *arguments).stdout

    def publish_both(text: str) -> None:
        written["streamops"] += publish(several, f"guarded {text}")
        written[SPACE] += publish(several, f"brokered {text}")

    try:
        first, _write = play(1)
        publish_both("one")
        until(lambda: all_arrived(first), "the posts in the viewers")
        event = {"specversion": "1.0", "id": "1", "source": "/e2e", "type": "test"}
        for space in spaces:
            assert refused(several, space, "GET", "/api/events") == 401
            assert refused(several, space, "POST", "/", body=event) == 401
        assert refused(several, SPACE, "GET", "/api/events", port=8081) == 401
        subscriber = kubectl("get", "triggers", "-o", "jsonpath={.items[*].status.subscriberUri}")
        assert subscriber == f"http://event-viewer-triggers.{SPACE}.svc.cluster.local"
        policy = json.loads(kubectl("get", "networkpolicy", "twitter-pipeline", "-o", "json"))
        others, triggers = policy["spec"]["ingress"]
        assert triggers["ports"] == [{"protocol": "TCP", "port": 8081}]
        assert [(rule["port"], rule["endPort"]) for rule in others["ports"]] == [
            (1, 8080),
            (8082, 65535),
        ]
        # Nothing of it is exposed.
        url = kubectl("get", "ksvc", "event-viewer", "-o", "jsonpath={.status.url}")
        assert url == VIEWER
        publish_both("two")
        second, _write = play(2)
        publish_both("three")
        until(lambda: refused(several, SPACE, "GET", "/api/events", first) == 401, "an end", 180)
        until(lambda: all_arrived(second), "every post in the viewers", 180)
    finally:
        left = {
            "twitter_pipeline_pipelines": PIPELINES[:2],
            "twitter_pipeline_delete_history": True,
        }
        given = json.loads(several.variables) | left
        several.play("playbooks/pipeline.yml", "-e", json.dumps(given))


def test_a_waiting_probe_tells_what_it_waits_for(site: Site) -> None:
    told: list[str] = []
    kube = Kube(site.home / "kubeconfig")
    with pytest.raises(Lost):
        kube.run(TASK, told, namespace="streamops", timeout=4, producer_labels=NOBODY)
    assert "there is no pod with the labels" in told[0]


def test_one_cluster_that_fails_does_not_stop_the_other(site: Site, tmp_path: Path) -> None:
    """An inventory with host ranges, and with variables that are meant for work over SSH."""
    kubeconfig = (site.home / "kubeconfig").read_text()
    dead = re.sub(r"https://[\d.]+:\d+", "https://127.0.0.1:1", kubeconfig)
    (tmp_path / "c2").write_text(dead)
    (tmp_path / "c1").write_text((site.home / "kubeconfig").read_text())
    (tmp_path / "hosts.ini").write_text(
        """
[all:vars]
ansible_connection=ssh
ansible_python_interpreter=/opt/remote/bin/python9

[elsewhere]
node[01:20].example.invalid

[fleet_eu]
c[1:2]

[fleet:children]
fleet_eu

[fleet:vars]
kubeconfig="{{ inventory_dir }}/{{ inventory_hostname }}"
secrets_backend=kubernetes
twitter_pipeline_registry=registry.example.com/streamops
"""
    )
    command = ("ansible-playbook", "-i", str(tmp_path / "hosts.ini"), "playbooks/verify.yml")
    both = site.run(*command, "-e", "target=fleet", check=False)
    assert both.returncode != 0
    counts = recap(both.stdout)
    assert set(counts) == {"c1", "c2"}
    assert (counts["c1"]["failed"], counts["c2"]["failed"]) == (0, 1), both.stdout
    assert "The probe took twitter-" in both.stdout
    assert "- kubeconfig: https://127.0.0.1:1 cannot be reached" in both.stdout, both.stdout
    one = site.run(*command, "-e", "target=fleet", "--limit", "c1")
    assert set(recap(one.stdout)) == {"c1"}
    # A canary that fails keeps the others as they are, with the preflight of all and without.
    canary = ("-e", "target=fleet", "-e", "canary=c2")
    stopped = site.run(*command[:3], "site.yml", *canary, check=False)
    assert stopped.returncode != 0
    assert "PLAY [Create the clusters" not in stopped.stdout
    stopped = site.run(*command[:3], "playbooks/pipeline.yml", *canary, check=False)
    assert stopped.returncode != 0
    assert set(recap(stopped.stdout)) == {"c2"}


def test_beginning_in_the_middle_changes_nothing_by_mistake(site: Site) -> None:
    begun = site.play("site.yml", "--start-at-task", "Deploy or remove the pipelines", check=False)
    assert begun.returncode != 0
    assert "Nothing was changed" in begun.stdout
    assert "this run has not built the images" in begun.stdout
    ended = site.play("site.yml", "--start-at-task", "Send a probe through every pipeline")
    assert "Probe       producer -> sink -> viewer" in ended.stdout
