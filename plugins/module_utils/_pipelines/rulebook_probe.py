"""Sends one recognisable event to a Broker and waits until a rule of ansible-rulebook has acted on it.

Everything goes through the API server: the event through the proxy of the Service that the Broker's address
names, what the action has printed from the pod's log. The action is that of the collection's rulebooks, the
playbook `probe`, or another that prints the same.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from .._kubernetes.client import FORBIDDEN, Client, Object
from .._kubernetes.errors import ApiError
from .._kubernetes.polling import poll
from .probe import POLL_SECONDS, Lost, Path, Pods, not_ready, pods_said

#: Its rule is in the collection's rulebooks, and in the README of the role event_driven for others.
PROBE_TYPE = "com.streamops.rulebook.probe"
SOURCE = "streamops.knative.rulebook_probe"
PORTS = {"http": 80, "https": 443}


def probe(
    client: Client,
    broker: str,
    pods: Pods,
    *,
    timeout: float,
    progress: Callable[[str], None],
) -> Path:
    """Send an event to a Broker of the pods' namespace; return its way to the action.

    Raises Lost where no rule acts on it within `timeout` seconds.
    """
    start = time.monotonic()
    path = Path(id=f"probe-{uuid.uuid4()}")
    search = _Search(client, broker, pods, path.id)

    def waiting(look: Callable[[], str]) -> str:
        return poll(client, look, deadline=start + timeout, pause=POLL_SECONDS, progress=progress)

    if missing := waiting(search.send):
        raise Lost(missing)
    path.add("broker", search.address, start)
    if missing := waiting(search.find):
        raise Lost(f"{missing} within {timeout:g} s. {search.hints()}", hop="rulebook")
    path.add("action", search.rule, start)
    return path


class _Search:
    """One probe: each step returns what is still missing, "" once it is done."""

    def __init__(self, client: Client, broker: str, pods: Pods, identifier: str) -> None:
        self._client = client
        self._broker = broker
        self._pods = pods
        self._id = identifier
        self.address = self.rule = ""

    def send(self) -> str:
        """Send the event to the Broker's address."""
        space = self._pods.namespace
        if self._pods.ready(self._client) is None:
            return pods_said(self._client, self._pods)
        resource = self._client.resource("eventing.knative.dev/v1", "Broker")
        found = self._client.get(resource, self._broker, space)
        if found is None:
            return f"there is no Broker {self._broker} in namespace {space}"
        self.address = str(((found.get("status") or {}).get("address") or {}).get("url") or "")
        if not self.address:
            return f"the Broker {self._broker} has no address: {not_ready(found)}"
        try:
            self._client.transport.request(
                "POST",
                proxied(self.address),
                body={},
                headers={
                    "ce-specversion": "1.0",
                    "ce-id": self._id,
                    "ce-source": SOURCE,
                    "ce-type": PROBE_TYPE,
                },
                repeatable=True,  # the source drops an event that it had
                as_text=True,
            )
        except ApiError as error:
            if error.status == FORBIDDEN:
                raise Lost(
                    f"{error.message}. To send it, the login needs create services/proxy in the namespace"
                    " of the Broker's Service; without, set event_driven_verify: false",
                    hop="Broker",
                ) from error
            return f"the Broker {self._broker} did not take it: {error.message}"
        return ""

    def find(self) -> str:
        """Find what the action has printed."""
        said = re.compile(rf"Rule (.+?) has acted on {self._id}")
        for pod in self._pods.all(self._client):
            if found := said.search(self._log(pod)):
                self.rule = f"rule {found[1]}"
                return ""
        return f"the Broker {self._broker} took it, but no rule has acted on it"

    def _log(self, pod: Object) -> str:
        name, space = pod["metadata"]["name"], self._pods.namespace
        try:
            text: Any = self._client.transport.request(
                "GET",
                f"/api/v1/namespaces/{space}/pods/{name}/log",
                query={"tailLines": 5000},
                as_text=True,
            )
        except ApiError as error:
            if error.status == FORBIDDEN:
                raise Lost(f"{error.message}, where the action is seen", hop="rulebook") from error
            return ""  # its container is about to start, or the pod is gone
        return str(text)

    def hints(self) -> str:
        """Return what to look at."""
        space, selector = self._pods.namespace, self._pods.selector
        if self._pods.ready(self._client) is None:
            return pods_said(self._client, self._pods)
        resource = self._client.resource("eventing.knative.dev/v1", "Trigger")
        problems = [
            f"Trigger {trigger['metadata']['name']} is not ready: {problem}"
            for trigger in self._client.list(resource, space, label_selector=selector)
            if (problem := not_ready(trigger))
        ]
        look = f"Look at kubectl -n {space} logs -l {selector}"
        rule = f"has the rulebook a rule for events of the type {PROBE_TYPE}?"
        return ". ".join([*problems, f"{look}; {rule}"])


def proxied(url: str) -> str:
    """Return the path of the API server's proxy to a Service's URL; raises Lost where it is another's."""
    parts = urlsplit(url)
    name, _dot, rest = (parts.hostname or "").partition(".")
    namespace, _dot, domain = rest.partition(".")
    if domain.partition(".")[0] != "svc":
        raise Lost(
            f"its address {url} is not a Service's of the cluster: set event_driven_verify: false",
            hop="Broker",
        )
    port = parts.port or PORTS[parts.scheme]
    return f"/api/v1/namespaces/{namespace}/services/{parts.scheme}:{name}:{port}/proxy{parts.path}"
