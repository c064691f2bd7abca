"""Objects of a cluster that an upgrade of Knative makes fail, or behave otherwise.

What each minor release changed is from its release notes and the sources of Serving, Eventing and
https://github.com/knative/networking. Only reads; what the caller may not read counts as fine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .._kubernetes.client import Client, Object, look_up, permitted
from .releases import Version

SERVICE_LABEL = "serving.knative.dev/service"
NETWORKING = "networking.knative.dev"
#: Keys of annotations below networking.knative.dev/ that Serving knows.
NETWORKING_KEYS = frozenset(
    {
        *("ingress.class", "ingress-class", "certificate.class", "certificate-class"),
        *("disableAutoTLS", "disable-auto-tls", "disable-external-domain-tls"),
        *("httpOption", "http-protocol"),
    }
)
#: Keys of ConfigMaps from before OpenTelemetry; they have no effect any more.
OPENCENSUS = {
    "config-observability": (
        "metrics.backend-destination",
        "metrics.request-metrics-backend-destination",
        "metrics.reporting-period-seconds",
        "metrics.opencensus-address",
        "metrics.allow-stackdriver-custom-metrics",
    ),
    "config-tracing": ("backend", "zipkin-endpoint", "sample-rate", "debug"),
}
_SINK = ("spec.sink.uri", "status.sinkUri")
_DEAD_LETTERS = ("spec.delivery.deadLetterSink.uri", "status.deadLetterSinkUri")
#: Kinds that send events, with the fields that name where to: as asked for, and as references were resolved.
SENDERS = {
    ("sources.knative.dev/v1", "SinkBinding"): _SINK,
    ("sources.knative.dev/v1", "ContainerSource"): _SINK,
    ("sources.knative.dev/v1", "PingSource"): _SINK,
    ("sources.knative.dev/v1", "ApiServerSource"): _SINK,
    ("eventing.knative.dev/v1", "Broker"): _DEAD_LETTERS,
    ("eventing.knative.dev/v1", "Trigger"): (
        "spec.subscriber.uri",
        "status.subscriberUri",
        *_DEAD_LETTERS,
    ),
    ("messaging.knative.dev/v1", "Subscription"): (
        "spec.subscriber.uri",
        "status.physicalSubscription.subscriberUri",
        "spec.reply.uri",
        "status.physicalSubscription.replyUri",
        "spec.delivery.deadLetterSink.uri",
        "status.physicalSubscription.deadLetterSinkUri",
    ),
}
#: Deprecated versions by CustomResourceDefinition, with the one that takes their place.
DEPRECATED = {
    "eventtypes.eventing.knative.dev": ("v1beta1", "v1beta3"),
    "pingsources.sources.knative.dev": ("v1beta2", "v1"),
}


@dataclass(frozen=True)
class Finding:
    """What a release changes for an object, or, without `kind` and `name`, for a whole installation."""

    project: str
    release: str
    kind: str
    namespace: str
    name: str
    problem: str

    def __str__(self) -> str:
        """Return the sentence for a warning."""
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        about = f"{self.kind} {place}: " if self.kind else ""
        return f"{self.project.capitalize()} {self.release}: {about}{self.problem}"


def findings(
    client: Client, installed: Mapping[str, Version | None], wanted: Mapping[str, Version]
) -> list[Finding]:
    """Return what the upgrades from the installed to the wanted releases meet, in the order of releases."""
    found = []
    for project, minor in sorted({*_TRAPS, *_NOTES}, key=lambda entry: (entry[1], entry[0])):
        have, want = installed.get(project), wanted.get(project)
        if not (have and want and have.major == want.major and have.minor < minor <= want.minor):
            continue
        release = f"{want.major}.{minor}"
        if note := _NOTES.get((project, minor)):
            found.append(Finding(project, release, "", "", "", note))
        if look := _TRAPS.get((project, minor)):
            found += [
                Finding(
                    project,
                    release,
                    item["kind"],
                    item["metadata"].get("namespace", ""),
                    item["metadata"]["name"],
                    problem,
                )
                for item, problem in look(client)
            ]
    return found


def described(found: list[Finding]) -> list[dict[str, Any]]:
    """Return findings as a module returns them."""
    return [asdict(finding) for finding in found]


Findings = Iterator[tuple[Object, str]]


def _all(client: Client, api_version: str, kind: str) -> list[Object]:
    resource = client.resources().get((api_version, kind))
    if resource is None:
        return []
    found: list[Object] = permitted(lambda: client.list(resource), [])
    return found


def _opencensus(namespace: str) -> Callable[[Client], Findings]:
    def look(client: Client) -> Findings:
        for name, keys in OPENCENSUS.items():
            found = look_up(client, "v1", "ConfigMap", name, namespace)
            left = [key for key in keys if key in ((found or {}).get("data") or {})]
            if found and left:
                yield (
                    found,
                    f"{', '.join(left)} have no effect any more: set metrics-protocol, metrics-endpoint,"
                    " tracing-protocol and tracing-endpoint in config-observability"
                    " (knative_eventing_observability)",
                )

    return look


def _routing(client: Client) -> Findings:
    """Yield, for Serving 1.21, refused annotations and traffic to Revisions of another Service."""
    services = _all(client, "serving.knative.dev/v1", "Service")
    for service in services:
        template = (service["spec"].get("template") or {}).get("metadata") or {}
        unknown = [
            key
            for key in template.get("annotations") or {}
            if key.startswith(f"{NETWORKING}/")
            and key.removeprefix(f"{NETWORKING}/") not in NETWORKING_KEYS
        ]
        if unknown:
            yield (
                service,
                f"the annotations {', '.join(unknown)} of its template are not valid, and every change of"
                " it is refused: remove them",
            )
    named = {
        (target["revisionName"], service["metadata"]["namespace"]): service
        for service in services
        for target in service["spec"].get("traffic") or []
        if target.get("revisionName")
    }
    if not named:
        return
    for revision in _all(client, "serving.knative.dev/v1", "Revision"):
        metadata = revision["metadata"]
        target = named.get((metadata["name"], metadata["namespace"]))
        owner = (metadata.get("labels") or {}).get(SERVICE_LABEL)
        if target and owner != target["metadata"]["name"]:
            yield (
                target,
                f"it sends traffic to the revision {metadata['name']} of {owner or 'no Service'}, and gets"
                " not ready (RevisionNotOwned): send it to revisions of its own",
            )


def _https_sinks(client: Client) -> Findings:
    """Yield, for Eventing 1.22, senders to https URLs, which have to offer TLS 1.3."""
    for (api_version, kind), fields in SENDERS.items():
        for item in _all(client, api_version, kind):
            uris = dict.fromkeys(
                uri for field in fields if (uri := _uri(item, field)).startswith("https://")
            )
            if uris:
                yield (
                    item,
                    f"events reach {', '.join(uris)} only by TLS 1.3: make sure that it is offered there, or"
                    " set TLS_MIN_VERSION in the env of the workloads that send"
                    " (knative_eventing_workloads)",
                )


def _uri(item: Object, field: str) -> str:
    value: Any = item
    for key in field.split("."):
        value = (value or {}).get(key)
    return str(value or "")


def _pod_defaults(client: Client) -> Findings:
    """Yield, for Serving 1.23, the unset secure-pod-defaults, whose default is announced to change."""
    found = look_up(client, "v1", "ConfigMap", "config-features", "knative-serving")
    if found and "secure-pod-defaults" not in (found.get("data") or {}):
        yield (
            found,
            "secure-pod-defaults is not set, and its default (disabled) is announced to change, which"
            " keeps containers that run as root from starting: set it, with"
            " knative_eventing_config: {serving: {config-features: {secure-pod-defaults: disabled}}}",
        )


def _deprecated(client: Client) -> Findings:
    """Yield, for Eventing 1.23, objects written in deprecated versions, which it is the last to serve."""
    for name, (old, newest) in DEPRECATED.items():
        definition = look_up(client, "apiextensions.k8s.io/v1", "CustomResourceDefinition", name)
        if not definition:
            continue
        spec = definition["spec"]
        # As it is stored: other versions take the webhook that converts.
        (stored,) = (version["name"] for version in spec["versions"] if version["storage"])
        for item in _all(client, f"{spec['group']}/{stored}", spec["names"]["kind"]):
            writers = [
                entry.get("manager", "somebody")
                for entry in item["metadata"].get("managedFields") or []
                if entry.get("apiVersion") == f"{spec['group']}/{old}"
                and not entry.get("subresource")
            ]
            if writers:
                yield (
                    item,
                    f"{', '.join(dict.fromkeys(writers))} writes it as {spec['group']}/{old}, which is"
                    f" deprecated and is going to be removed: write it as {newest}",
                )


#: What to look for when a project gets to a minor release.
_TRAPS: dict[tuple[str, int], Callable[[Client], Findings]] = {
    ("serving", 19): _opencensus("knative-serving"),
    ("eventing", 19): _opencensus("knative-eventing"),
    ("serving", 21): _routing,
    ("eventing", 22): _https_sinks,
    ("serving", 23): _pod_defaults,
    ("eventing", 23): _deprecated,
}

_METRICS = "names and labels of metrics change: adapt dashboards and alerts"
#: What changes whatever objects there are.
_NOTES: dict[tuple[str, int], str] = {
    ("serving", 19): f"metrics and traces are OpenTelemetry's, and the {_METRICS}",
    ("eventing", 19): f"metrics and traces are OpenTelemetry's, and the {_METRICS}",
    ("serving", 21): _METRICS,
    ("eventing", 21): _METRICS,
    ("eventing", 23): (
        "its programs read EndpointSlices in place of Endpoints: roles of your own for their service accounts have"
        " to allow get, list and watch of endpointslices.discovery.k8s.io (the release's own roles do)"
    ),
}
