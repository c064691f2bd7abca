"""The data model of pipelines: filling, what follows, and what contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._pipelines.model import (
    VIEWER,
    problems,
    resolve,
)

DEFAULTS = {
    "name": "twitter",
    "namespace": "streamops",
    "workload": "Deployment",
    "subject_by": "name",
    "delivery": "direct",
    "sink": {},
    "sink_ca_certs": "",
    "sink_audience": "",
    "broker": {},
    "topics": ["knative"],
    "triggers": [{"name": "viewer"}],
    "viewer": True,
    "source": "search",
    "jetstream_url": "wss://jetstream.example.com/subscribe",
    "mastodon_url": "https://mastodon.example.com",
    "feeds": ["https://example.com/feed.xml"],
}


def one(**overrides):
    (pipeline,) = resolve([overrides], DEFAULTS)
    return pipeline


def test_a_direct_pipeline_sends_to_the_viewer_of_its_namespace():
    pipeline = one(namespace="other")
    assert pipeline["sink"] == {
        "ref": {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "name": "event-viewer",
            "namespace": "other",
        }
    }
    assert pipeline["broker"] == {}


def test_a_broker_pipeline_sends_to_a_broker_of_its_name():
    pipeline = one(delivery="broker", name="cats", broker={"delivery": {"retry": 3}})
    assert pipeline["sink"]["ref"]["kind"] == "Broker"
    assert pipeline["sink"]["ref"]["name"] == "cats"
    assert pipeline["broker"] == {
        "name": "cats",
        "class": "MTChannelBasedBroker",
        "delivery": {"retry": 3},
    }


def test_a_broker_on_kafka_has_the_configuration_of_its_class():
    config = one(delivery="broker", broker={"class": "Kafka"})["broker"]["config"]
    assert (config["name"], config["namespace"]) == ("kafka-broker-config", "knative-eventing")
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "ours", "namespace": "streamops"}
    given = {"class": "Kafka", "config": other}
    assert one(delivery="broker", broker=given)["broker"]["config"] == other


def test_a_broker_on_rabbitmq_needs_a_configuration():
    broker = {"class": "RabbitMQBroker"}
    (said,) = problems({"twitter_pipeline_broker": broker})
    assert said.startswith("twitter_pipeline_broker.config: a RabbitMQBroker needs one")
    broker["config"] = {"kind": "RabbitmqBrokerConfig", "name": "rabbit", "namespace": "streamops"}
    assert problems({"twitter_pipeline_broker": broker}) == []


def test_extensions_are_strings_whatever_yaml_made_of_them():
    given = {"tenant": 7, "internal": True, "origin": "test"}
    assert one(extensions=given)["extensions"] == {
        "tenant": "7",
        "internal": "true",
        "origin": "test",
    }


def test_an_extension_without_a_string_form_is_refused():
    (said,) = problems({"twitter_pipeline_extensions": {"ratio": 0.5, "tenant": 7}})
    assert said.startswith("twitter_pipeline_extensions.ratio: 0.5 is not a valid value")


def test_a_sink_that_was_given_is_kept():
    assert one(sink={"uri": "http://a"})["sink"] == {"uri": "http://a"}


@pytest.mark.parametrize("workload", ["Deployment", "ContainerSource"])
def test_what_is_trusted_of_a_sink_goes_with_it(workload):
    trusted = one(workload=workload, sink_ca_certs="PEM", sink_audience="a", sink={"uri": "u"})
    assert trusted["sink"] == {"uri": "u", "CACerts": "PEM", "audience": "a"}


def test_entries_override_and_missing_keys_fall_back():
    pipelines = resolve([{"name": "a", "topics": None}, {"name": "b", "topics": ["x"]}], DEFAULTS)
    assert [(p["name"], p["topics"]) for p in pipelines] == [("a", ["knative"]), ("b", ["x"])]


@pytest.mark.parametrize(
    ("overrides", "viewed"),
    [
        ({}, True),
        ({"viewer": False}, False),
        ({"sink": {"uri": "http://a"}}, False),
        ({"delivery": "broker"}, True),
        ({"delivery": "broker", "triggers": [{"name": "a", "sink": {"uri": "http://a"}}]}, False),
        ({"delivery": "broker", "triggers": [{"name": "a", "filters": [{"exact": {}}]}]}, False),
    ],
)
def test_whether_a_probe_reaches_the_viewer(overrides, viewed):
    assert one(**overrides)["viewed"] is viewed


@pytest.mark.parametrize(
    ("workload", "subject"),
    [
        ("Deployment", {"apiVersion": "apps/v1", "kind": "Deployment", "name": "twitter"}),
        (
            "KnativeService",
            {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "twitter"},
        ),
        ("Job", {"apiVersion": "batch/v1", "kind": "Job", "name": "twitter"}),
        ("ContainerSource", None),
    ],
)
def test_subject_by_name(workload, subject):
    assert one(workload=workload)["subject"] == subject


@pytest.mark.parametrize(
    "overrides", [{"subject_by": "selector", "workload": "Job"}, {"workload": "CronJob"}]
)
def test_jobs_of_a_cron_job_can_only_be_selected(overrides):
    pipeline = one(**overrides)
    assert pipeline["subject"] == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "selector": {"matchLabels": pipeline["labels"]},
    }
    assert pipeline["once"]


@pytest.mark.parametrize(
    ("source", "needs_keys", "reads"),
    [
        ("search", True, []),
        ("stream", True, []),
        ("jetstream", False, ["wss://jetstream.example.com/subscribe"]),
        ("mastodon", False, ["https://mastodon.example.com"]),
        ("feed", False, ["https://example.com/feed.xml"]),
    ],
)
def test_only_x_needs_keys(source, needs_keys, reads):
    pipeline = one(source=source)
    assert (pipeline["needs_keys"], pipeline["reads"]) == (needs_keys, reads)


def test_nothing_is_wrong_with_no_variables():
    assert problems({}) == []


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"topics": ["x" * 600]}, "twitter_pipeline_topics: 600 characters"),
        ({"query": "x" * 513}, "twitter_pipeline_query: 513 characters"),
        (
            {"topics": [f"topic{number}" for number in range(60)]},
            "twitter_pipeline_topics, with languages, excludes and authors: 646 characters",
        ),
        ({"registry": ""}, "twitter_pipeline_registry is empty"),
        (
            {"images_engine": "none", "images": {"viewer": "a"}},
            "twitter_pipeline_images: name the image of producer",
        ),
        ({"credentials": "secret_manager", "project": ""}, "twitter_pipeline_project"),
        ({"topics": ["a,b"]}, "twitter_pipeline_topics: 'a,b' has a comma"),
        ({"topics": []}, "twitter_pipeline_topics: name at least one"),
        ({"name": "Twitter"}, "twitter_pipeline_name: 'Twitter' is not a DNS label"),
        ({"namespace": "-x"}, "twitter_pipeline_namespace: '-x' is not a DNS label"),
        ({"name": "x" * 41}, "is not a DNS label of at most 40"),
        ({"interval": 0}, "twitter_pipeline_interval: 0"),
        ({"delivery": "broker", "sink": {"uri": "http://a"}}, "twitter_pipeline_sink: a broker"),
        (
            {"dead_letter": {"uri": "http://a"}},
            "twitter_pipeline_dead_letter: a SinkBinding has no",
        ),
        (
            {"workload": "ContainerSource", "subject_by": "selector"},
            "twitter_pipeline_subject_by: a ContainerSource binds itself",
        ),
        ({"workload": "Job", "source": "stream"}, "twitter_pipeline_source: a Job reads once"),
        (
            {"workload": "Job", "source": "jetstream", "topics": ["a"]},
            "twitter_pipeline_source: a Job reads once",
        ),
        (
            {"source": "jetstream", "topics": [], "languages": []},
            "twitter_pipeline_topics: without topics, languages and authors every post is read",
        ),
        (
            {"source": "jetstream", "topics": ["a"], "query": "a lang:en"},
            "twitter_pipeline_query: it is in X's language",
        ),
        (
            {"topics": ["a"], "authors": [f"account{number}" for number in range(60)]},
            "languages, excludes and authors: 1",
        ),
        ({"authors": ["not one"]}, "twitter_pipeline_authors: 'not one' is not an account such as"),
        (
            {"source": "jetstream", "authors": ["ada"]},
            "twitter_pipeline_authors: 'ada' is not an account such as did:plc:abc123",
        ),
        (
            {"query": "knative", "authors": ["ada"]},
            "twitter_pipeline_authors: twitter_pipeline_query stands alone",
        ),
        ({"source": "mastodon", "topics": []}, "twitter_pipeline_topics: name at least one"),
        (
            {"source": "mastodon", "topics": ["two words"]},
            "twitter_pipeline_topics: 'two words' is not a hashtag",
        ),
        ({"source": "feed", "feeds": []}, "twitter_pipeline_feeds: name the URL"),
        (
            {"source": "feed", "feeds": ["https://example.com/a,b.xml"]},
            "twitter_pipeline_feeds: 'https://example.com/a,b.xml' has a comma",
        ),
        (
            {"source": "feed", "feeds": [f"https://example.com/{n}.xml" for n in range(501)]},
            "twitter_pipeline_feeds: 501 are more than the 500",
        ),
        (
            {"source": "jetstream", "topics": ["a"], "excludes": ["has:links"]},
            "twitter_pipeline_excludes: 'has:links' is an operator of X's",
        ),
        (
            {"pipelines": [{}, {"name": "a"}, {"name": "a"}]},
            "2 pipelines are called a in namespace streamops",
        ),
        (
            {"pipelines": [{"name": "a"}, {"name": "b", "topics": ["x" * 600]}]},
            "twitter_pipeline_pipelines[1].topics: 600 characters",
        ),
    ],
)
def test_each_contradiction_names_its_variable(variables, said):
    found = problems({f"twitter_pipeline_{name}": value for name, value in variables.items()})
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(
    "given",
    [
        {"source": "jetstream", "topics": ["x" * 600, "re:invent"]},
        {"source": "jetstream", "topics": [], "languages": [], "authors": ["did:plc:abc123"]},
        {"source": "search", "topics": [], "authors": ["@ada", "knativeproject"]},
        {"source": "mastodon", "topics": ["knative"], "authors": ["ada@example.social"]},
        {"source": "feed", "topics": [], "feeds": [], "environment": {"FEEDS_FILE": "/feeds/urls"}},
        {
            "source": "mastodon",
            "topics": ["knative"],
            "project": "",
            "credentials": "secret_manager",
        },
    ],
)
def test_what_a_source_can_do_is_taken(given):
    assert problems({f"twitter_pipeline_{name}": value for name, value in given.items()}) == []


def test_project_is_needed_as_soon_as_one_pipeline_reads_x():
    without = {"twitter_pipeline_credentials": "secret_manager", "twitter_pipeline_project": ""}
    feed = {"name": "b", "source": "feed", "feeds": ["https://example.com/a.xml"]}
    assert problems({**without, "twitter_pipeline_pipelines": [feed]}) == []
    (said,) = problems({**without, "twitter_pipeline_pipelines": [feed, {"name": "a"}]})
    assert said.startswith("twitter_pipeline_project (or gcp_cluster_project) is empty")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "http://twitter-status.streamops.svc.cluster.local/status"),
        (
            {"workload": "KnativeService"},
            "http://twitter-status.streamops.svc.cluster.local/status",
        ),
        ({"workload": "CronJob"}, None),
        ({"viewer": False}, None),
    ],
)
def test_viewer_asks_producers_that_go_on(given, url):
    assert one(**given)["status"].get("url") == url


def test_a_longer_query_is_fine_where_the_producer_was_told_so():
    given = {"twitter_pipeline_topics": ["x" * 600]}
    raised = given | {"twitter_pipeline_environment": {"QUERY_MAX_LENGTH": 1024}}
    assert len(problems(given)) == 1
    assert problems(raised) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pod": {"env": [{"name": "A"}]}}, "pod.env[0]: A needs one of value and valueFrom"),
        ({"pod": {"volumes": [{"name": "a"}]}}, "pod.volumes[0]: a volume has one source"),
        (
            {"pod": {"volumes": [{"name": "tmp", "secret": {}}]}},
            "pod.volumes[0].name: the role has a volume 'tmp'",
        ),
        (
            {"pod": {"volumeMounts": [{"name": "a", "mountPath": "/a"}]}},
            "pod.volumeMounts[0].name: there is no volume 'a'",
        ),
        ({"replicas": 2, "workload": "Job"}, "replicas: a Job has one pod that reads"),
        ({"viewer_replicas": 2}, "viewer_replicas: several viewers need a store"),
        (
            {"viewer_pod": {"volumes": [{"name": "data", "secret": {}}]}},
            "viewer_pod.volumes[0].name: the role has a volume 'data'",
        ),
    ],
)
def test_what_pods_cannot_have_is_named(given: dict[str, Any], said: str) -> None:
    (found,) = problems({f"twitter_pipeline_{key}": value for key, value in given.items()})
    assert found.startswith(f"twitter_pipeline_{said}")


def test_several_viewers_may_share_a_store() -> None:
    redis = {"STORE": "redis://redis:6379/0"}
    given = {"twitter_pipeline_viewer_replicas": 2}
    assert problems(given | {"twitter_pipeline_viewer_environment": redis}) == []
    secret = {"secretKeyRef": {"name": "redis", "key": "url"}}
    pod = {"env": [{"name": "STORE", "valueFrom": secret}]}
    assert problems(given | {"twitter_pipeline_viewer_pod": pod}) == []


def test_what_is_missing_does_not_matter_for_a_removal():
    removal = {"twitter_pipeline_registry": "", "twitter_pipeline_state": "absent"}
    assert problems({**removal, "twitter_pipeline_delete_history": True}) == []
    (said,) = problems(removal)
    assert said.startswith("twitter_pipeline_delete_history: absent deletes the checkpoints")


def test_one_name_in_two_namespaces_is_no_contradiction():
    pipelines = [{"name": "a", "namespace": "x"}, {"name": "a", "namespace": "y"}]
    assert problems({"twitter_pipeline_pipelines": pipelines}) == []


def test_all_problems_are_told_at_once():
    found = problems({"twitter_pipeline_name": "A", "twitter_pipeline_interval": -1})
    assert len(found) == 2


TOKEN = "0123456789abcdef"


def exposure(**variables):
    given = {f"twitter_pipeline_{name}": value for name, value in variables.items()}
    return problems({"twitter_pipeline_gateway": "load_balancer", **given})


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"viewer_exposure": "token", "viewer_read_token": TOKEN},
            "twitter_pipeline_viewer_exposure: token needs twitter_pipeline_viewer_write_token",
        ),
        (
            {
                "viewer_exposure": "proxy",
                "viewer_write_token": TOKEN,
                "viewer_proxy_token": TOKEN,
            },
            "twitter_pipeline_viewer_exposure: proxy needs USER_HEADER in",
        ),
        (
            {"viewer_exposure": "proxy", "viewer_environment": {"USER_HEADER": "X-User"}},
            "twitter_pipeline_viewer_exposure: proxy needs twitter_pipeline_viewer_write_token and"
            " twitter_pipeline_viewer_proxy_token",
        ),
        (
            {"viewer_environment": {"TRUSTED_PROXIES": "10.0.0.0/8"}},
            "twitter_pipeline_viewer_environment: TRUSTED_PROXIES cannot work in a Knative Service",
        ),
        (
            {"viewer_exposure": "open"},
            "twitter_pipeline_viewer_exposure: open lets everybody who reaches the load balancer",
        ),
        (
            {"viewer_read_token": "short"},
            "twitter_pipeline_viewer_read_token: a token has at least 16 printable",
        ),
        (
            {"viewer_read_token": f"{TOKEN}\n"},
            "twitter_pipeline_viewer_read_token: a token has at least 16 printable",
        ),
        (
            {"viewer_read_token": TOKEN, "viewer_environment": {"READ_TOKEN_FILE": "/a"}},
            "twitter_pipeline_viewer_environment: READ_TOKEN is set by",
        ),
        (
            {"viewer_write_token": TOKEN, "delivery": "broker", "network_policy": False},
            "twitter_pipeline_triggers[0]: a Trigger cannot send the viewer its",
        ),
        (
            {
                "viewer_write_token": TOKEN,
                "delivery": "broker",
                "triggers": [{"name": "all", "sink": {"ref": VIEWER}}],
            },
            "twitter_pipeline_triggers[0].sink: a Trigger cannot send the viewer its",
        ),
    ],
)
def test_a_viewer_is_exposed_only_with_what_protects_it(variables, said):
    (problem,) = exposure(**variables)
    assert problem.startswith(said)


@pytest.mark.parametrize(
    "variables",
    [
        {"viewer_exposure": "cluster"},
        {"viewer_exposure": "open", "gateway": "node_port"},
        {"viewer_exposure": "token", "viewer_read_token": TOKEN, "viewer_write_token": TOKEN},
        {"viewer_write_token": TOKEN, "delivery": "broker"},
        {
            "viewer_exposure": "proxy",
            "viewer_write_token": TOKEN,
            "viewer_proxy_token": TOKEN,
            "viewer_environment": {"USER_HEADER": "X-User"},
        },
    ],
)
def test_a_protected_or_unexposed_viewer_is_accepted(variables):
    assert exposure(**variables) == []


def test_only_a_producer_that_sends_to_the_viewer_itself_gets_its_token():
    viewer = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "event-viewer"}
    assert one()["to_viewer"]
    assert one(sink={"ref": viewer})["to_viewer"]
    assert not one(sink={"ref": {**viewer, "namespace": "other"}})["to_viewer"]
    assert not one(sink={"uri": "http://a"})["to_viewer"]
    assert not one(delivery="broker")["to_viewer"]


def test_a_trigger_without_a_sink_delivers_to_the_viewer():
    assert one(delivery="broker")["triggers_viewer"]
    assert not one(delivery="broker", triggers=[{"name": "a", "sink": {"uri": "http://a"}}])[
        "triggers_viewer"
    ]
    assert not one()["triggers_viewer"]
