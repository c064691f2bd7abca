"""Pipelines that read networks without a key: through faults into the viewer, and out of it with a deletion."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.kube import Kube
from support.sandbox import until
from support.site import PATIENCE, Site, recap, sandbox

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import KubeError
from ansible_collections.streamops.knative.plugins.module_utils._pipelines.probe import Pods
from streamops_sandbox import control_socket
from streamops_sandbox.home import Home

pytestmark = pytest.mark.timeout(700 * PATIENCE)
SPACE = "streamops"
VIEWER = {"app.kubernetes.io/name": "event-viewer"}
SECONDS = 120.0 * PATIENCE
#: Whose posts the stand-in of Jetstream sends where they name nobody.
AUTHOR = "did:plc:sandbox2streamops3knative"


@dataclass(frozen=True)
class Network:
    """A network, and how its stand-in is driven."""

    source: str
    settings: dict[str, Any]
    #: Where the stand-in's control interface has it.
    control: str
    event_type: str
    #: What happens to the next requests of the producer, as the stand-in takes it.
    faults: list[dict[str, Any]]
    #: Whether the producer holds a connection, which is then broken.
    held: bool = False


NETWORKS = [
    Network(
        "jetstream",
        {"topics": ["removable"], "languages": [], "authors": [AUTHOR]},
        "jetstream",
        "app.bsky.feed.post",
        [
            {"kind": "drop", "path": "/subscribe"},
            {"kind": "status", "status": 503, "path": "/subscribe"},
            {"kind": "garbage", "path": "/subscribe"},
        ],
        held=True,
    ),
    Network(
        "mastodon",
        # A hashtag of this test's own: all that is delivered is asked for again with each poll.
        {"topics": ["removable"], "languages": [], "interval": 1},
        "mastodon",
        "org.joinmastodon.status",
        [
            {"kind": "status", "status": 500, "path": "/api/v1/timelines"},
            {"kind": "truncate", "path": "/api/v1/timelines"},
            {"kind": "garbage", "path": "/api/v1/timelines"},
            {"kind": "drop", "path": "/api/v1/statuses"},
        ],
    ),
    Network(
        "feed",
        {"topics": [], "languages": [], "environment": {"FEED_INTERVAL_SECONDS": "1"}},
        "feeds/removable",
        "com.streamops.feed.entry",
        [
            {"kind": "drop", "path": "/feeds/removable"},
            {"kind": "status", "status": 502, "path": "/feeds/removable"},
            {"kind": "truncate", "path": "/feeds/removable"},
        ],
    ),
]


@dataclass
class Deployed:
    """The site with the three pipelines."""

    site: Site
    arguments: tuple[str, ...]
    output: str
    kube: Kube

    def ask(self, path: str, labels: dict[str, str] = VIEWER, **query: Any) -> Any:
        """GET from the viewer, or from another app's pod; None while it does not answer."""
        pods = Pods(SPACE, labels, 8080)
        try:
            pod = pods.ready(self.kube.client)
            return pod and pods.request(self.kube.client, pod, "GET", path, query=query or None)
        except KubeError:
            return None

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Drive the networks' stand-in."""
        home = Home(Path(self.site.state["home"]))
        status, answer = control_socket.call(home, method, f"/networks{path}", body)
        assert status == 200, answer
        return answer

    def texts(self, network: Network) -> list[str]:
        """The texts of a network's posts in the viewer; a feed's titles stand before them."""
        page = self.ask("/api/events", type=network.event_type, limit=100) or {"events": []}
        found = [record["event"]["data"]["text"] for record in page["events"]]
        return [text.rpartition("\n")[2] for text in found]

    def files_with(self, text: str) -> list[str]:
        """The files of the viewer's store, its log included, in which a text is."""
        files = [path for path in self.site.home.rglob("events.db*") if path.is_file()]
        assert files
        return [path.name for path in files if text.encode() in path.read_bytes()]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """site.yml with three sources that need no key, for somebody who has none."""
    with sandbox(tmp_path_factory.mktemp("networks")) as site:
        url = site.state["urls"]["networks"]
        pipelines = [{"name": n.source, "source": n.source, **n.settings} for n in NETWORKS]
        variables = {
            "twitter_pipeline_pipelines": pipelines,
            "twitter_pipeline_feeds": [f"{url}/feeds/removable.atom"],
            **{
                f"secrets_x_{name}": ""
                for name in ("api_key", "api_secret", "access_key", "access_secret")
            },
        }
        home = Home(Path(site.state["home"]))
        first = [{"text": "The first entry"}]
        assert control_socket.call(home, "POST", "/networks/feeds/removable/posts", first)[0] == 200
        arguments = ("site.yml", "-e", json.dumps(variables))
        output = site.play(*arguments).stdout
        yield Deployed(site, arguments, output, Kube(site.home / "kubeconfig"))


def test_no_keys_are_needed_and_none_are_stored(deployed: Deployed) -> None:
    assert "No pipeline reads X, so no credentials are needed." in deployed.output
    assert not [name for name in deployed.site.secrets() if "twitter" in name]
    client = deployed.kube.client
    assert not client.list(client.resource("v1", "Secret"), SPACE)
    for network in NETWORKS:
        deployment = deployed.kube.get("apps/v1", "Deployment", network.source, SPACE)
        assert deployment is not None
        assert "credentials" not in json.dumps(deployment["spec"])
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        environment = {entry["name"]: entry.get("value") for entry in container["env"]}
        assert environment.get("AUTHORS") == (AUTHOR if network.source == "jetstream" else None)
    policy = deployed.kube.get("networking.k8s.io/v1", "NetworkPolicy", "twitter-producer", SPACE)
    assert policy is not None
    assert "169.254.169" not in json.dumps(policy)  # the metadata server's tokens are for X's keys


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.source)
def test_posts_arrive_through_faults_and_go_with_a_deletion(
    deployed: Deployed, network: Network
) -> None:
    labels = {"app.kubernetes.io/instance": network.source}
    made = time.time_ns()
    texts = [f"#removable post number {number} of {made}" for number in range(6)]
    entries = [{"text": text} for text in texts]

    def polls() -> float:
        status = deployed.ask("/status", labels)
        return float(status["counters"]["polls"]) if status else 0.0

    ids = deployed.control("POST", f"/{network.control}/posts", entries[:2])
    for fault in network.faults:
        deployed.control("POST", "/faults", fault)
    if network.held:
        deployed.control("POST", f"/{network.control}/disconnect")
    ids += deployed.control("POST", f"/{network.control}/posts", entries[2:4])
    until(lambda: not deployed.control("GET", "/faults"), "every fault to be met", SECONDS)
    ids += deployed.control("POST", f"/{network.control}/posts", entries[4:])
    until(lambda: set(texts) <= set(deployed.texts(network)), "the posts in the viewer", SECONDS)
    found = deployed.texts(network)
    assert [text for text in found if text in texts] == texts[::-1]  # once each, newest first
    until(lambda: deployed.files_with(texts[3]), "the post in the store's file", SECONDS)

    deployed.control("POST", f"/{network.control}/deletions", [ids[3]])
    if not network.held:
        # The poll under way may have asked before; with the end of the one after it the post is gone.
        last = until(polls, "the count of polls", SECONDS) + 3
        until(lambda: polls() >= last, "two further polls", SECONDS)
        assert texts[3] not in deployed.texts(network)
    until(lambda: texts[3] not in deployed.texts(network), "the post to leave", SECONDS)
    until(lambda: not deployed.files_with(texts[3]), "the text to leave the files", SECONDS)
    assert deployed.ask("/api/events", text=texts[3])["events"] == []
    assert all(deployed.files_with(text) for text in texts if text != texts[3])
    left = [text for text in deployed.texts(network) if text in texts]
    assert left == [text for text in texts[::-1] if text != texts[3]]


def test_viewer_tells_of_the_pipelines(deployed: Deployed) -> None:
    def told() -> Any:
        answer = deployed.ask("/api/pipelines") or {"pipelines": []}
        pipelines = {one["name"]: one for one in answer["pipelines"]}
        well = [one for one in pipelines.values() if not one["problem"] and one["delivered"]]
        return len(well) == len(NETWORKS) and pipelines

    pipelines = until(told, "the producers' own word on the viewer's page", SECONDS)
    for network in NETWORKS:
        one = pipelines[network.source]
        assert one["source"] == network.source
        assert one["state"] == "running"
        assert one["per_minute"] > 0
        assert one["seconds_behind"] is not None
        assert one["budget"] is None


def test_again_changes_nothing(deployed: Deployed) -> None:
    counts = recap(deployed.site.play(*deployed.arguments).stdout)["sandbox"]
    assert (counts["changed"], counts["failed"]) == (0, 0)
