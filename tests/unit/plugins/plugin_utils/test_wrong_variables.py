"""Wrong values of every variable: each is refused by name and value, with what to write instead.

The cases are generated from the roles' argument specifications, and from a list of what people really write.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.streamops.knative.plugins.plugin_utils import _role_reader
from ansible_collections.streamops.knative.plugins.plugin_utils._role_reader import RoleReader

ROLES = Path(_role_reader.__file__).parents[2] / "roles"
OPTIONS = {
    role: yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())["argument_specs"][
        "main"
    ]["options"]
    for role in ("event_driven", "gcp_cluster", "knative_eventing", "secrets", "twitter_pipeline")
}
RIGHT = {
    "omit": "__omit_place_holder__",
    "kubeconfig": "~/.kube/config",
    "gcp_cluster_name": "streamops",
    "gcp_cluster_project": "my-project",
    "gcp_cluster_location": "europe-west1",
    "secrets_x_api_key": "a-key",
    "secrets_x_api_secret": "a-secret",
    "secrets_x_access_key": "another-key",
    "secrets_x_access_secret": "another-secret",
    "twitter_pipeline_registry": "registry.example.com/streamops",
    "twitter_pipeline_images_apps": str(ROLES.parent / "apps"),
    "event_driven_rulebook": "streamops.knative.posts",
}

#: For each type, values of other types.
WRONG = {
    "str": [None, 7, 1.5, True, ["a"], {"a": "b"}],
    "path": [None, 7, True, ["a"], {"a": "b"}],
    "raw": [None, 7, True, ["a"]],
    "bool": [None, "maybe", 7, ["true"], {"a": "b"}],
    "int": [None, "soon", "1.5", 1.5, True, [1], {"a": 1}],
    "float": [None, "cheap", "1.2.3", float("nan"), True, [1.0], {"a": 1}],
    "list": [None, "knative", "a,b", 7, True, {"a": "b"}],
    "dict": [None, "knative", 7, True, ["a"]],
}
GENERATED = [
    (role, name, value)
    for role, options in OPTIONS.items()
    for name, spec in options.items()
    for value in WRONG[spec["type"]]
]
GENERATED += [
    (role, name, "Nonsense")
    for role, options in OPTIONS.items()
    for name, spec in options.items()
    if "choices" in spec and spec["type"] == "str"
]
GENERATED += [
    (role, name, [value])
    for role, options in OPTIONS.items()
    for name, spec in options.items()
    if spec["type"] == "list" and spec.get("elements") in ("str", "dict")
    for value in WRONG[spec["elements"]]
]
GENERATED += [
    (role, name, [{"nonsense": 1}] if spec["type"] == "list" else {"nonsense": 1})
    for role, options in OPTIONS.items()
    for name, spec in options.items()
    if "options" in spec
]

#: What people write, by variable.
WRITTEN = {
    "event_driven_name": ["Rules", "a_b", "", "a" * 41],
    "event_driven_namespace": ["Stream Ops", "", "default", "knative-eventing"],
    "event_driven_rulebook": ["", "posts", "streamops.knative.post", "rules/posts.yml"],
    "event_driven_broker": ["Twitter", "a b"],
    "event_driven_filters": [{"exact": {"type": "a"}}, [{"exactly": {"type": "a"}}]],
    "event_driven_delivery": [{"retry": "often"}, {"backoffDelay": "1s"}, {"retries": 3}],
    "event_driven_dead_letter": [{"uri": "a"}, {"ref": {"kind": "Service", "name": "a"}}],
    "event_driven_secrets": ["ssh-key", ["SSH Key"]],
    "event_driven_rules": [[{"resources": ["pods"], "verbs": ["get"]}]],
    "event_driven_project": ["/nonexistent/rules"],
    "event_driven_image": ["rules:1.0 beta", "https://a/b"],
    "event_driven_registry": ["https://registry.example.com/a", ""],
    "event_driven_images_base": ["python:3.13 slim"],
    "event_driven_images_python_version": ["three"],
    "event_driven_resources": [{"requests": {"cpu": "lots"}}],
    "event_driven_pod": [{"env": [{"name": "a b", "value": "c"}]}, {"hostNetwork": True}],
    "event_driven_timeout": [0, "5m"],
    "gcp_cluster_name": ["Streamops", "-a", "a" * 41, "a_b"],
    "gcp_cluster_project": ["My Project", "p"],
    "gcp_cluster_location": ["Europe", "europe_west1", "europe-west1-d-x"],
    "gcp_cluster_endpoint": ["container.googleapis.com", "ftp://a", "https://", "https://a b"],
    "gcp_cluster_service_account_file": ["/nonexistent/key.json"],
    "gcp_cluster_service_account_email": ["ada"],
    "gcp_cluster_authorized_networks": [[{"cidr": "203.0.113.0"}], [{"cidr": "any"}], [{}]],
    "gcp_cluster_labels": [{"team": 7}, {"team": None}],
    "gcp_cluster_maintenance_window": [
        {"start": "2026-01-01", "end": "x", "recurrence": "FREQ=WEEKLY"},
        {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T04:00:00Z", "recurrence": "weekly"},
    ],
    "gcp_cluster_services": [["container"], ["https://container.googleapis.com"]],
    "gcp_cluster_repository": ["Streamops", "a/b", "https://a"],
    "gcp_cluster_repository_readers": [["ada@example.com"], ["user:ada"]],
    "gcp_cluster_workload_service_account": ["workloads", "a@b"],
    "gcp_cluster_workload_identities": [[{"namespace": "A", "service_account": "b"}], [{}]],
    "gcp_cluster_admins": [["a"], [""], ["ada@example.com, bob@example.com"], ["group:"]],
    "gcp_cluster_wait_timeout": [0, -1, "5m"],
    "knative_eventing_components": [
        *(["serveing"], ["kourier"], ["hpa"], []),
        *(["eventing", "kafka-broker"], ["rabbitmq-broker"]),
        ["serving", "kourier", "net-istio"],
    ],
    "knative_eventing_version": ["v1.22.2", "1.22", "latest", "knative-v1.22.2", "1.22.2 "],
    "knative_eventing_serving_version": ["v1.23.0", ""],
    "knative_eventing_kourier_version": ["1.23.x"],
    "knative_eventing_net_gateway_api_version": ["v1.23.0"],
    "knative_eventing_net_istio_version": ["latest"],
    "knative_eventing_kafka_broker_version": ["1.23"],
    "knative_eventing_rabbitmq_broker_version": ["2"],
    "knative_eventing_kafka": [
        {"server": "a"},
        {"bootstrap_servers": ["kafka.messaging"]},
        {"bootstrap_servers": ["a.kafka:9092,b.kafka:9092"]},
        {"auth_secret": "My Secret"},
        {"topic_partitions": 0},
        {"topic_replication_factor": "three"},
    ],
    "knative_eventing_verify_signers": [
        [{"images": "a.example.com/*"}],
        [{"images": "a.example.com/*", "identity": "b"}],
        [{"images": "a.example.com/*", "identity": "b", "issuer": "c", "unsigned": True}],
    ],
    "knative_eventing_broker_class": ["Kafka", "RabbitMQBroker"],
    "knative_eventing_mirror": ["github.com", "/srv/mirror", "file:///srv"],
    "knative_eventing_folder": ["/nonexistent/releases"],
    "knative_eventing_bundle": ["/nonexistent/knative.tar"],
    "knative_eventing_bundle_registry": ["https://registry.example.com", "Registry/Path"],
    "knative_eventing_bundle_login": [{"user": "a"}, {"docker_config": "/nonexistent"}],
    "knative_eventing_bundle_platforms": [["amd64"]],
    "knative_eventing_bundle_images": [["Not An Image"]],
    "knative_eventing_bundle_timeout": [0],
    "knative_eventing_checksums": [
        {"serving-core.yaml": f"sha256:{'0' * 64}"},
        {"serving-1.23.0/serving-core.yaml": "0" * 64},
        {"serving-1.23.0/serving-core.yaml": 7},
    ],
    "knative_eventing_domain": ["http://example.com", "example.com/path", "a b"],
    "knative_eventing_gateway": ["loadbalancer", "NodePort"],
    "knative_eventing_gateway_address": ["http://192.0.2.1", "192.0.2.1:80"],
    "knative_eventing_gateway_port": [-1, 65536, "http"],
    "knative_eventing_gateway_node_port": [-1, 70000],
    "knative_eventing_gateway_service_type": ["loadbalancer"],
    "knative_eventing_gateway_annotations": [{"a": True}],
    "knative_eventing_config": [
        {"servign": {}},
        {"serving": {"config-feature": {"a": "b"}}},
        {"serving": {"config-features": {"a": None}}},
        {"serving": {"config-features": {"a": ["b"]}}},
        {"serving": {"config-features": "a"}},
        {"serving": {"config-features": {"_example": "a"}}},
        {"serving": {"config-istio": {"external-gateways": "[]"}}},
        {"eventing": {"config-kafka-features": {"a": "b"}}},
    ],
    "knative_eventing_observability": [{"metrics-protocol": ["http"]}],
    "knative_eventing_workloads": [
        [{"name": "activater"}],
        [{"name": "activator", "replicas": -1}],
        [{"name": "activator", "replica": 2}],
        [{"replicas": 2}],
        [{"name": "activator", "resources": [{"containers": "a"}]}],
        [{"name": "all", "labels": {"team": 7}}],
        [{"name": "all", "livenessProbes": [{"httpGet": {}}]}],
        [{"name": "activator", "resources": [{"container": "a", "requests": {"cpu": "much"}}]}],
    ],
    "knative_eventing_services": [[{"labels": {"a": "b"}}], [{"name": "x", "labels": {"a": 1}}]],
    "knative_eventing_pod_disruption_budgets": [
        [{"name": "all", "minAvailable": "most"}],
        [{"name": "all", "maxUnavailable": -1}],
        [{"minAvailable": 1}],
    ],
    "knative_eventing_namespace_metadata": [{"label": {}}, {"labels": {"a": True}}],
    "knative_eventing_additional_manifests": [["/nonexistent/objects.yaml"], ["http://"]],
    "knative_eventing_custom_certs": [{"type": "File", "name": "a"}, {"type": "Secret"}],
    "knative_eventing_selection_mode": ["include"],
    "knative_eventing_registry": ["https://registry.example.com"],
    "knative_eventing_images": [{"serving/cmd/queue": "a b"}],
    "knative_eventing_image_pull_secrets": [["My Secret"]],
    "knative_eventing_timeout": [0, -5, "5m"],
    "secrets_consumers": [
        [],
        "streamops",
        [{"namespace": "streamops"}],
        [{"namespace": "Stream Ops", "service_account": "a"}],
        [{"namespace": "a", "serviceaccount": "b"}],
    ],
    "secrets_names": [
        {"api_key": "a", "api_secret": "a", "access_key": "b", "access_secret": "c"},
        {"api_key": "a b", "api_secret": "b", "access_key": "c", "access_secret": "d"},
        {"api_key": "a"},
        {"bearer_token": "a", "api_key": "b"},
        {"bearer_token": "a b"},
    ],
    "secrets_project": ["My Project"],
    "secrets_keep_versions": [0],
    "secrets_grace_period": [-1],
    "secrets_kubernetes_name": ["Twitter_Credentials", ""],
    "secrets_google_service_account": ["producer"],
    "secrets_backend": ["Kubernetes", "vault"],
    "twitter_pipeline_name": ["Twitter", "a_b", "", "a" * 41, "-a"],
    "twitter_pipeline_namespace": ["Stream Ops", "", "a.b", "kube-system", "default"],
    "twitter_pipeline_workload": ["deployment", "Cronjob"],
    "twitter_pipeline_schedule": ["hourly", "* * * *", "60 * * * *", "*/0 * * * *", "* * * * mun"],
    "twitter_pipeline_topics": ["knative", [], [""], ["a,b"], ["x" * 600], [["a"]], ["a\nb"]],
    "twitter_pipeline_languages": ["en", ["english"], ["EN"]],
    "twitter_pipeline_excludes": ["retweets", [""]],
    "twitter_pipeline_authors": ["ada", [""], ["a,b"], ["two words"]],
    "twitter_pipeline_query": ["x" * 600, "a\nb"],
    "twitter_pipeline_interval": [0, -1, "30s"],
    "twitter_pipeline_budget_posts": [-1, "many"],
    "twitter_pipeline_budget_price": [-0.1, "0,005"],
    "twitter_pipeline_sink": [
        {"url": "http://a"},
        {"uri": "a.b.svc"},
        {"uri": "http://"},
        {"ref": {"kind": "Service", "name": "a"}},
        {"ref": {"apiVersion": "v1", "kind": "service", "name": "a"}},
        {"ref": {"apiVersion": "v1", "kind": "Service", "name": "A_b"}},
        {"ref": "viewer"},
    ],
    "twitter_pipeline_sink_ca_certs": ["/etc/ca.pem", "-----BEGIN CERTIFICATE-----"],
    "twitter_pipeline_extensions": [{"my-ext": "a"}, {"a": 7}, {"id": "a"}, {"Upper": "a"}],
    "twitter_pipeline_broker": [
        {"klass": "Kafka"},
        {"name": "A"},
        {"config": {"name": "a"}},
        {"delivery": {"retry": "often"}},
        {"delivery": {"backoffDelay": "0.2s"}},
        {"delivery": {"backoffPolicy": "exponentially"}},
        {"delivery": {"deadletterSink": {"uri": "http://a"}}},
    ],
    "twitter_pipeline_triggers": [
        [{}],
        [{"name": "a", "filter": {"type": "a"}}],
        [{"name": "a", "filters": {"exact": {"type": "a"}}}],
        [{"name": "a", "filters": [{"exactly": {"type": "a"}}]}],
        [{"name": "a", "filters": [{"exact": {"type": 7}}]}],
        [{"name": "a", "filters": [{"exact": {}}]}],
        [{"name": "a", "filters": [{"cesql": ""}]}],
        [{"name": "a", "filters": [{"any": [{"exact": "a"}]}]}],
        [{"name": "A"}],
        [{"name": "a", "sink": {"uri": "nowhere"}}],
        [{"name": "a", "delivery": {"timeout": "5s"}}],
    ],
    "twitter_pipeline_dead_letter": [{"ur": "http://a"}, {"uri": "a"}],
    "twitter_pipeline_resources": [
        {"request": {"cpu": "1"}},
        {"requests": {"cpu": "lots"}},
        {"limits": {"memory": "128MiB"}},
    ],
    "twitter_pipeline_environment": [{"MY-VAR": "a"}, {"A": None}, {"A": ["b"]}],
    "twitter_pipeline_pipelines": [
        "x",
        ["x"],
        [{"name": "a"}, {"name": "a"}],
        [{"topcs": ["a"]}],
        [{"topics": "knative"}],
        [{"sink": {"url": "http://a"}}],
        [{"interval": "30s"}],
    ],
    "twitter_pipeline_x_api_url": ["api.twitter.com", ""],
    "twitter_pipeline_secret_names": [{"api_key": "a"}, {"apikey": "a"}],
    "twitter_pipeline_service_account": ["Twitter Producer"],
    "twitter_pipeline_network_policy_from": ["monitoring", ["Monitoring"]],
    "twitter_pipeline_viewer_environment": [{"READ TOKEN": "a"}],
    "twitter_pipeline_viewer_exposure": ["internet", "token", "proxy"],
    "twitter_pipeline_registry": [
        "https://registry.example.com/a",
        "Registry/Streamops",
        "registry.example.com/a/",
        "registry.example.com/a:latest",
        "",
    ],
    "twitter_pipeline_images_base": ["python:3.13 slim", "https://a/b", "python@sha256:12"],
    "twitter_pipeline_images_apps": ["/nonexistent/apps"],
    "twitter_pipeline_images_tags": [["1.0 beta"], [""], "latest"],
    "twitter_pipeline_images_platforms": [["linux-arm64"], ["arm64"]],
    "twitter_pipeline_images_docker_config": ["/nonexistent/config.json"],
    "twitter_pipeline_timeout": [0, "5m"],
}
CASES = GENERATED + [
    (next(role for role in OPTIONS if name.startswith(f"{role}_")), name, value)
    for name, values in WRITTEN.items()
    for value in values
]
#: Why a value may be the empty text: the variable is then not used.
ACCEPTED: set[str] = set()


def read(role, **variables):
    loader = DataLoader()
    given = {**RIGHT, **variables}
    return RoleReader(Templar(loader, variables=given), loader, given).read(role)


def test_there_are_enough_cases():
    assert len(CASES) >= 300


@pytest.mark.parametrize("role", OPTIONS)
def test_the_right_variables_are_accepted(role):
    assert read(role).problems == []


# A test for each role, not for each value: ansible-test forks a process for every test.
@pytest.mark.parametrize("role", OPTIONS)
def test_wrong_values_are_refused_with_their_name_and_a_remedy(role):
    faults = [
        f"{name}={value!r}: {fault}"
        for of, name, value in CASES
        if of == role and (fault := fault_of_refusal(role, name, value))
    ]
    assert faults == []


def fault_of_refusal(role, name, value):
    """What is wrong with the refusal of a wrong value; empty where nothing is."""
    said = [text for text in read(role, **{name: value}).problems if text.startswith(name)]
    if not said:
        return "accepted"
    if len(said[0].removeprefix(name)) <= 15:
        return f"no remedy: {said[0]}"
    if isinstance(value, str) and value and not OPTIONS[role][name].get("no_log"):
        shown = value.encode("unicode_escape").decode()[:30]
        if shown not in said[0] and len(value) <= 500:
            return f"the value is not shown: {said[0]}"
    return ""


SECRETS = [
    (role, name) for role in OPTIONS for name, spec in OPTIONS[role].items() if spec.get("no_log")
]


@pytest.mark.parametrize(("role", "name"), SECRETS)
def test_a_secret_is_never_shown(role, name):
    for value in (["hidden-value"], {"hidden-value": "hidden-value"}):
        assert "hidden-value" not in str(read(role, **{name: value}).problems)
    reading = read(role, **{name: "hidden-value-0123456789"})
    assert "hidden-value" not in str(reading.published)


@pytest.mark.parametrize(
    "given",
    [
        {"knative_eventing_gateway_node_port": 31080},
        {"knative_eventing_gateway_service_type": "NodePort"},
        {"knative_eventing_gateway_annotations": {"a": "b"}},
    ],
)
def test_settings_of_kourier_s_service_are_refused_with_another_ingress(given):
    assert read("knative_eventing", **given).problems == []
    components = {"knative_eventing_components": ["serving", "net-istio"]}
    (said,) = read("knative_eventing", **components, **given).problems
    (name,) = given
    assert said.startswith(f"{name}: a setting of Kourier's Service; net-istio routes by a gateway")


WITHOUT_KEYS = {
    f"secrets_x_{name}": "" for name in ("api_key", "api_secret", "access_key", "access_secret")
}
FEED = {"name": "blogs", "source": "feed", "namespace": "b"}


@pytest.mark.parametrize(
    "pipelines",
    [
        {"twitter_pipeline_source": "jetstream"},
        {"twitter_pipeline_pipelines": [FEED]},
        {"twitter_pipeline_source": "mastodon", "twitter_pipeline_pipelines": [{}, FEED]},
    ],
)
@pytest.mark.parametrize("backend", ["secret_manager", "kubernetes"])
def test_no_credentials_are_needed_where_no_pipeline_reads_x(pipelines, backend):
    reading = read("secrets", **WITHOUT_KEYS, **pipelines, secrets_backend=backend)
    assert reading.problems == []
    assert reading.published["consumers"] == []


@pytest.mark.parametrize(
    ("given", "spaces"),
    [
        ({"twitter_pipeline_pipelines": [{}, FEED]}, ["streamops"]),
        (
            {
                "twitter_pipeline_source": "jetstream",
                "twitter_pipeline_pipelines": [
                    {},
                    FEED,
                    {"name": "x", "source": "stream", "namespace": "c"},
                ],
            },
            ["c"],
        ),
        # What is removed may be of pipelines that read X before.
        ({"twitter_pipeline_source": "feed", "secrets_state": "absent"}, ["streamops"]),
    ],
)
def test_only_producers_that_read_x_get_the_credentials(given, spaces):
    reading = read("secrets", **given)
    assert reading.problems == []
    assert [one["namespace"] for one in reading.published["consumers"]] == spaces


def test_credentials_are_needed_as_soon_as_one_pipeline_reads_x():
    found = read("secrets", **WITHOUT_KEYS, twitter_pipeline_pipelines=[FEED, {}]).problems
    assert [text.partition(" ")[0] for text in found] == list(WITHOUT_KEYS)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("twitter_pipeline_viewer", "false", False),
        ("twitter_pipeline_verify", "no", False),
        ("twitter_pipeline_network_policy", "0", False),
        ("twitter_pipeline_interval", "45", 45),
        ("twitter_pipeline_budget_price", "0.01", 0.01),
        ("secrets_external", "true", True),
        ("knative_eventing_adopt", "True", True),
        ("gcp_cluster_deletion_protection", "off", False),
    ],
)
def test_a_text_from_the_command_line_is_used_as_what_it_means(name, text, value):
    role = next(role for role in OPTIONS if name.startswith(f"{role}_"))
    used = read(role, **{name: text}).published[name.removeprefix(f"{role}_")]
    assert used == value
    assert type(used) is type(value)


@pytest.mark.parametrize(
    ("role", "name", "meant"),
    [
        ("twitter_pipeline", "twitter_pipeline_topcs", "twitter_pipeline_topics"),
        ("twitter_pipeline", "twiter_pipeline_topics", "twitter_pipeline_topics"),
        ("knative_eventing", "knative_eventng_version", "knative_eventing_version"),
        ("gcp_cluster", "gcp_clusters_name", "gcp_cluster_name"),
        ("secrets", "secret_x_api_key", "secrets_x_api_key"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_one_that_was_meant(role, name, meant):
    (said,) = read(role, **{name: "a"}).problems
    assert said.startswith(f"{name}: ")
    assert said.endswith(f"did you mean {meant}?")


@pytest.mark.parametrize(
    "name", ["secrets_path_of_mine", "pipeline_name", "cluster_name", "target"]
)
def test_variables_of_others_do_not_matter(name):
    for role in OPTIONS:
        assert read(role, **{name: "a"}).problems == []


def template(text):
    return _role_reader.trust_as_template(text)


def test_what_several_variables_are_made_of_is_looked_up_once(tmp_path):
    log = tmp_path / "lookups"
    command = f"echo >> {log}; cat {tmp_path}/keys"
    (tmp_path / "keys").write_text('{"a": "one", "b": "two"}')
    found = template(f"{{{{ lookup('pipe', '{command}') | from_json }}}}")
    loader = DataLoader()
    given = {
        **RIGHT,
        "vault": found,
        "gcp_cluster_project": template("{{ vault.a }}"),
        "gcp_cluster_repository": template("{{ vault.b | default('other') }}"),
        "secrets_project": template("{{ vault.a }}"),
    }
    reader = RoleReader(Templar(loader, variables=given), loader, given)
    assert reader.read("gcp_cluster").published["project"] == "one"
    assert reader.read("gcp_cluster").published["repository"] == "two"
    assert reader.read("secrets").published["project"] == "one"
    assert log.read_text() == "\n"


def test_a_variable_that_cannot_be_templated_may_have_a_default():
    text = template("{{ mine | default('one') }}")
    given = {"mine": template("{{ nowhere.at_all }}"), "gcp_cluster_repository": text}
    reading = read("gcp_cluster", **given)
    assert reading.problems == []
    assert reading.published["repository"] == "one"
