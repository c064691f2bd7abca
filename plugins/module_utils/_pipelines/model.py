"""What the pipelines of the role twitter_pipeline are, as data.

A pipeline is a dict with the keys of an entry of `twitter_pipeline_pipelines`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from .._knative.extensions import as_strings
from .._knative.extensions import problems as extension_problems
from .._knative.kafka import BROKER_CONFIG
from .._knative.releases import PROJECTS

Pipeline = dict[str, Any]
PREFIX = "twitter_pipeline_"

#: https://docs.x.com/x-api/posts/search/introduction: the limit of recent search and of stream rules.
QUERY_MAX_LENGTH = 512
#: A DNS label (RFC 1123) that leaves room for what is appended to it, such as a revision's number.
NAME_MAX_LENGTH = 40
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")

#: What a viewer's token may be.
TOKEN_MIN_LENGTH = 16
TOKEN = re.compile(rf"[!-~]{{{TOKEN_MIN_LENGTH},4096}}")

#: Namespaces that are the cluster's own, or Knative's.
SYSTEM = ("default", "knative-eventing", "knative-serving", "kourier-system", "istio-system")
SYSTEM_PREFIXES = ("kube-", "openshift-", "gke-", "gmp-")

#: Workloads that may have several pods, of which one reads.
REPLICATED = ("Deployment", "StatefulSet")
#: Workloads that read once what is new, and end.
ONCE = ("Job", "CronJob")
#: Names of the volumes that the role itself makes.
PRODUCER_VOLUMES = ("tmp", "credentials", "sink-token")
VIEWER_VOLUMES = ("tmp", "data", "tokens", "pipelines")

KAFKA_CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "name": BROKER_CONFIG,
    "namespace": PROJECTS["kafka_broker"].namespace,
}
VIEWER = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "event-viewer"}
LABELS = {
    "app.kubernetes.io/name": "twitter-producer",
    "app.kubernetes.io/part-of": "twitter-pipeline",
    "app.kubernetes.io/managed-by": "streamops.knative",
}
#: Sources that need X's keys.
X_SOURCES = ("search", "stream")
#: Hashtags of Mastodon: https://docs.joinmastodon.org/user/posting/#hashtags.
HASHTAG = re.compile(r"#?\w{1,100}")
#: How each network names an author, with an example; feeds have free names.
ACCOUNTS = {
    "jetstream": (re.compile(r"did:[a-z]{1,20}:[A-Za-z0-9._:%-]{1,200}"), "did:plc:abc123"),
    "mastodon": (re.compile(r"@?\w{1,64}(@[\w.:-]{1,253})?"), "ada@example.social"),
    **dict.fromkeys(X_SOURCES, (re.compile(r"@?\w{1,20}", re.A), "knativeproject")),
}
#: Operators of X's search, which mean nothing elsewhere: https://docs.x.com/x-api/posts/search/integrate/operators
X_OPERATOR = re.compile(r"-?(from|to|is|has|lang|url|context|entity|conversation_id|place):\S")
#: Feeds whose state fits into a ConfigMap, as the producer counts them.
MOST_FEEDS = 500
SUBJECTS = {
    "Deployment": ("apps/v1", "Deployment"),
    "DaemonSet": ("apps/v1", "DaemonSet"),
    "StatefulSet": ("apps/v1", "StatefulSet"),
    "KnativeService": ("serving.knative.dev/v1", "Service"),
    "Job": ("batch/v1", "Job"),
    # A binding cannot name a CronJob: it selects the Jobs that the CronJob makes.
    "CronJob": ("batch/v1", "Job"),
}


def resolve(pipelines: Iterable[Mapping[str, Any]], defaults: Mapping[str, Any]) -> list[Pipeline]:
    """Fill each pipeline from `defaults` and add what follows from it.

    Added: `labels` of the producer; `sink` in full, by default the Broker or the viewer;
    `broker` as `{name, class, config, delivery}` (empty for direct delivery); `subject` of the
    SinkBinding (None for a ContainerSource, which binds itself); `once` for Jobs; `viewed` when
    every event, a probe too, reaches the namespace's viewer; `to_viewer` when the producer itself
    sends to it; `triggers_viewer` when a Trigger does; `needs_keys` when its source is X; `reads`
    with the URLs that its source reads; `status` with the name of the Service at which the viewer asks
    the producer for its status, and its `url` (empty where there is nobody to answer or to ask).
    """
    return [_resolve({**defaults, **_given(pipeline)}) for pipeline in pipelines]


def _given(pipeline: Mapping[str, Any]) -> Pipeline:
    return {key: value for key, value in pipeline.items() if value is not None}


def _resolve(pipeline: Pipeline) -> Pipeline:
    namespace = pipeline["namespace"]
    labels = {**LABELS, "app.kubernetes.io/instance": pipeline["name"]}
    broker: dict[str, Any] = {}
    sink = pipeline["sink"] or {"ref": {**VIEWER, "namespace": namespace}}
    if pipeline["delivery"] == "broker":
        broker = {"name": pipeline["name"], "class": "MTChannelBasedBroker", **pipeline["broker"]}
        if broker["class"] == "Kafka" and not broker.get("config"):
            # Without one a Broker would get that of Eventing's default class.
            broker["config"] = dict(KAFKA_CONFIG)
        reference = {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker"}
        sink = {"ref": {**reference, "name": broker["name"], "namespace": namespace}}
    trust = {"CACerts": pipeline["sink_ca_certs"], "audience": pipeline["sink_audience"]}
    return {
        **pipeline,
        "broker": broker,
        "extensions": as_strings(pipeline.get("extensions") or {}),
        "labels": labels,
        "once": pipeline["workload"] in ONCE,
        "sink": {**sink, **{key: value for key, value in trust.items() if value}},
        "subject": _subject(pipeline, labels),
        "viewed": _viewed(pipeline),
        "to_viewer": pipeline["delivery"] == "direct" and _is_viewer(sink, namespace),
        "triggers_viewer": pipeline["delivery"] == "broker"
        and any(not trigger.get("sink") for trigger in pipeline["triggers"]),
        "needs_keys": _source(pipeline) in X_SOURCES,
        "reads": _reads(pipeline),
        "status": _status(pipeline),
    }


def _status(pipeline: Pipeline) -> dict[str, str]:
    if pipeline["workload"] in ONCE or not pipeline["viewer"]:
        return {}
    # A Knative Service has a Service of its own name already.
    name = f"{pipeline['name']}-status"
    return {"name": name, "url": f"http://{name}.{pipeline['namespace']}.svc.cluster.local/status"}


def _reads(pipeline: Pipeline) -> list[str]:
    """Return the URLs that a source other than X reads."""
    source = _source(pipeline)
    if source == "feed":
        return list(pipeline["feeds"])
    return [] if source in X_SOURCES else [pipeline[f"{source}_url"]]


def _source(pipeline: Mapping[str, Any]) -> str:
    return str(pipeline.get("source") or "search")


def _is_viewer(sink: Mapping[str, Any], namespace: str) -> bool:
    """Return whether a sink is the viewer of a namespace."""
    reference = {"namespace": namespace, **(sink.get("ref") or {})}
    return reference == {**VIEWER, "namespace": namespace}


def _viewed(pipeline: Pipeline) -> bool:
    if pipeline["delivery"] == "direct":
        return bool(pipeline["viewer"] and not pipeline["sink"])
    unfiltered = (t for t in pipeline["triggers"] if not t.get("sink") and not t.get("filters"))
    return bool(pipeline["viewer"] and any(unfiltered))


def _subject(pipeline: Pipeline, labels: dict[str, str]) -> dict[str, Any] | None:
    if pipeline["workload"] == "ContainerSource":
        return None
    api_version, kind = SUBJECTS[pipeline["workload"]]
    subject: dict[str, Any] = {"apiVersion": api_version, "kind": kind}
    if pipeline["subject_by"] == "selector" or pipeline["workload"] == "CronJob":
        return {**subject, "selector": {"matchLabels": labels}}
    return {**subject, "name": pipeline["name"]}


def numbered(variables: Mapping[str, Any]) -> Iterator[tuple[str, Pipeline]]:
    """Yield (prefix of its variables' names, pipeline in full) for each pipeline of a host.

    `variables` are all of the role's, `twitter_pipeline_*`.
    """
    flat = _flat(variables)
    for prefix, entry in _listed(variables):
        yield prefix, _resolve({**flat, **_given(entry)})


def problems(variables: Mapping[str, Any]) -> list[str]:
    """Return what contradicts itself in `twitter_pipeline_*` variables, a sentence each.

    Variables that are not set count as the role's defaults, which contradict nothing.
    """
    flat = _flat(variables)
    found: list[str] = []
    names = []
    for prefix, entry in _listed(variables):
        pipeline = {**flat, **_given(entry)}
        found += _contradictions(pipeline, prefix)
        names.append((pipeline.get("namespace"), pipeline.get("name")))
    if flat.get("state") == "absent" and not flat.get("delete_history"):
        found.append(
            f"{PREFIX}delete_history: absent deletes the checkpoints of the producers and the viewers with"
            f" their history; confirm that with {PREFIX}delete_history: true"
        )
    found += [*_missing(flat, variables), *_exposure_problems(flat, variables)]
    found += _pod_problems(flat.get("viewer_pod") or {}, f"{PREFIX}viewer_pod", VIEWER_VOLUMES)
    store = str((flat.get("viewer_environment") or {}).get("STORE") or "")
    given = [entry.get("name") for entry in (flat.get("viewer_pod") or {}).get("env") or []]
    shared = "STORE" in given or store.startswith(("redis://", "rediss://"))
    if (flat.get("viewer_replicas") or 1) > 1 and not shared:
        found.append(
            f"{PREFIX}viewer_replicas: several viewers need a store that they share; set STORE in"
            f" {PREFIX}viewer_environment to a redis:// URL, or leave it at 1"
        )
    for (namespace, name), count in Counter(names).items():
        if count > 1:
            found.append(
                f"{PREFIX}pipelines: {count} pipelines are called {name or 'twitter'} in namespace"
                f" {namespace or 'streamops'}; give each a name of its own"
            )
    return found


def _exposure_problems(flat: Mapping[str, Any], variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield why the viewer may not be exposed as it is, and which tokens cannot work."""
    if flat.get("state") == "absent":
        return
    tokens = {
        name: str(flat.get(f"viewer_{name}_token") or "") for name in ("read", "write", "proxy")
    }
    environment = flat.get("viewer_environment") or {}
    yield from [
        f"{PREFIX}viewer_{name}_token: a token has at least {TOKEN_MIN_LENGTH} printable ASCII characters"
        " without spaces; make one with: openssl rand -hex 32"
        for name, token in tokens.items()
        if token and not TOKEN.fullmatch(token)
    ]
    for name, token in tokens.items():
        variable = f"{name.upper()}_TOKEN"
        if token and (variable in environment or f"{variable}_FILE" in environment):
            yield (
                f"{PREFIX}viewer_environment: {variable} is set by {PREFIX}viewer_{name}_token: keep one"
            )
    demanded = {
        "token": ["read", "write"],
        "proxy": ["write", "proxy"],
    }.get(str(flat.get("viewer_exposure")), [])
    demanded = [name for name in demanded if not tokens[name]]
    if demanded:
        yield (
            f"{PREFIX}viewer_exposure: {flat['viewer_exposure']} needs"
            f" {' and '.join(f'{PREFIX}viewer_{name}_token' for name in demanded)}: set them from a"
            " vault, or leave the viewer inside the cluster (cluster)"
        )
    if flat.get("viewer_exposure") == "proxy" and not environment.get("USER_HEADER"):
        yield (
            f"{PREFIX}viewer_exposure: proxy needs USER_HEADER in {PREFIX}viewer_environment:"
            " the header in which the proxy names the user"
        )
    if environment.get("TRUSTED_PROXIES"):
        yield (
            f"{PREFIX}viewer_environment: TRUSTED_PROXIES cannot work in a Knative Service, where every"
            f" request comes from the queue-proxy: set {PREFIX}viewer_proxy_token instead"
        )
    if flat.get("viewer_exposure") == "open" and flat.get("gateway") == "load_balancer":
        yield (
            f"{PREFIX}viewer_exposure: open lets everybody who reaches the load balancer read and write:"
            " use token or proxy; or set knative_eventing_gateway: node_port where the gateway has no"
            " public address"
        )
    if tokens["write"]:
        yield from _trigger_problems(flat, variables)


def _trigger_problems(flat: Mapping[str, Any], variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield why Triggers cannot deliver to a viewer that asks for a token, which they cannot send."""
    for prefix, entry in _listed(variables):
        pipeline = {**flat, **_given(entry)}
        if pipeline.get("delivery") != "broker":
            continue
        for index, trigger in enumerate(pipeline.get("triggers") or [{}]):
            sink = trigger.get("sink")
            if sink and _is_viewer(sink, str(pipeline.get("namespace"))):
                yield (
                    f"{prefix}triggers[{index}].sink: a Trigger cannot send the viewer its"
                    f" {PREFIX}viewer_write_token: leave sink out, which delivers to the port that"
                    " asks for none"
                )
            elif not sink and flat.get("network_policy") is False:
                yield (
                    f"{prefix}triggers[{index}]: a Trigger cannot send the viewer its"
                    f" {PREFIX}viewer_write_token, and only a NetworkPolicy limits who else may do"
                    f" without it: set {PREFIX}network_policy: true, give the Trigger another sink, or"
                    " leave the token out"
                )


def _missing(flat: Mapping[str, Any], variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what all pipelines of a host need and do not have."""
    if flat.get("state") == "absent":
        return
    if flat.get("images_engine") == "none":
        lacking = {"producer", "viewer"} - set(flat.get("images") or {})
        if lacking:
            yield (
                f"{PREFIX}images: name the image of {' and '.join(sorted(lacking))}, since"
                f" {PREFIX}images_engine is none"
            )
    elif flat.get("registry") == "":
        yield (
            f"{PREFIX}registry is empty: the registry and path that images are pushed to, such as"
            f" registry.example.com/streamops; or set {PREFIX}images_engine: none"
        )
    needs_keys = any(
        _source({**flat, **_given(entry)}) in X_SOURCES for _prefix, entry in _listed(variables)
    )
    in_google = flat.get("credentials") == "secret_manager"
    if needs_keys and in_google and flat.get("project") == "":
        yield (
            f"{PREFIX}project (or gcp_cluster_project) is empty: the project whose Secret Manager"
            " holds the credentials; or set secrets_backend: kubernetes"
        )


def _flat(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(PREFIX): value for name, value in variables.items()}


def _listed(variables: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (prefix, entry) of `twitter_pipeline_pipelines`; by default one, of the flat variables."""
    listed = variables.get(f"{PREFIX}pipelines")
    if listed is None or [_given(entry) for entry in listed] == [{}]:
        yield PREFIX, {}
        return
    for index, entry in enumerate(listed):
        yield f"{PREFIX}pipelines[{index}].", entry


def _contradictions(pipeline: Mapping[str, Any], prefix: str) -> Iterator[str]:
    yield from names_problems(pipeline, prefix, "the pipeline")
    yield from _query_problems(pipeline, prefix)
    for problem in extension_problems(pipeline.get("extensions") or {}):
        yield f"{prefix}extensions.{problem}"
    if pipeline.get("delivery") == "broker" and pipeline.get("sink"):
        yield (
            f"{prefix}sink: a broker pipeline sends to its Broker; name sinks in {prefix}triggers,"
            f" or set {prefix}delivery: direct"
        )
    broker = pipeline.get("broker") or {}
    if broker.get("class") == "RabbitMQBroker" and not broker.get("config"):
        yield (
            f"{prefix}broker.config: a RabbitMQBroker needs one: a RabbitmqBrokerConfig"
            " (eventing.knative.dev/v1alpha1) with its namespace, which names the RabbitmqCluster"
        )
    if pipeline.get("dead_letter") and pipeline.get("delivery", "direct") != "broker":
        yield (
            f"{prefix}dead_letter: a SinkBinding has no dead letter; set {prefix}delivery: broker,"
            f" or DEAD_LETTER_SINK in {prefix}environment"
        )
    workload = pipeline.get("workload", "Deployment")
    if pipeline.get("subject_by") == "selector" and workload == "ContainerSource":
        yield f"{prefix}subject_by: a ContainerSource binds itself; leave it at name"
    if pipeline.get("source") in ("stream", "jetstream") and workload in ONCE:
        yield f"{prefix}source: a {workload} reads once what is new; a stream never ends"
    yield from _pod_problems(pipeline.get("pod") or {}, f"{prefix}pod", PRODUCER_VOLUMES)
    replicas = pipeline.get("replicas")
    if replicas is not None and replicas > 1 and workload not in REPLICATED:
        yield (
            f"{prefix}replicas: a {workload} has one pod that reads; leave it at 1, or set"
            f" {prefix}workload to {' or '.join(REPLICATED)}"
        )
    if pipeline.get("interval") is not None and int(pipeline["interval"]) < 1:
        yield f"{prefix}interval: {pipeline['interval']} is not a number of seconds above 0"


def _pod_problems(pod: Mapping[str, Any], name: str, taken: Collection[str]) -> list[str]:
    """Return what contradicts itself in the pods' further needs."""
    found = [
        f"{name}.env[{index}]: {entry['name']} needs one of value and valueFrom"
        for index, entry in enumerate(pod.get("env") or [])
        if "name" in entry and ("value" in entry) == ("valueFrom" in entry)
    ]
    volumes = pod.get("volumes") or []
    named = [volume["name"] for volume in volumes if "name" in volume]
    for index, volume in enumerate(volumes):
        place = f"{name}.volumes[{index}]"
        if volume.get("name") in taken:
            found.append(f"{place}.name: the role has a volume '{volume['name']}'; choose another")
        if len(volume.keys() - {"name"}) != 1:
            found.append(
                f"{place}: a volume has one source, for example configMap: {{name: proxy}}"
            )
    for index, mount in enumerate(pod.get("volumeMounts") or []):
        if "name" in mount and mount["name"] not in named:
            there = ", ".join(named) or "none"
            found.append(
                f"{name}.volumeMounts[{index}].name: there is no volume '{mount['name']}' in"
                f" {name}.volumes ({there})"
            )
    return found


def is_system(namespace: str) -> bool:
    """Return whether a namespace is the cluster's own or Knative's."""
    return namespace in SYSTEM or namespace.startswith(SYSTEM_PREFIXES)


def names_problems(given: Mapping[str, Any], prefix: str, what: str) -> list[str]:
    """Return what is wrong with the `name` and `namespace` of a pipeline or a rulebook."""
    found = [
        f"{prefix}{key}: '{value}' is not a DNS label of at most {NAME_MAX_LENGTH} characters (a-z, 0-9 and"
        " -, beginning and ending with a letter or digit)"
        for key in ("name", "namespace")
        if (value := given.get(key)) is not None
        and not (len(value) <= NAME_MAX_LENGTH and DNS_LABEL.fullmatch(value))
    ]
    if is_system(str(given.get("namespace", ""))):
        found.append(
            f"{prefix}namespace: '{given['namespace']}' belongs to the cluster: give {what} a namespace of"
            " its own, for example streamops"
        )
    return found


def _query_problems(pipeline: Mapping[str, Any], prefix: str) -> list[str]:
    found = []
    on_x = _source(pipeline) in X_SOURCES
    longest = _query_max_length(pipeline)
    keys = ("topics", "languages", "excludes", "authors")
    terms = {key: list(pipeline.get(key) or []) for key in keys}
    for key, values in terms.items():
        for value in values:
            if "," in value:
                found.append(f"{prefix}{key}: '{value}' has a comma; make it two entries")
            if on_x and len(value) > longest:
                found.append(_too_long(f"{prefix}{key}", len(value), longest))
    account, example = ACCOUNTS.get(_source(pipeline), (None, ""))
    found += [
        f"{prefix}authors: '{author}' is not an account such as {example}"
        for author in terms["authors"]
        if account and not account.fullmatch(author)
    ]
    query = pipeline.get("query")
    if not on_x:
        return [*found, *_source_problems(pipeline, prefix)]
    if query:
        if len(query) > longest:
            found.append(_too_long(f"{prefix}query", len(query), longest))
        if terms["authors"]:
            found.append(f"{prefix}authors: {prefix}query stands alone; write from: into it")
    elif pipeline.get("topics") == [] and not _names_authors(pipeline):
        found.append(f"{prefix}topics: name at least one, or give {prefix}authors or {prefix}query")
    elif not found and (length := _shortest_query(terms)) > longest:
        together = f"{prefix}topics, with languages, excludes and authors"
        found.append(f"{_too_long(together, length, longest)}: name fewer")
    return found


def _source_problems(pipeline: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Yield why the source that needs no key cannot be read with these settings."""
    source, topics = pipeline["source"], list(pipeline.get("topics") or [])
    if pipeline.get("query"):
        yield f"{prefix}query: it is in X's language; with source: {source} use {prefix}topics"
    if source == "mastodon":
        yield from [
            f"{prefix}topics: '{topic}' is not a hashtag (letters, digits and _), for example knative"
            for topic in topics
            if not HASHTAG.fullmatch(topic)
        ]
    if source == "mastodon" and not topics:
        yield f"{prefix}topics: name at least one hashtag to read"
    yield from [
        f"{prefix}{key}: '{term}' is an operator of X's; with source: {source} use words"
        for key in ("topics", "excludes")
        for term in pipeline.get(key) or []
        if X_OPERATOR.match(term)
    ]
    environment = pipeline.get("environment") or {}
    if source == "feed":
        yield from _feed_problems(list(pipeline.get("feeds") or []), environment, prefix)
    narrowed = topics or pipeline.get("languages") or _names_authors(pipeline)
    if source == "jetstream" and not narrowed:
        every = "without topics, languages and authors every post is read; name some"
        yield f"{prefix}topics: {every}"


def _names_authors(pipeline: Mapping[str, Any]) -> bool:
    return bool(pipeline.get("authors") or (pipeline.get("environment") or {}).get("AUTHORS"))


def _feed_problems(feeds: list[str], environment: Mapping[str, Any], prefix: str) -> list[str]:
    """Return why these feeds cannot be read."""
    if not feeds and not environment.get("FEEDS_FILE"):
        return [f"{prefix}feeds: name the URL of at least one feed to read"]
    if len(feeds) > MOST_FEEDS and environment.get("STATE", "configmap") == "configmap":
        return [
            f"{prefix}feeds: {len(feeds)} are more than the {MOST_FEEDS} whose state fits into a ConfigMap;"
            f" make several pipelines of them, or set STATE: file and STATE_FILE in {prefix}environment"
        ]
    return [f"{prefix}feeds: '{url}' has a comma; write it as %2C" for url in feeds if "," in url]


def _query_max_length(pipeline: Mapping[str, Any]) -> int:
    """Return the producer's own limit, which an access level of X may raise."""
    given = str((pipeline.get("environment") or {}).get("QUERY_MAX_LENGTH"))
    return int(given) if given.isdecimal() else QUERY_MAX_LENGTH


def _shortest_query(terms: Mapping[str, list[str]]) -> int:
    """Return a lower bound for the query that the producer makes; it quotes what is not one word."""
    groups = [" OR ".join(terms["topics"])] if terms["topics"] else []
    if terms["languages"]:
        groups.append(" OR ".join(f"lang:{language}" for language in terms["languages"]))
    if terms["authors"]:
        groups.append(" OR ".join(f"from:{author.lstrip('@')}" for author in terms["authors"]))
    return len(" ".join([*groups, *(f"-{exclude}" for exclude in terms["excludes"])]))


def _too_long(name: str, length: int, longest: int) -> str:
    return f"{name}: {length} characters; X takes a query of at most {longest}"
