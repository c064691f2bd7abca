"""What the pipelines of the role twitter_pipeline are, as data.

A pipeline is a dict with the keys of an entry of `twitter_pipeline_pipelines`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

Pipeline = dict[str, Any]

#: https://docs.x.com/x-api/posts/search/introduction: the limit of recent search and of stream rules.
QUERY_MAX_LENGTH = 512
#: A DNS label (RFC 1123) that leaves room for what is appended to it, such as a revision's number.
NAME_MAX_LENGTH = 40
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")

VIEWER = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "event-viewer"}
LABELS = {
    "app.kubernetes.io/name": "twitter-producer",
    "app.kubernetes.io/part-of": "twitter-pipeline",
    "app.kubernetes.io/managed-by": "streamops.knative",
}
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

    Added: `labels` of the producer; `sink` where it was empty (the Broker, or the viewer);
    `broker` as `{name, class, config, delivery}` (empty for direct delivery); `subject` of the
    SinkBinding (None for a ContainerSource, which binds itself); `once` for Jobs; `viewed` when
    every event, a probe too, reaches the namespace's viewer.
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
        reference = {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker"}
        sink = {"ref": {**reference, "name": broker["name"], "namespace": namespace}}
    return {
        **pipeline,
        "broker": broker,
        "labels": labels,
        "once": pipeline["workload"] in ("Job", "CronJob"),
        "sink": sink,
        "subject": _subject(pipeline, labels),
        "viewed": _viewed(pipeline),
    }


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


def problems(variables: Mapping[str, Any]) -> list[str]:
    """What contradicts itself in `twitter_pipeline_*` variables, a sentence each.

    Variables that are not set count as the role's defaults, which contradict nothing.
    """
    prefix = "twitter_pipeline_"
    flat = {name.removeprefix(prefix): value for name, value in variables.items()}
    listed = variables.get(f"{prefix}pipelines")
    if listed is None:
        found = _contradictions(flat, prefix)
        names = [(flat.get("namespace"), flat.get("name"))]
    else:
        found, names = [], []
        for index, entry in enumerate(listed):
            pipeline = {**flat, **_given(entry)}
            found += _contradictions(pipeline, f"{prefix}pipelines[{index}].")
            names.append((pipeline.get("namespace"), pipeline.get("name")))
    for (namespace, name), count in Counter(names).items():
        if count > 1:
            found.append(
                f"{prefix}pipelines: {count} pipelines are called {name or 'twitter'} in namespace"
                f" {namespace or 'streamops'}; give each a name of its own"
            )
    return found


def _contradictions(pipeline: Mapping[str, Any], prefix: str) -> list[str]:
    found = []
    for key in ("name", "namespace"):
        value = pipeline.get(key)
        if value is not None and not _is_label(value):
            found.append(
                f"{prefix}{key}: '{value}' is not a DNS label of at most {NAME_MAX_LENGTH}"
                " characters (a-z, 0-9 and -, beginning and ending with a letter or digit)"
            )
    found += _query_problems(pipeline, prefix)
    if pipeline.get("delivery") == "broker" and pipeline.get("sink"):
        found.append(
            f"{prefix}sink: a broker pipeline sends to its Broker; name sinks in {prefix}triggers,"
            f" or set {prefix}delivery: direct"
        )
    if pipeline.get("dead_letter") and pipeline.get("delivery", "direct") != "broker":
        found.append(
            f"{prefix}dead_letter: a SinkBinding has no dead letter; set {prefix}delivery: broker,"
            f" or DEAD_LETTER_SINK in {prefix}environment"
        )
    workload = pipeline.get("workload", "Deployment")
    if pipeline.get("subject_by") == "selector" and workload == "ContainerSource":
        found.append(f"{prefix}subject_by: a ContainerSource binds itself; leave it at name")
    if pipeline.get("source") == "stream" and workload in ("Job", "CronJob"):
        found.append(f"{prefix}source: a {workload} reads once what is new; a stream never ends")
    if pipeline.get("interval") is not None and int(pipeline["interval"]) < 1:
        found.append(f"{prefix}interval: {pipeline['interval']} is not a number of seconds above 0")
    return found


def _is_label(value: str) -> bool:
    return len(value) <= NAME_MAX_LENGTH and DNS_LABEL.fullmatch(value) is not None


def _query_problems(pipeline: Mapping[str, Any], prefix: str) -> list[str]:
    found = []
    for key in ("topics", "languages", "excludes"):
        for value in pipeline.get(key) or []:
            if "," in value:
                found.append(f"{prefix}{key}: '{value}' has a comma; make it two entries")
            if len(value) > QUERY_MAX_LENGTH:
                found.append(_too_long(f"{prefix}{key}", len(value)))
    query = pipeline.get("query")
    if query:
        if len(query) > QUERY_MAX_LENGTH:
            found.append(_too_long(f"{prefix}query", len(query)))
    elif pipeline.get("topics") == []:
        found.append(f"{prefix}topics: name at least one, or give {prefix}query")
    return found


def _too_long(name: str, length: int) -> str:
    return f"{name}: {length} characters; X takes a query of at most {QUERY_MAX_LENGTH}"
