"""SinkBindings: every kind of subject, by name and by selector, and what happens without a sink."""

from __future__ import annotations

import json

import pytest
from kubernetes.client import ApiException
from support.sandbox import until
from support.tls import issue

SOURCES, SERVING = "sources.knative.dev/v1", "serving.knative.dev/v1"
SINKS = "sinks"
API_VERSIONS = {"Job": "batch/v1", "Service": SERVING}

pytestmark = pytest.mark.needs("kubectl")


@pytest.fixture(scope="module", autouse=True)
def shared_sink(cluster):
    """A sink for all tests here, in a namespace of its own."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SINKS}})
    cluster.ksvc("sink", SINKS)


def binding(name, namespace, kind, subject, sinks=SINKS, **spec):
    reference = {"apiVersion": SERVING, "kind": "Service", "name": "sink", "namespace": sinks}
    return {
        "apiVersion": SOURCES,
        "kind": "SinkBinding",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "subject": {"apiVersion": API_VERSIONS.get(kind, "apps/v1"), "kind": kind, **subject},
            "sink": {"ref": reference},
            **spec,
        },
    }


def env_of(cluster, kind, name, namespace):
    """Return the environment of each container in a subject's pod template."""
    found = cluster.get(API_VERSIONS.get(kind, "apps/v1"), kind, name, namespace)
    pod = found["spec"]["template"]["spec"]
    return [
        {item["name"]: item.get("value", "") for item in container.get("env") or []}
        for container in [*(pod.get("initContainers") or []), *pod["containers"]]
    ]


def condition(cluster, name, namespace, kind="Ready"):
    status = cluster.get(SOURCES, "SinkBinding", name, namespace).get("status") or {}
    return next((c for c in status.get("conditions", []) if c["type"] == kind), None)


def settled(cluster, name, namespace):
    """Return the condition Ready once it is known."""

    def known():
        found = condition(cluster, name, namespace)
        return found if found and found["status"] != "Unknown" else None

    return until(known, "Ready is known")


def observed(cluster, name, namespace):
    return cluster.get(SOURCES, "SinkBinding", name, namespace)["status"].get("observedGeneration")


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Job", "Service"])
def test_each_kind_of_subject_is_bound_before_it_runs(cluster, namespace, kind):
    cluster.apply(
        binding(
            "bind", namespace, kind, {"name": "subject"},
            ceOverrides={"extensions": {"team": "ops"}},
        )
    )  # fmt: skip
    until(lambda: condition(cluster, "bind", namespace), "the binding was looked at")
    resource = {"Service": "services"}.get(kind, f"{kind.lower()}s")

    def ruled():
        webhook = cluster.get(
            "admissionregistration.k8s.io/v1",
            "MutatingWebhookConfiguration",
            "sinkbindings.webhook.sources.knative.dev",
        )["webhooks"][0]
        return any(f"{resource}/*" in rule["resources"] for rule in webhook["rules"])

    until(ruled, "the webhook sees the subject's kind")
    if kind == "Service":
        cluster.apply(cluster.ksvc_object("subject", namespace))
    else:
        subject = cluster.workload(kind, "subject", namespace)
        pod = subject["spec"]["template"]["spec"]
        pod["initContainers"] = [
            {"name": "first", "image": cluster.image, "command": ["python3", "-c", "pass"]}
        ]
        cluster.apply(subject)
    for env in env_of(cluster, kind, "subject", namespace):
        assert env["K_SINK"] == f"http://sink.{SINKS}.svc.cluster.local"
        assert env["K_CE_OVERRIDES"] == '{"extensions":{"team":"ops"}}'
    first = cluster.get(API_VERSIONS.get(kind, "apps/v1"), kind, "subject", namespace)
    assert first["metadata"]["generation"] == 1  # never ran without K_SINK
    cluster.wait("condition=Ready", "sinkbinding/bind", namespace=namespace)
    namespace_labels = cluster.get("v1", "Namespace", namespace)["metadata"]["labels"]
    assert namespace_labels["bindings.knative.dev/include"] == "true"


def test_a_subject_that_was_there_is_bound_and_unbound(cluster, namespace):
    cluster.apply(cluster.workload("Deployment", "subject", namespace, OWN="kept"))
    cluster.apply(binding("bind", namespace, "Deployment", {"name": "subject"}))
    cluster.wait("condition=Ready", "sinkbinding/bind", namespace=namespace)
    env = env_of(cluster, "Deployment", "subject", namespace)[0]
    assert env["K_SINK"]
    assert env["K_CE_OVERRIDES"] == ""
    found = cluster.get(SOURCES, "SinkBinding", "bind", namespace)
    assert found["metadata"]["finalizers"] == ["sinkbindings.sources.knative.dev"]
    cluster.kubectl("delete", "sinkbinding", "bind", "-n", namespace)
    assert env_of(cluster, "Deployment", "subject", namespace)[0] == {"OWN": "kept"}


def test_subjects_by_selector(cluster, namespace):
    selector = {"selector": {"matchLabels": {"bound": "chosen"}}}
    cluster.apply(binding("bind", namespace, "Deployment", selector))
    assert settled(cluster, "bind", namespace)["status"] == "True"  # though nothing matches
    cluster.apply(cluster.workload("Deployment", "chosen", namespace))
    cluster.apply(cluster.workload("Deployment", "other", namespace))
    # By the reconciler, where the webhook has not heard of Deployments yet.
    until(
        lambda: env_of(cluster, "Deployment", "chosen", namespace)[0].get("K_SINK"),
        "the chosen one is bound",
    )
    assert "K_SINK" not in env_of(cluster, "Deployment", "other", namespace)[0]


def test_excluded_objects_stay_as_they_are(cluster, namespace):
    excluded = cluster.workload("Deployment", "subject", namespace)
    excluded["metadata"]["labels"]["bindings.knative.dev/exclude"] = "true"
    selector = {"selector": {"matchLabels": {"bound": "nobody"}}}
    cluster.apply(binding("bind", namespace, "Deployment", selector))
    cluster.apply(excluded)
    assert "K_SINK" not in env_of(cluster, "Deployment", "subject", namespace)[0]


def test_a_sink_with_an_authority_of_its_own_tells_its_certificates(cluster, namespace, tmp_path):
    authority, _ = issue("sink.example.com", tmp_path)
    sink = {"uri": "https://sink.example.com/in", "CACerts": authority}
    cluster.apply(cluster.workload("Deployment", "subject", namespace))
    cluster.apply(binding("bind", namespace, "Deployment", {"name": "subject"}, sink=sink))
    cluster.wait("condition=Ready", "sinkbinding/bind", namespace=namespace)
    status = cluster.get(SOURCES, "SinkBinding", "bind", namespace)["status"]
    assert (status["sinkUri"], status["sinkCACerts"]) == (sink["uri"], sink["CACerts"])
    env = env_of(cluster, "Deployment", "subject", namespace)[0]
    assert (env["K_SINK"], env["K_CA_CERTS"]) == (sink["uri"], sink["CACerts"])
    without = {"spec": {"sink": {"CACerts": None}}}
    cluster.patch(SOURCES, "SinkBinding", "bind", namespace, without)
    until(
        lambda: "K_CA_CERTS" not in env_of(cluster, "Deployment", "subject", namespace)[0],
        "K_CA_CERTS was removed",
    )


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (
            {"ceOverrides": {"extensions": {"team": 1}}},
            "cannot unmarshal number into Go struct field SinkBindingSpec.spec.ceOverrides.extensions",
        ),
        ({"ceOverrides": {"extensions": {"Team": "ops"}}}, 'invalid key name "Team"'),
        (
            {"sink": {"uri": "https://x.example", "CACerts": "no certificate"}},
            "CA Cert provided is invalid: spec.sink.caCert",
        ),
        ({"sink": {"uri": "/path"}}, "invalid value: Relative URI is not allowed"),
    ],
)
def test_what_knative_refuses(cluster, namespace, spec, problem):
    with pytest.raises(ApiException) as refused:
        cluster.apply(binding("bind", namespace, "Deployment", {"name": "subject"}, **spec))
    assert refused.value.status == 400
    assert problem in refused.value.body.replace('\\"', '"')


def test_subjects_of_an_unknown_kind_are_unavailable(cluster, namespace):
    bound = binding("bind", namespace, "Thing", {"name": "subject"})
    bound["spec"]["subject"]["apiVersion"] = "things.example.com/v1"
    cluster.apply(bound)
    found = settled(cluster, "bind", namespace)
    assert (found["status"], found["reason"]) == ("False", "SubjectUnavailable")
    assert found["message"] == "the server could not find the requested resource"
    assert observed(cluster, "bind", namespace) is None


def test_by_inclusion_only_what_is_labelled_is_bound_as_it_comes(cluster, namespace):
    """Asked by dry runs: what is there already, the reconciler binds in either mode."""
    include = "bindings.knative.dev/include"

    def env(**labels):
        subject = cluster.workload("Deployment", "subject", namespace)
        subject["metadata"]["labels"] |= labels
        command = ("create", "--dry-run=server", "-o", "json", "-f", "-")
        made = json.loads(cluster.kubectl(*command, stdin=json.dumps(subject)))
        (container,) = made["spec"]["template"]["spec"]["containers"]
        return {item["name"] for item in container.get("env") or []}

    selector = {"selector": {"matchLabels": {"bound": "subject"}}}
    cluster.apply(binding("bind", namespace, "Deployment", selector))
    cluster.wait("condition=Ready", "sinkbinding/bind", namespace=namespace)
    select_by(cluster, "inclusion", include)
    try:
        assert "K_SINK" in env(**{include: "true"})
        assert "K_SINK" not in env()
    finally:
        select_by(cluster, "exclusion", "bindings.knative.dev/exclude")
    assert "K_SINK" in env()


def select_by(cluster, mode, label):
    """Have Eventing's webhook select subjects in a mode, and wait until it does, alone."""
    deployment = ("deployment/eventing-webhook", "-n", "knative-eventing")
    cluster.kubectl("set", "env", *deployment, f"SINK_BINDING_SELECTION_MODE={mode}")
    cluster.kubectl("rollout", "status", *deployment, "--timeout=60s")

    def selects():
        webhook = cluster.get(
            "admissionregistration.k8s.io/v1",
            "MutatingWebhookConfiguration",
            "sinkbindings.webhook.sources.knative.dev",
        )["webhooks"][0]
        pods = cluster.pods("knative-eventing", "app=eventing-webhook")
        (term,) = webhook["objectSelector"]["matchExpressions"]
        return len(pods) == 1 and term["key"] == label

    until(selects, f"the webhook selects by {label}")


def test_a_sink_that_goes_takes_k_sink_with_it(cluster, namespace):
    cluster.ksvc("sink", namespace)
    cluster.apply(binding("bind", namespace, "Deployment", {"name": "subject"}, namespace))
    cluster.apply(cluster.workload("Deployment", "subject", namespace))
    cluster.wait("condition=Ready", "sinkbinding/bind", namespace=namespace)
    cluster.kubectl("delete", "ksvc", "sink", "-n", namespace)
    until(lambda: condition(cluster, "bind", namespace)["status"] == "False", "not Ready")
    assert condition(cluster, "bind", namespace, "SinkProvided")["reason"] == "NoAddressable"
    until(
        lambda: "K_SINK" not in env_of(cluster, "Deployment", "subject", namespace)[0],
        "K_SINK was removed",
    )


def test_a_missing_subject_is_named_before_the_sink_is_looked_at(cluster, namespace):
    cluster.apply(binding("bind", namespace, "Deployment", {"name": "late"}, "nowhere"))
    found = settled(cluster, "bind", namespace)
    assert (found["status"], found["reason"]) == ("False", "SubjectMissing")
    assert found["message"] == 'deployments.apps "late" not found'
    assert condition(cluster, "bind", namespace, "SinkProvided")["status"] == "Unknown"
    assert observed(cluster, "bind", namespace) is None
    cluster.apply(binding("bind", namespace, "Deployment", {"name": "late"}))
    cluster.apply(cluster.workload("Deployment", "late", namespace))
    cluster.wait("condition=Ready", "sinkbinding/bind", namespace=namespace)
    assert observed(cluster, "bind", namespace) == 2


def test_another_subject_is_bound_while_the_first_keeps_its_sink(cluster, namespace):
    for name in ("first", "second"):
        cluster.apply(cluster.workload("Deployment", name, namespace))
    cluster.apply(binding("bind", namespace, "Deployment", {"name": "first"}))
    cluster.wait("condition=Ready", "sinkbinding/bind", namespace=namespace)
    cluster.apply(binding("bind", namespace, "Deployment", {"name": "second"}))
    until(
        lambda: "K_SINK" in env_of(cluster, "Deployment", "second", namespace)[0],
        "the second is bound",
    )
    assert "K_SINK" in env_of(cluster, "Deployment", "first", namespace)[0]


def test_a_job_that_is_there_keeps_its_template(cluster, namespace):
    job = cluster.workload("Job", "subject", namespace)
    job["metadata"]["labels"]["bindings.knative.dev/exclude"] = "true"  # for the webhook
    cluster.apply(job)
    cluster.apply(binding("bind", namespace, "Job", {"name": "subject"}))
    cluster.wait("condition=Ready", "sinkbinding/bind", namespace=namespace)
    assert "K_SINK" not in env_of(cluster, "Job", "subject", namespace)[0]


def test_the_webhook_refuses_a_binding_without_sink(cluster, namespace):
    wrong = binding("bind", namespace, "Deployment", {"name": "subject"})
    wrong["spec"]["sink"] = {}
    with pytest.raises(Exception, match=r"spec\.sink\.ref") as refusal:
        cluster.apply(wrong)
    assert "expected at least one, got none" in str(refusal.value)


def test_without_its_webhook_a_bound_kind_cannot_change(cluster, namespace):
    """As upstream: failurePolicy Fail, with the API server's own message."""
    deployment = ("deployment/eventing-webhook", "-n", "knative-eventing")
    cluster.kubectl("scale", *deployment, "--replicas=0")
    try:
        selector = "kubernetes.io/service-name=eventing-webhook"
        slices = ("discovery.k8s.io/v1", "EndpointSlice", "knative-eventing", selector)
        until(
            lambda: (
                not cluster.pods("knative-eventing", "app=eventing-webhook")
                and not any(part.get("endpoints") for part in cluster.list(*slices))
            ),
            "the webhook left",
        )
        with pytest.raises(Exception, match="failed calling webhook") as failure:
            cluster.apply(cluster.workload("Deployment", "subject", namespace))
        assert "no endpoints available for service" in str(failure.value)
    finally:
        # The webhook's own Deployment is labelled to be left alone by it.
        cluster.kubectl("scale", *deployment, "--replicas=1")
        cluster.kubectl("rollout", "status", *deployment, "--timeout=60s")
    until(lambda: _applies(cluster, namespace), "applies work again")


def _applies(cluster, namespace):
    try:
        cluster.apply(cluster.workload("Deployment", "subject", namespace))
    except ApiException as error:
        if "failed calling webhook" not in str(error):
            raise
        return False
    return True
