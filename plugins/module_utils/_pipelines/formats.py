"""Formats of the roles' variables, beyond the types of their argument specifications.

A format returns what a value should be ("a DNS label, for example streamops") when it is not, else "".
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Format = Callable[[Any], str]

_HOST = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*", re.I
)
_QUANTITY = re.compile(r"\d+(\.\d+)?([eE][-+]?\d+|[KMGTPE]i|[munkMGTPE])?")
_REPOSITORY = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
_CRON_NAMES = (
    {
        name: i + 1
        for i, name in enumerate(
            ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
        )
    },
    {name: i for i, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])},
)
_CRON_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


def matches(pattern: str | re.Pattern[str], meaning: str) -> Format:
    """Return a format for texts that match a pattern in full."""
    compiled = re.compile(pattern)
    return lambda value: "" if isinstance(value, str) and compiled.fullmatch(value) else meaning


def between(low: float, high: float = math.inf, unit: str = "") -> Format:
    """Return a format for numbers; the limits are included."""
    of = f" {unit}" if unit else ""
    meaning = (
        f"a number{of} of at least {low:g}"
        if high == math.inf
        else f"a number{of} from {low:g} to {high:g}"
    )
    return lambda value: "" if low <= value <= high else meaning


def optional(of: Format) -> Format:
    """Return a format that takes the empty text too."""
    return lambda value: "" if value in ("", None) else of(value)


def texts(value: dict[str, Any]) -> str:
    """Require a mapping whose values are texts."""
    wrong = [key for key, item in value.items() if not isinstance(item, str)]
    return f"a mapping of texts; quote the value of {', '.join(wrong)}" if wrong else ""


def scalars(value: Any) -> str:
    """Require a mapping whose values are texts, numbers or booleans."""
    if not isinstance(value, dict):
        return "a mapping of texts: write it as {key: value}"
    wrong = [key for key, item in value.items() if not isinstance(item, str | int | float)]
    return f"a mapping of texts; the value of {', '.join(wrong)} is none" if wrong else ""


def environment(value: dict[str, Any]) -> str:
    """Require names of environment variables with texts, numbers or booleans."""
    wrong = [key for key in value if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key)]
    if wrong:
        return f"a mapping of environment variables; {', '.join(wrong)} is not a valid name"
    return scalars(value)


def filled(value: str) -> str:
    """Require a text that is not blank and has no control characters."""
    return "" if value.strip() and value.isprintable() else "a text that is not empty, on one line"


def http_url(value: str) -> str:
    """Require an absolute http or https URL."""
    meaning = "an http or https URL, for example https://api.example.com"
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - raises where it is not a number
    except ValueError:
        return meaning
    host = parts.hostname or ""
    sound = parts.scheme in ("http", "https") and (_HOST.fullmatch(host) or _is_address(host))
    return "" if sound and value.isprintable() and " " not in value else meaning


def sink_uri(value: str) -> str:
    """Require an absolute URL, or a path beginning with a slash."""
    return "" if re.fullmatch(r"/[!-~]*", value) else http_url(value)


def hostname(value: str) -> str:
    """Require a host name or an IP address."""
    return (
        ""
        if _HOST.fullmatch(value) or _is_address(value)
        else "a host name or an IP address, without scheme or port"
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def network(value: str) -> str:
    """Require a network in CIDR notation."""
    try:
        ipaddress.ip_network(value)
    except ValueError:
        return "a network, for example 203.0.113.0/24"
    return "" if "/" in value else "a network, for example 203.0.113.0/24"


def quantity(value: Any) -> str:
    """Require a quantity of Kubernetes."""
    return "" if _QUANTITY.fullmatch(str(value)) else "a quantity, for example 250m or 128Mi"


def timestamp(value: str) -> str:
    """Require a time by RFC 3339."""
    meaning = "an RFC 3339 time, for example 2026-01-01T02:00:00Z"
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return meaning
    return "" if parsed.tzinfo else meaning


def certificates(value: str) -> str:
    """Require PEM text of certificates."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    sound = value.count(begin) == value.count(end) > 0
    return "" if sound else f"PEM text of certificates ({begin} …)"


def cron(value: str) -> str:
    """Require a schedule of five fields, or one of cron's names."""
    meaning = 'a cron schedule of five fields, for example "*/5 * * * *"'
    if value in _CRON_MACROS:
        return ""
    fields = value.split()
    if len(fields) != 5:
        return meaning
    limits: tuple[tuple[int, int, dict[str, int]], ...] = (
        (0, 59, {}), (0, 23, {}), (1, 31, {}), (1, 12, _CRON_NAMES[0]), (0, 7, _CRON_NAMES[1]),
    )  # fmt: skip
    for text, (low, high, names) in zip(fields, limits, strict=True):
        if not all(_is_cron_part(part, low, high, names) for part in text.split(",")):
            return meaning
    return ""


def _is_cron_part(part: str, low: int, high: int, names: dict[str, int]) -> bool:
    span, slash, step = part.partition("/")
    if slash and not (step.isdecimal() and int(step) > 0):
        return False
    if span in ("*", "?"):
        return True
    ends = [names.get(end.lower(), int(end) if end.isdecimal() else -1) for end in span.split("-")]
    return len(ends) <= 2 and all(low <= end <= high for end in ends) and ends == sorted(ends)


def existing_file(value: str) -> str:
    """Require a file that can be read."""
    path = Path(value).expanduser()
    return "" if path.is_file() else f"an existing file (there is none at {path})"


def manifest(value: str) -> str:
    """Require a URL, or a file or folder that can be read."""
    if value.startswith(("http://", "https://")):
        return http_url(value)
    path = Path(value).expanduser()
    return (
        "" if path.exists() else f"a URL, or an existing file or folder (there is none at {path})"
    )


def existing_folder(value: str) -> str:
    """Require a folder."""
    path = Path(value).expanduser()
    return "" if path.is_dir() else f"an existing folder (there is none at {path})"


DOMAIN = matches(_HOST, "a DNS name, for example events.example.com")
REGISTRY = matches(
    rf"[a-zA-Z0-9.-]+(:\d{{1,5}})?(/{_REPOSITORY})*",
    "a registry and path in lower case without scheme, for example registry.example.com/streamops",
)
IMAGE = matches(
    rf"([a-zA-Z0-9.-]+(:\d{{1,5}})?/)?{_REPOSITORY}(/{_REPOSITORY})*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?",
    "an image reference, for example registry.example.com/app:1.0",
)
DURATION = matches(
    r"P(?=.)(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?",
    "an ISO 8601 duration, for example PT0.5S",
)
LABEL = matches(
    r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
    "a DNS label (a-z, 0-9 and -, beginning and ending with a letter or digit), for example streamops",
)
PODS = matches(r"\d+%?", "a number or a percentage of pods, for example 1 or 80%")
SUBDOMAIN = matches(
    r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
    "a name of Kubernetes (a-z, 0-9, - and .), for example twitter-credentials",
)
PLATFORM = matches(r"[a-z]+/[a-z0-9]+(/v[0-9]+)?", "a platform, for example linux/arm64")
EMAIL = matches(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+", "an e-mail address, for example ada@example.com")
PROJECT = matches(
    r"([a-z0-9.-]+:)?[a-z][-a-z0-9]{4,28}[a-z0-9]", "a project ID, for example my-project-123"
)
LOCATION = matches(r"[a-z]+-[a-z]+[0-9]+(-[a-z])?", "a region or zone, for example europe-west1")
SCOPE = matches(
    r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?",
    "a value of a Kubernetes label (at most 63 letters, digits, -, _ and .), for example team-a",
)
RELEASE = matches(r"\d+\.\d+\.\d+", "a release without prefix, for example 1.23.0")
MEMBER = matches(
    r"(user|group|serviceAccount):[^@\s]+@[^@\s]+|domain:\S+|principal(Set)?://\S+",
    "an IAM member, for example serviceAccount:name@project.iam.gserviceaccount.com",
)
SECONDS = between(1, unit="of seconds")
PORT = between(0, 65535)
EXTENSION_NAME = re.compile(r"[a-z0-9]{1,20}")
RESERVED = {
    "id",
    "source",
    "type",
    "specversion",
    "time",
    "subject",
    "datacontenttype",
    "dataschema",
    "data",
}


def extensions(value: dict[str, Any]) -> str:
    """Require CloudEvents extension attributes."""
    wrong = [key for key in value if not EXTENSION_NAME.fullmatch(key) or key in RESERVED]
    if wrong:
        return (
            "a mapping of extension attributes (a-z and 0-9, at most 20 characters);"
            f" {', '.join(wrong)} is not valid"
        )
    return texts(value)


_DIALECTS = ("all", "any", "not", "exact", "prefix", "suffix", "cesql")


def filter_expression(value: Any) -> str:
    """Require a filter of a Trigger (https://knative.dev/docs/eventing/triggers/#trigger-filtering)."""
    meaning = (
        "a filter: one of " + ", ".join(_DIALECTS) + ", for example {exact: {type: com.x.post}}"
    )
    if not isinstance(value, dict) or len(value) != 1:
        return meaning
    ((dialect, content),) = value.items()
    if dialect in ("all", "any"):
        sound = isinstance(content, list) and bool(content)
        return (
            next((said for said in map(filter_expression, content) if said), "")
            if sound
            else meaning
        )
    if dialect == "not":
        return filter_expression(content)
    if dialect == "cesql":
        return "" if isinstance(content, str) and content.strip() else meaning
    if dialect not in _DIALECTS or not isinstance(content, dict) or not content:
        return meaning
    sound = all(
        re.fullmatch(r"[a-z0-9]+", name) and isinstance(text, str) and text
        for name, text in content.items()
    )
    return "" if sound else f"{meaning}; attributes are a-z and 0-9, their values texts"


def resources(value: dict[str, Any]) -> str:
    """Require quantities by resource."""
    wrong = [f"{key}: {said}" for key, item in value.items() if (said := quantity(item))]
    return f"a mapping of quantities; {wrong[0]}" if wrong else ""


_TIMEOUTS = dict.fromkeys(
    (
        "gcp_cluster_wait_timeout", "knative_eventing_timeout", "twitter_pipeline_timeout",
        "knative_eventing_bundle_timeout",
        "twitter_pipeline_images_timeout", "twitter_pipeline_credentials_refresh",
        "twitter_pipeline_interval", "event_driven_timeout", "event_driven_images_timeout",
    ),
    SECONDS,
)  # fmt: skip
_SINKS = {
    f"{place}{key}": check
    for place in (
        "twitter_pipeline_sink.", "twitter_pipeline_dead_letter.", "twitter_pipeline_triggers[].sink.",
        "twitter_pipeline_broker.delivery.deadLetterSink.",
        "twitter_pipeline_triggers[].delivery.deadLetterSink.", "event_driven_dead_letter.",
    )
    for key, check in {
        "uri": sink_uri,
        "ref.apiVersion": matches(r"([a-z0-9.-]+/)?v[0-9][a-z0-9]*", "an API version, for example v1"),
        "ref.kind": matches(r"[A-Z][A-Za-z0-9]*", "a kind, for example Service"),
        "ref.name": SUBDOMAIN,
        "ref.namespace": LABEL,
        "CACerts": certificates,
    }.items()
}  # fmt: skip
_DELIVERIES = {
    f"{place}{key}": check
    for place in (
        "twitter_pipeline_broker.delivery.",
        "twitter_pipeline_triggers[].delivery.",
        "event_driven_delivery.",
    )
    for key, check in {
        "retry": between(0, 2**31 - 1),
        "backoffDelay": DURATION,
        "timeout": DURATION,
    }.items()
}

_POD: dict[str, Format] = {
    "annotations": texts,
    "nodeSelector": texts,
    "imagePullSecrets[].name": SUBDOMAIN,
    "priorityClassName": SUBDOMAIN,
    "tolerations[].key": filled,
    "tolerations[].tolerationSeconds": between(0),
    "env[].name": matches(r"[A-Za-z_][A-Za-z0-9_]*", "a name of an environment variable"),
    "env[].valueFrom.configMapKeyRef.name": SUBDOMAIN,
    "env[].valueFrom.secretKeyRef.name": SUBDOMAIN,
    "env[].valueFrom.configMapKeyRef.key": filled,
    "env[].valueFrom.secretKeyRef.key": filled,
    "env[].valueFrom.fieldRef.fieldPath": filled,
    "env[].valueFrom.fieldRef.apiVersion": filled,
    "env[].valueFrom.resourceFieldRef.resource": filled,
    "env[].valueFrom.resourceFieldRef.containerName": LABEL,
    "env[].valueFrom.resourceFieldRef.divisor": quantity,
    "volumes[].name": LABEL,
    "volumeMounts[].name": LABEL,
    "volumeMounts[].mountPath": matches(r"/[!-9;-~]*", "an absolute path, for example /etc/proxy"),
    "volumeMounts[].subPath": filled,
}  # fmt: skip
_PODS = {
    f"{pod}.{key}": check
    for pod in ("twitter_pipeline_pod", "twitter_pipeline_viewer_pod", "event_driven_pod")
    for key, check in _POD.items()
}
#: Of the roles that build images.
_IMAGES: dict[str, Format] = {
    "registry": optional(REGISTRY),
    "service_account_file": optional(existing_file),
    "service_account": SUBDOMAIN,
    "service_account_annotations": texts,
    "network_policy_from[]": LABEL,
    "resources.requests": resources,
    "resources.limits": resources,
    "scope": SCOPE,
    "images_base": IMAGE,
    "images_tags[]": matches(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", "a tag, for example 1.0"),
    "images_platforms[]": PLATFORM,
    "images_annotations": texts,
    "images_docker_config": optional(existing_file),
}
#: By canonical name: entries of lists as `NAME[]`, keys of mappings behind a dot, and what belongs to a pipeline
#: under the name of its flat variable.
FORMATS: dict[str, Format] = {
    **_PODS,
    **_TIMEOUTS,
    **_SINKS,
    **_DELIVERIES,
    **{f"{role}_{key}": check for role in ("twitter_pipeline", "event_driven") for key, check in _IMAGES.items()},
    "event_driven_filters[]": filter_expression,
    "event_driven_secrets[]": SUBDOMAIN,
    "event_driven_broker": optional(LABEL),
    "event_driven_project": optional(existing_folder),
    "event_driven_image": optional(IMAGE),
    "event_driven_images_python_version": optional(
        matches(r"\d+\.\d+(\.\d+)?", "a version of Python, for example 3.12")
    ),
    "gcp_cluster_project": optional(PROJECT),
    "gcp_cluster_location": optional(LOCATION),
    "gcp_cluster_endpoint": optional(http_url),
    "gcp_cluster_service_account_file": optional(existing_file),
    "gcp_cluster_service_account_email": optional(EMAIL),
    "gcp_cluster_impersonate_service_account": optional(EMAIL),
    "gcp_cluster_network": optional(filled),
    "gcp_cluster_subnetwork": optional(filled),
    "gcp_cluster_authorized_networks[].cidr": network,
    "gcp_cluster_labels": texts,
    "gcp_cluster_maintenance_window.start": timestamp,
    "gcp_cluster_maintenance_window.end": timestamp,
    "gcp_cluster_maintenance_window.recurrence": matches(
        r"(RRULE:)?FREQ=(DAILY|WEEKLY)(;[A-Z]+=[A-Z0-9,]+)*", "an RFC 5545 rule, for example FREQ=WEEKLY;BYDAY=SA,SU"
    ),
    "gcp_cluster_services[]": matches(
        r"[a-z][a-z0-9-]*(\.[a-z0-9-]+)+", "an API, for example container.googleapis.com"
    ),
    "gcp_cluster_repository": optional(
        matches(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", "a repository's name (a-z, 0-9 and -), for example streamops")
    ),
    "gcp_cluster_repository_readers[]": MEMBER,
    "gcp_cluster_repository_writers[]": MEMBER,
    "gcp_cluster_workload_service_account": optional(EMAIL),
    "gcp_cluster_workload_identities[].namespace": LABEL,
    "gcp_cluster_workload_identities[].service_account": SUBDOMAIN,
    "gcp_cluster_admins[]": matches(
        r"group:[^\s,]+|(user:)?[^\s,:]{3,}", "a user's e-mail address or group:NAME"
    ),
    "knative_eventing_scope": SCOPE,
    "knative_eventing_version": RELEASE,
    "knative_eventing_serving_version": RELEASE,
    "knative_eventing_kourier_version": RELEASE,
    "knative_eventing_net_gateway_api_version": RELEASE,
    "knative_eventing_net_istio_version": RELEASE,
    "knative_eventing_kafka_broker_version": RELEASE,
    "knative_eventing_rabbitmq_broker_version": RELEASE,
    "knative_eventing_kafka.bootstrap_servers[]": matches(
        r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?):[0-9]{1,5}",
        "HOST:PORT, for example my-cluster-kafka-bootstrap.kafka:9092",
    ),
    "knative_eventing_kafka.auth_secret": optional(SUBDOMAIN),
    "knative_eventing_kafka.topic_partitions": between(1, 10_000),
    "knative_eventing_kafka.topic_replication_factor": between(1, 100),
    "knative_eventing_mirror": http_url,
    "knative_eventing_folder": optional(existing_folder),
    "knative_eventing_bundle": optional(existing_file),
    "knative_eventing_verify_signers[].key": optional(existing_file),
    "knative_eventing_verify_trust_root": optional(existing_file),
    "knative_eventing_bundle_registry": optional(REGISTRY),
    "knative_eventing_bundle_images[]": IMAGE,
    "knative_eventing_bundle_platforms[]": PLATFORM,
    "knative_eventing_bundle_login.docker_config": optional(existing_file),
    "knative_eventing_bundle_login.ca_cert": optional(existing_file),
    "knative_eventing_domain": optional(DOMAIN),
    "knative_eventing_gateway_address": optional(hostname),
    "knative_eventing_gateway_port": PORT,
    "knative_eventing_gateway_node_port": PORT,
    "knative_eventing_gateway_annotations": texts,
    "knative_eventing_config.serving.*": scalars,
    "knative_eventing_config.kourier.*": scalars,
    "knative_eventing_config.eventing.*": scalars,
    "knative_eventing_observability": scalars,
    "knative_eventing_checksums.*": matches(r"sha256:[0-9a-f]{64}", "sha256: and 64 hexadecimal digits"),
    "knative_eventing_checksums": lambda value: next(
        (
            f"keyed by PROJECT-VERSION/FILE, for example serving-1.23.0/serving-core.yaml; {key} is not"
            for key in value
            if not re.fullmatch(r"[a-z_]+-\d+\.\d+\.\d+/[a-z0-9-]+\.yaml", key)
        ),
        "",
    ),
    "knative_eventing_workloads[].replicas": between(0, 1000),
    "knative_eventing_workloads[].name": LABEL,
    "knative_eventing_workloads[].resources[].requests": resources,
    "knative_eventing_workloads[].resources[].limits": resources,
    "knative_eventing_workloads[].nodeSelector": texts,
    "knative_eventing_workloads[].labels": texts,
    "knative_eventing_workloads[].annotations": texts,
    "knative_eventing_services[].labels": texts,
    "knative_eventing_services[].annotations": texts,
    "knative_eventing_namespace_metadata.labels": texts,
    "knative_eventing_namespace_metadata.annotations": texts,
    "knative_eventing_pod_disruption_budgets[].minAvailable": PODS,
    "knative_eventing_pod_disruption_budgets[].maxUnavailable": PODS,
    "knative_eventing_additional_manifests[]": manifest,
    "knative_eventing_custom_certs.name": SUBDOMAIN,
    "knative_eventing_broker_class": optional(filled),
    "knative_eventing_registry": optional(REGISTRY),
    "knative_eventing_images.*": IMAGE,
    "knative_eventing_image_pull_secrets[]": SUBDOMAIN,
    "secrets_scope": SCOPE,
    "secrets_consumers[].namespace": LABEL,
    "secrets_consumers[].service_account": SUBDOMAIN,
    "secrets_project": optional(PROJECT),
    "secrets_pool_project": optional(PROJECT),
    "secrets_endpoint": optional(http_url),
    "secrets_service_account_file": optional(existing_file),
    "secrets_service_account_email": optional(EMAIL),
    "secrets_impersonate_service_account": optional(EMAIL),
    "secrets_google_service_account": optional(EMAIL),
    "secrets_labels": texts,
    "secrets_keep_versions": between(1, 1000),
    "secrets_grace_period": between(0),
    "secrets_kubernetes_name": SUBDOMAIN,
    **{f"{role}_login.host": http_url for role in ("knative_eventing", "secrets", "twitter_pipeline", "event_driven")},
    "twitter_pipeline_schedule": cron,
    "twitter_pipeline_topics[]": filled,
    "twitter_pipeline_excludes[]": filled,
    "twitter_pipeline_authors[]": filled,
    "twitter_pipeline_languages[]": matches(r"[a-z]{2,3}(-[A-Za-z]{2,4})?", "a language code, for example en"),
    "twitter_pipeline_query": optional(filled),
    "twitter_pipeline_budget_posts": between(0),
    "twitter_pipeline_budget_price": between(0, 1e6),
    "twitter_pipeline_sink_ca_certs": optional(certificates),
    "twitter_pipeline_sink_audience": optional(filled),
    "twitter_pipeline_extensions": extensions,
    "twitter_pipeline_broker.name": LABEL,
    "twitter_pipeline_broker.class": filled,
    "twitter_pipeline_triggers[].name": LABEL,
    "twitter_pipeline_triggers[].filters[]": filter_expression,
    "twitter_pipeline_environment": environment,
    "twitter_pipeline_replicas": between(1, 100),
    "twitter_pipeline_viewer_replicas": between(1, 100),
    "twitter_pipeline_x_api_url": http_url,
    "twitter_pipeline_jetstream_url": matches(
        r"wss?://[^\s/]+(/\S*)?", "a WebSocket's URL, for example wss://jetstream2.us-east.bsky.network/subscribe"
    ),
    "twitter_pipeline_mastodon_url": http_url,
    "twitter_pipeline_feeds[]": http_url,
    "twitter_pipeline_secret_manager_url": http_url,
    "twitter_pipeline_credentials_secret": SUBDOMAIN,
    "twitter_pipeline_project": optional(PROJECT),
    "twitter_pipeline_viewer_environment": environment,
    "twitter_pipeline_viewer_resources.requests": resources,
    "twitter_pipeline_viewer_resources.limits": resources,
    "twitter_pipeline_images.producer": IMAGE,
    "twitter_pipeline_images.viewer": IMAGE,
    "twitter_pipeline_images_apps": existing_folder,
}  # fmt: skip
for _name in ("api_key", "api_secret", "access_key", "access_secret", "bearer_token"):
    FORMATS[f"secrets_names.{_name}"] = matches(
        r"[A-Za-z0-9_-]{1,255}", "a name of a secret (letters, digits, _ and -)"
    )
    FORMATS[f"twitter_pipeline_secret_names.{_name}"] = matches(
        r"(projects/[^/]+/secrets/)?[A-Za-z0-9_-]{1,255}(/versions/(latest|[0-9]+))?",
        "a name of a secret, for example twitter-api-key or twitter-api-key/versions/3",
    )
