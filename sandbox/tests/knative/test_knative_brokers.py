"""Events through Brokers: filters, retries, dead letters, replies; and the sources."""

from __future__ import annotations

import json

import pytest
import requests
from support.sandbox import until

EVENTING, SERVING = "eventing.knative.dev/v1", "serving.knative.dev/v1"
SOURCES = "sources.knative.dev/v1"

pytestmark = pytest.mark.needs("kubectl")


def ref(name, kind="Service", api_version=SERVING):
    return {"ref": {"apiVersion": api_version, "kind": kind, "name": name}}


def obj(api_version, kind, name, namespace, **spec):
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def trigger(name, namespace, subscriber, **spec):
    return obj(
        EVENTING, "Trigger", name, namespace, broker="default", subscriber=ref(subscriber), **spec
    )


@pytest.fixture
def broker(cluster, namespace):
    cluster.apply(obj(EVENTING, "Broker", "default", namespace))
    cluster.wait("condition=Ready", "broker/default", namespace=namespace)
    return cluster.broker_ingress(namespace, "default")


def ids(cluster, name, namespace):
    return [event["headers"]["ce-id"] for event in cluster.events(name, namespace)]


def test_the_ingress_takes_valid_events_only(cluster, namespace, broker):
    good = {"ce-id": "1", "ce-source": "/t", "ce-type": "t", "ce-specversion": "1.0"}
    assert requests.post(broker, headers=good, timeout=60).status_code == 202
    for missing in good:
        rest = {name: value for name, value in good.items() if name != missing}
        assert requests.post(broker, headers=rest, timeout=60).status_code == 400
    structured = {"id": "2", "source": "/t", "type": "t", "specversion": "1.0", "data": {"a": 1}}
    kinds = {
        "application/cloudevents+json": (json.dumps(structured), 202),
        "application/cloudevents-batch+json": (json.dumps([structured]), 400),
        "application/json": ("{}", 400),
    }
    for kind, (body, status) in kinds.items():
        headers = {"Content-Type": kind}
        assert requests.post(broker, headers=headers, data=body, timeout=60).status_code == status
    nobody = broker.replace("/default", "/nobody")
    assert requests.post(nobody, headers=good, timeout=60).status_code == 404
    assert requests.get(broker, timeout=60).status_code == 405


def test_triggers_filter_and_the_body_stays_as_sent(cluster, namespace, broker):
    cluster.ksvc("posts", namespace)
    cluster.ksvc("rest", namespace)
    posts = {"type": "com.x.post"}
    cluster.apply(
        trigger("posts", namespace, "posts", filters=[{"exact": posts}]),
        trigger(
            "rest",
            namespace,
            "rest",
            filters=[{"exact": {"type": "other"}}, {"exact": {"lang": "de"}}],
        ),
    )  # fmt: skip
    cluster.wait("condition=Ready", "trigger/posts", "trigger/rest", namespace=namespace)
    cluster.send(broker, id="post")
    cluster.send(broker, kind="other", id="german", lang="de")
    cluster.send(broker, kind="other", id="english", lang="en")
    cluster.send(broker, kind="other", id="french", lang="fr")
    until(lambda: ids(cluster, "rest", namespace) == ["german"], "the one in German arrived")
    structured = {"id": "u", "source": "/t", "type": "com.x.post", "specversion": "1.0"}
    headers = {"Content-Type": "application/cloudevents+json"}
    body = json.dumps({**structured, "subject": "grüße 🎉 100%"}).encode()
    assert requests.post(broker, headers=headers, data=body, timeout=60).status_code == 202
    until(lambda: len(cluster.events("posts", namespace)) == 2, "the second one")
    raw = cluster.events("posts", namespace)[1]["headers"]["ce-subject"]
    assert raw.encode("latin-1", "surrogateescape").decode() == "grüße 🎉 100%"
    event = cluster.events("posts", namespace)[0]
    assert json.loads(event["body"]) == {"text": "grüße 🎉"}
    assert event["headers"]["ce-specversion"] == "1.0"
    assert event["headers"]["content-type"] == "application/json"
    assert "ce-knativebrokerttl" not in event["headers"]


def test_delivery_is_tried_again_until_the_subscriber_takes_it(cluster, namespace, broker):
    cluster.ksvc("shaky", namespace, FAIL_FIRST="3")
    delivery = {"retry": 5, "backoffPolicy": "linear", "backoffDelay": "PT0.1S"}
    cluster.apply(trigger("shaky", namespace, "shaky", delivery=delivery))
    cluster.wait("condition=Ready", "trigger/shaky", namespace=namespace)
    assert cluster.send(broker, id="one").status_code == 202
    until(lambda: ids(cluster, "shaky", namespace) == ["one"], "the event arrived once")


def test_a_subscriber_that_does_not_answer_in_time_is_asked_again(cluster, namespace, broker):
    cluster.ksvc("hanging", namespace, HANG_FIRST="2")
    delivery = {"retry": 5, "backoffPolicy": "linear", "backoffDelay": "PT0.1S"}
    cluster.apply(
        trigger("hanging", namespace, "hanging", delivery={**delivery, "timeout": "PT2S"})
    )
    cluster.wait("condition=Ready", "trigger/hanging", namespace=namespace)
    assert cluster.send(broker, id="one").status_code == 202
    # More than once where its answer, too, has come too late on a busy machine.
    until(lambda: set(ids(cluster, "hanging", namespace)) == {"one"}, "the third try arrived")


def test_what_cannot_be_delivered_goes_to_the_dead_letter_sink(cluster, namespace, broker):
    cluster.ksvc("grave", namespace)
    cluster.ksvc("refusing", namespace, STATUS="418")
    delivery = {"retry": 2, "backoffDelay": "PT0.1S", "deadLetterSink": ref("grave")}
    cluster.apply(trigger("refusing", namespace, "refusing", delivery=delivery))
    cluster.wait("condition=Ready", "trigger/refusing", namespace=namespace)
    status = cluster.get(EVENTING, "Trigger", "refusing", namespace)["status"]
    assert status["deadLetterSinkUri"] == f"http://grave.{namespace}.svc.cluster.local"
    cluster.send(broker, id="lost")
    event = until(lambda: cluster.events("grave", namespace), "the dead letter arrived")[0]
    assert event["headers"]["ce-id"] == "lost"
    assert event["headers"]["ce-knativeerrorcode"] == "418"
    assert event["headers"]["ce-knativeerrordest"].startswith("http://broker-filter.")
    assert event["headers"]["ce-knativeerrordata"] == "refused"


def test_a_reply_goes_back_into_the_broker(cluster, namespace, broker):
    cluster.ksvc("asked", namespace, REPLY_TYPE="answer")
    cluster.ksvc("answers", namespace)
    cluster.apply(
        trigger("asked", namespace, "asked", filter={"attributes": {"type": "question"}}),
        trigger("answers", namespace, "answers", filter={"attributes": {"type": "answer"}}),
    )
    cluster.wait("condition=Ready", "trigger/asked", "trigger/answers", namespace=namespace)
    cluster.send(broker, kind="question", id="42")
    until(lambda: ids(cluster, "answers", namespace) == ["re-42"], "the answer arrived")


def test_a_trigger_without_broker_and_one_without_subscriber_say_so(cluster, namespace):
    cluster.apply(trigger("lost", namespace, "nobody"))

    def ready():
        status = cluster.get(EVENTING, "Trigger", "lost", namespace).get("status") or {}
        return next((c for c in status.get("conditions", []) if c["type"] == "Ready"), None)

    assert until(ready, "a condition")["reason"] == "BrokerDoesNotExist"
    cluster.apply(obj(EVENTING, "Broker", "default", namespace))
    until(lambda: "Subscriber" in ready().get("reason", ""), "the subscriber is named")
    assert "nobody" in ready()["message"]


def test_the_webhook_refuses_a_wrong_delivery_and_filter(cluster, namespace):
    delivery, filters = {"retry": -1, "backoffDelay": "soon"}, [{"cesql": "TRUE"}]
    with pytest.raises(Exception, match="admission webhook") as refusal:
        cluster.apply(trigger("wrong", namespace, "nobody", delivery=delivery, filters=filters))
    assert "the sandbox does not model the dialect cesql: spec.filters[0]" in str(refusal.value)
    assert "invalid value: -1: spec.delivery.retry" in str(refusal.value)
    assert "invalid value: soon: spec.delivery.backoffDelay" in str(refusal.value)


def test_the_webhook_refuses_wrong_flags_and_an_edited_example(cluster):
    for data, why in (
        ({"authentication-oidc": "perhaps"}, "invalid feature flag value 'perhaps'"),
        ({"_example": "edited"}, "the update modifies a key in"),
    ):
        config = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "config-features",
                "namespace": "knative-eventing",
                "annotations": {"knative.dev/example-checksum": "00000000"},
            },
            "data": data,
        }
        with pytest.raises(Exception, match="admission webhook") as refusal:
            cluster.apply(config)
        assert why in str(refusal.value)


def test_a_container_source_runs_bound_to_its_sink(cluster, namespace):
    cluster.ksvc("sink", namespace)
    code = (
        "import os,time,urllib.request as u\n"
        "h={'ce-id':'c','ce-type':'t','ce-source':'/c','ce-specversion':'1.0'}\n"
        "u.urlopen(u.Request(os.environ['K_SINK'],b'x',h)).read()\n"
        "time.sleep(600)\n"
    )
    container = {"name": "source", "image": cluster.image, "command": ["python3", "-c", code]}
    template = {"spec": {"containers": [container]}}
    source = obj(SOURCES, "ContainerSource", "box", namespace, template=template, sink=ref("sink"))
    cluster.apply(source)
    until(lambda: ids(cluster, "sink", namespace) == ["c"], "the event arrived")
    cluster.wait("condition=Ready", "containersource/box", namespace=namespace)
    deployment = cluster.get("apps/v1", "Deployment", "box-deployment", namespace)
    assert deployment["metadata"]["generation"] <= 2

    def variables():
        deployment = cluster.get("apps/v1", "Deployment", "box-deployment", namespace)
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        return {entry["name"] for entry in container["env"]}

    container["env"] = [{"name": "A", "value": "1"}]
    cluster.apply(source)
    until(lambda: variables() == {"A", "K_SINK", "K_CE_OVERRIDES"}, "the variable beside the sink")
    container["env"] = [{"name": "B", "value": "1"}]
    cluster.apply(source)
    until(lambda: variables() == {"B", "K_SINK", "K_CE_OVERRIDES"}, "the other in its place")


@pytest.mark.parametrize(
    ("api_version", "kind", "spec"),
    [
        ("flows.knative.dev/v1", "Sequence", {"steps": [ref("nobody")]}),
        ("messaging.knative.dev/v1", "InMemoryChannel", {}),
    ],
)
def test_what_is_not_modelled_says_so(cluster, namespace, api_version, kind, spec):
    cluster.apply(obj(api_version, kind, "one", namespace, **spec))

    def ready():
        status = cluster.get(api_version, kind, "one", namespace).get("status")
        return (status or {}).get("conditions")

    assert until(ready, "a condition")[0]["reason"] == "NotModelled"
