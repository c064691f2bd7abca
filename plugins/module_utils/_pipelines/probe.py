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

from .._kubernetes.client import Client, Object, UnknownKind
from .._kubernetes.errors import ApiError, KubeError
from .._kubernetes.polling import poll

PROBE_TYPE = "com.streamops.probe"
POLL_SECONDS = 0.2
#: How long what may pass at X is given to pass, in seconds, where the producer has never read a post.
GRACE_SECONDS = 20.0
PAGE = 100


class Lost(KubeError):
    """The event did not arrive; the text says at which hop and what to look at."""

    def __init__(self, reason: str, hop: str = "") -> None:
        super().__init__(f"The probe was lost{f' at the {hop}' if hop else ''}: {reason}")


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
        """Return one ready pod, the newest."""
        pods = [pod for pod in self.all(client) if _is_ready(pod)]
        return max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)

    def all(self, client: Client) -> list[Object]:
        """Return the pods, ready or not, without those on their way out."""
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
            method,
            root + path,
            query=query,
            body=body,
            headers=self._session(),
            repeatable=True,  # a probe that is sent twice is one event
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
    #: What the viewer keeps, without probes.
    events: int = 0
    warnings: list[str] = field(default_factory=list)

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
    path = Path(id=f"probe-{uuid.uuid4()}")
    search = _Search(client, path.id)

    def waiting(look: Callable[[], str]) -> str:
        """Return what is still missing when the time is over."""
        return poll(client, look, deadline=start + timeout, pause=POLL_SECONDS, progress=progress)

    if missing := waiting(lambda: search.send(producer)):
        raise Lost(missing)
    source = _Source(client, producer)
    if missing := waiting(source.read):
        raise Lost(missing, hop="source")
    path.warnings = source.warnings
    path.add("producer", search.sender, start)
    path.add("sink", search.answer["sink"], start, status=search.answer["status"])
    if viewer is None:
        return path
    if missing := waiting(lambda: search.find(viewer)):
        raise Lost(_lost_after_sink(client, viewer, search.answer, timeout, missing))
    path.add("viewer", search.reader, start, received=search.record["received"])
    path.events = search.events
    return path


class _Source:
    """What the producers report of X: `read` returns what is still missing, "" once one has an answer.

    Raises Lost for what needs an action, and where nothing was ever read.
    """

    def __init__(self, client: Client, producer: Pods) -> None:
        self._client = client
        self._producer = producer
        self._patience = time.monotonic() + GRACE_SECONDS
        #: What else is to be known.
        self.warnings: list[str] = []

    def read(self) -> str:
        """Read the status of every producer."""
        pods = self._producer.all(self._client)
        states = [status for pod in pods if (status := _status(self._client, self._producer, pod))]
        readings = [status["reading"] for status in states if "reading" in status]
        self.warnings = _pauses(states)
        if not readings or self.warnings:
            return ""
        if any(reading["answered"] and not reading["problem"] for reading in readings):
            return ""
        problems = [reading for reading in readings if reading["problem"]]
        if not problems:
            return "the producer has not asked X for posts yet"
        said = f"the producer reads nothing from X. {problems[0]['problem']}"
        if any(reading["lasting"] for reading in problems):
            raise Lost(said, hop="source")
        said += (
            ". It tries again by itself; look at twitter_pipeline_x_api_url, at what the network lets"
            f" through, and at kubectl -n {self._producer.namespace} logs -l {self._producer.selector}"
        )
        if any(_has_read(status) for status in states):
            self.warnings = [said]  # it flowed before, and what is wrong passes
            return ""
        if time.monotonic() > self._patience:
            raise Lost(said, hop="source")
        return said


def _status(client: Client, producer: Pods, pod: Object) -> dict[str, Any]:
    """Return a producer's own account, or nothing where it cannot be asked."""
    try:
        found: Any = producer.request(client, pod, "GET", "/status")
    except KubeError:
        return {}
    return found if isinstance(found, dict) else {}


def _has_read(status: Mapping[str, Any]) -> bool:
    """Return whether a pipeline has ever read posts, be it in an earlier process."""
    windows = status.get("checkpoint") or []
    answered = (status.get("reading") or {}).get("answered")
    return bool(answered or any("after" in window for window in windows))


def _pauses(states: list[dict[str, Any]]) -> list[str]:
    """Return why producers pause although X answers: today's budget is spent."""
    return [
        f"the producer pauses: {status['state']}"
        for status in states
        if "budget" in str(status.get("state")) and not (status.get("reading") or {}).get("problem")
    ]


class _Search:
    """One probe: each step returns what is still missing, "" once it is done."""

    def __init__(self, client: Client, identifier: str) -> None:
        self._client = client
        self._id = identifier
        self.sender = self.reader = ""
        self.answer: dict[str, Any] = {}
        self.record: dict[str, Any] = {}
        self.events = 0

    def send(self, pods: Pods) -> str:
        """Have a producer send the probe; the same one again where an answer was lost."""
        pod = pods.ready(self._client)
        if pod is None:
            return f"no producer to send it: {pods_said(self._client, pods)}"
        self.sender = pod["metadata"]["name"]
        try:
            self.answer = pods.request(self._client, pod, "POST", "/probe", body={"id": self._id})
        except ApiError as error:
            if error.status == 405 or (error.status == 404 and error.reason != "NotFound"):
                raise Lost(
                    f"the producer {self.sender} serves no POST /probe: its image is another"
                    " program, or PROBE_ENABLED is false"
                ) from error
            said = (
                f"the producer {self.sender} could not deliver it: {error.message}. Look at kubectl"
                f" -n {pods.namespace} logs {self.sender}, and at the sink"
            )
            if error.status == 403:
                raise Lost(said) from error
            return said
        return ""

    def find(self, viewer: Pods) -> str:
        """Find the probe in the viewer."""
        pod = viewer.ready(self._client)
        if pod is None:
            return pods_said(self._client, viewer)
        self.reader = pod["metadata"]["name"]
        try:
            query = {"type": PROBE_TYPE, "limit": PAGE}
            page = viewer.request(self._client, pod, "GET", "/api/events", query=query)
            for record in page["events"]:
                if record["event"]["id"] == self._id:
                    self.record = record
                    query = {"limit": 0}
                    kept = viewer.request(self._client, pod, "GET", "/api/events", query=query)
                    self.events = max(0, kept["total"] - self._probes(viewer, pod, page))
                    return ""
        except ApiError as error:
            if error.status in (401, 403):
                raise Lost(
                    f"the sink took it, but the viewer {self.reader} cannot be read: set"
                    " viewer_token (twitter_pipeline_viewer_read_token) to the token it asks for"
                ) from error
            if not error.not_found:  # the pod was replaced meanwhile
                raise
        return f"the sink {self.answer['sink']} took the probe; it is not in the viewer yet"

    def _probes(self, viewer: Pods, pod: Object, page: dict[str, Any]) -> int:
        """Return how many probes a viewer keeps, `page` being the first of them."""
        count = len(page["events"])
        while page.get("next"):
            query = {"type": PROBE_TYPE, "limit": PAGE, "cursor": page["next"]}
            page = viewer.request(self._client, pod, "GET", "/api/events", query=query)
            count += len(page["events"])
        return count


def _lost_after_sink(
    client: Client, viewer: Pods, answer: Mapping[str, Any], timeout: float, missing: str
) -> str:
    """Return why a probe that the sink took is not in the viewer, as far as the cluster can be asked."""
    try:
        return _after_sink(client, viewer, answer, timeout)
    except KubeError:
        return f"the sink {answer['sink']} took it, but after {timeout:g} s {missing}"


def _after_sink(client: Client, viewer: Pods, answer: Mapping[str, Any], timeout: float) -> str:
    if viewer.ready(client) is None:
        return f"the sink {answer['sink']} took it, but {pods_said(client, viewer)}"
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
        problem = not_ready(trigger)
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


def not_ready(item: Object) -> str:
    """Return why an object is not ready, "" where it is."""
    for condition in (item.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] != "True":
            return str(condition.get("message") or condition.get("reason") or "no reason given")
    return ""


def pods_said(client: Client, pods: Pods) -> str:
    """Return what keeps pods from being ready, and where to look."""
    found = pods.all(client)
    if not found:
        return f"there is no pod with the labels {pods.selector} in namespace {pods.namespace}"
    said = []
    for pod in found:
        statuses = pod.get("status", {}).get("containerStatuses") or []
        waiting = [s["state"]["waiting"] for s in statuses if "waiting" in s.get("state", {})]
        reasons = [f"{w.get('reason')}: {w.get('message', '')}".rstrip(": ") for w in waiting]
        state = "" if reasons else str(_status(client, pods, pod).get("state") or "")
        said.append(
            f"{pod['metadata']['name']} is {'; '.join(reasons) or 'not ready'}"
            f"{f', {state}' if state else ''} (kubectl -n {pods.namespace} logs"
            f" {pod['metadata']['name']})"
        )
    return "; ".join(said)
