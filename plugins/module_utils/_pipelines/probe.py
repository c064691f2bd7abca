"""Sends one recognisable event through a pipeline and follows it, hop by hop.

Everything goes through the API server's pod proxy
(https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/), so it works from
wherever kubectl works. The producer's `POST /probe` and the viewer's `GET /api/events` are described in
the READMEs of apps/twitter-producer and apps/event-viewer.
"""

from __future__ import annotations

import hashlib
import hmac
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.client import (
    Client,
    Object,
    UnknownKind,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import (
    ApiError,
    KubeError,
)

PROBE_TYPE = "com.streamops.probe"
POLL_SECONDS = 0.2


class Lost(KubeError):
    """The event did not arrive; the text says at which hop and what to look at."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The probe was lost: {reason}")


@dataclass(frozen=True)
class Pods:
    """Pods of one app, found by labels, serving HTTP on a port."""

    namespace: str
    labels: Mapping[str, str]
    port: int
    #: Token that a viewer asks for to be read.
    token: str = field(default="", repr=False)

    @property
    def selector(self) -> str:
        """As a label selector."""
        return ",".join(f"{key}={value}" for key, value in self.labels.items())

    def ready(self, client: Client) -> Object | None:
        """One ready pod, the newest."""
        pods = [pod for pod in self.all(client) if _is_ready(pod)]
        return max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)

    def all(self, client: Client) -> list[Object]:
        """The pods, ready or not, without those on their way out."""
        found = client.list(
            client.resource("v1", "Pod"), self.namespace, label_selector=self.selector
        )
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def request(
        self,
        client: Client,
        pod: Object,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
    ) -> Any:
        """Send a request to a pod through the API server."""
        name = pod["metadata"]["name"]
        root = f"/api/v1/namespaces/{self.namespace}/pods/{name}:{self.port}/proxy"
        return client.transport.request(
            method, root + path, query=query, body=body, headers=self._session()
        )

    def _session(self) -> dict[str, str]:
        """Return the cookie of the viewer's page: the API server passes on no Authorization header."""
        if not self.token:
            return {}
        session = hmac.new(self.token.encode(), b"event-viewer session read", hashlib.sha256)
        return {"Cookie": f"event-viewer-read={session.hexdigest()}"}


@dataclass
class Path:
    """The way an event took: hops with the seconds since it was asked for."""

    id: str
    hops: list[dict[str, Any]] = field(default_factory=list)
    events: int = 0

    def add(self, hop: str, name: str, since: float, **details: Any) -> None:
        """Note that the event has reached a hop."""
        seconds = round(time.monotonic() - since, 3)
        self.hops.append({"hop": hop, "name": name, "seconds": seconds, **details})

    def __str__(self) -> str:
        return " -> ".join(f"{hop['name']} ({hop['seconds']:.3f} s)" for hop in self.hops)


def probe(
    client: Client,
    producer: Pods,
    viewer: Pods | None,
    *,
    timeout: float,
    progress: Callable[[str], None],
) -> Path:
    """Let the producer send an event and find it in the viewer; without one, end at the sink.

    Raises Lost when it does not arrive within `timeout` seconds.
    """
    start = time.monotonic()
    deadline = start + timeout
    path = Path(id=f"probe-{uuid.uuid4()}")

    def waiting(look: Callable[[], Any], what: Callable[[], str]) -> Any:
        """What `look` finds, or None once the time is over."""
        while (found := look()) is None and time.monotonic() < deadline:
            progress(what())
            time.sleep(POLL_SECONDS)
        return found

    pod = waiting(lambda: producer.ready(client), lambda: _pods_said(client, producer))
    if pod is None:
        raise Lost(f"no producer to send it: {_pods_said(client, producer)}")
    answer = _send(client, producer, pod, path.id, deadline, progress)
    path.add("producer", pod["metadata"]["name"], start)
    path.add("sink", answer["sink"], start, status=answer["status"])
    if viewer is None:
        return path
    found = waiting(
        lambda: _in_viewer(client, viewer, path.id),
        lambda: f"the sink {answer['sink']} took the probe; it is not in the viewer yet",
    )
    if found is None:
        raise Lost(_lost_after_sink(client, viewer, answer, timeout))
    name, record, path.events = found
    path.add("viewer", name, start, received=record["received"])
    return path


def _send(
    client: Client,
    producer: Pods,
    pod: Object,
    identifier: str,
    deadline: float,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """The producer's answer; what may pass (a sink that starts) is tried again until `deadline`."""
    name = pod["metadata"]["name"]
    while True:
        try:
            answer: dict[str, Any] = producer.request(
                client, pod, "POST", "/probe", body={"id": identifier}
            )
            return answer
        except ApiError as error:
            if error.status in (404, 405):
                raise Lost(
                    f"the producer {name} serves no POST /probe: its image is another program, or"
                    " PROBE_ENABLED is false"
                ) from error
            if error.status == 403 or time.monotonic() >= deadline:
                raise Lost(
                    f"the producer {name} could not deliver it: {error.message}. Look at kubectl"
                    f" -n {producer.namespace} logs {name}, and at the sink"
                ) from error
            progress(f"the producer {name} could not deliver the probe yet: {error.message}")
        time.sleep(POLL_SECONDS)


def _in_viewer(
    client: Client, viewer: Pods, identifier: str
) -> tuple[str, dict[str, Any], int] | None:
    pod = viewer.ready(client)
    if pod is None:
        return None
    query = {"type": PROBE_TYPE, "limit": 100}
    try:
        page = viewer.request(client, pod, "GET", "/api/events", query=query)
    except ApiError as error:
        if error.status in (401, 403):
            raise Lost(
                f"the sink took it, but the viewer {pod['metadata']['name']} cannot be read: set"
                " viewer_token (twitter_pipeline_viewer_read_token) to the token it asks for"
            ) from error
        raise
    for record in page["events"]:
        if record["event"]["id"] == identifier:
            total = viewer.request(client, pod, "GET", "/api/events", query={"limit": 0})["total"]
            return pod["metadata"]["name"], record, total
    return None


def _lost_after_sink(
    client: Client, viewer: Pods, answer: Mapping[str, Any], timeout: float
) -> str:
    if viewer.ready(client) is None:
        return f"the sink {answer['sink']} took it, but {_pods_said(client, viewer)}"
    hints = [
        f"the sink {answer['sink']} took it with status {answer['status']}, but after {timeout:g} s"
        f" no viewer ({viewer.selector} in {viewer.namespace}) shows it"
    ]
    try:
        triggers = client.list(
            client.resource("eventing.knative.dev/v1", "Trigger"), viewer.namespace
        )
    except UnknownKind:
        triggers = []
    for trigger in triggers:
        problem = _not_ready(trigger)
        if problem:
            hints.append(f"Trigger {trigger['metadata']['name']} is not ready: {problem}")
    if len(hints) == 1:
        hints.append(
            "Is the sink this viewer? Through a Broker, look at the Triggers' filters, at their dead"
            " letter sink, and at kubectl -n knative-eventing logs deployment/mt-broker-filter"
        )
    return ". ".join(hints)


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _not_ready(item: Object) -> str:
    for condition in (item.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] != "True":
            return str(condition.get("message") or condition.get("reason") or "no reason given")
    return ""


def _pods_said(client: Client, pods: Pods) -> str:
    found = pods.all(client)
    if not found:
        return f"there is no pod with the labels {pods.selector} in namespace {pods.namespace}"
    said = []
    for pod in found:
        statuses = pod.get("status", {}).get("containerStatuses") or []
        waiting = [s["state"]["waiting"] for s in statuses if "waiting" in s.get("state", {})]
        reasons = [f"{w.get('reason')}: {w.get('message', '')}".rstrip(": ") for w in waiting]
        said.append(
            f"{pod['metadata']['name']} is {'; '.join(reasons) or 'not ready'} (kubectl -n"
            f" {pods.namespace} logs {pod['metadata']['name']})"
        )
    return "; ".join(said)
