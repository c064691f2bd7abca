"""Jetstream, Mastodon and feeds, at their stand-ins: events, cursors, deletions, faults."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests
from support.producer import PATIENCE, Kit, wait_for
from support.producer_networks import Networks

SOURCES = ("jetstream", "mastodon", "feed")
PLACES = {"jetstream": "jetstream", "mastodon": "mastodon", "feed": "feeds/a"}
TYPES = {
    "jetstream": "app.bsky.feed.post",
    "mastodon": "org.joinmastodon.status",
    "feed": "com.streamops.feed.entry",
}


@pytest.fixture
def networks(kit: Kit) -> Networks:
    return Networks(kit)


def _texts(*texts: str) -> list[dict[str, Any]]:
    return [{"text": text} for text in texts]


@pytest.mark.parametrize("source", SOURCES)
def test_posts_arrive_in_the_common_shape(kit: Kit, networks: Networks, source: str) -> None:
    sink, place = kit.sink(), PLACES[source]
    ids = networks.post(place, *_texts("#knative <one> & \U0001f680", "two #knative"))
    producer = kit.producer(**networks.settings(source, sink))
    wait_for(lambda: len(sink.received) == 2, explain=lambda: str(producer.log))
    first = sink.received[0]
    assert sink.ids == ids
    assert first.headers["ce-type"] == TYPES[source]
    assert "#knative <one> & \U0001f680" in first.data["text"]
    assert first.data["id"] == ids[0]
    assert set(first.data) >= {"network", "created_at", "lang", "url", "author"}
    assert set(first.data["author"]) >= {"name", "handle", "url"}

    def status() -> dict[str, Any]:
        return requests.get(producer.url + "/status", timeout=PATIENCE).json()

    # What was delivered is noted after the sink's answer.
    wait_for(lambda: status()["state"] == "running" and status()["checkpoint"])
    assert producer.stop() == 0


@pytest.mark.parametrize("source", SOURCES)
def test_restart_resumes_from_the_checkpoint(kit: Kit, networks: Networks, source: str) -> None:
    sink, place = kit.sink(), PLACES[source]
    settings = networks.settings(source, sink)
    producer = kit.producer(**settings)
    producer.saying("started")
    [first] = networks.post(place, *_texts("#knative first"))
    wait_for(lambda: sink.ids == [first], explain=lambda: str(producer.log))
    assert producer.stop() == 0
    [second] = networks.post(place, *_texts("#knative second"))
    producer = kit.producer(**settings)
    producer.saying("resumes from the checkpoint")
    wait_for(lambda: sink.ids == [first, second], explain=lambda: str(producer.log))


@pytest.mark.parametrize(("source", "token"), [*((s, False) for s in SOURCES), ("mastodon", True)])
def test_deletion_of_what_was_delivered_arrives_as_an_event(
    kit: Kit, networks: Networks, source: str, token: bool
) -> None:
    sink, place = kit.sink(), PLACES[source]
    more = {"source_token_file": networks.token_file} if token else {}
    producer = kit.producer(**networks.settings(source, sink, **more))
    kept, gone = networks.post(place, *_texts("#knative kept", "#knative gone"))
    wait_for(lambda: len(sink.received) == 2, explain=lambda: str(producer.log))
    networks.delete(place, gone)
    wait_for(lambda: len(sink.received) == 3, explain=lambda: str(producer.log))
    event = sink.received[2]
    assert event.headers["ce-type"] == TYPES[source] + ".deleted"
    assert event.headers["ce-subject"] == event.data["id"] == gone
    assert event.headers["ce-source"] == sink.received[0].headers["ce-source"]
    assert event.id == gone + ".deleted"
    time.sleep(1.5)
    assert len(sink.received) == 3, "each deletion once"
    assert kept in sink.ids


def test_jetstream_delivers_what_matches_and_forgets_deleted_accounts(
    kit: Kit, networks: Networks
) -> None:
    sink = kit.sink()
    settings = networks.settings("jetstream", sink, languages="en,de", excludes="casino")
    producer = kit.producer(**settings)
    did = "did:plc:ada"
    ids = networks.post(
        "jetstream",
        {"text": "Knative!", "did": did, "handle": "ada.example", "langs": ["de-AT"]},
        {"text": "knatively", "did": did},
        {"text": "knative in the casino", "did": did},
        {"text": "knative", "langs": ["fr"]},
        {"text": "nothing", "collection": "app.bsky.feed.like"},
    )
    wait_for(lambda: sink.ids == ids[:1], explain=lambda: str(producer.log))
    author = sink.received[0].data["author"]
    assert author["handle"] == "ada.example"
    networks.control("POST", "/jetstream/accounts", {"did": "did:plc:bob", "status": "deleted"})
    networks.control("POST", "/jetstream/accounts", {"did": did, "status": "deleted"})
    wait_for(lambda: len(sink.received) == 2, explain=lambda: str(producer.log))
    assert sink.received[1].headers["ce-subject"] == did
    assert sink.received[1].data["author"] == {"id": did}


def test_jetstream_connects_again_from_its_cursor(kit: Kit, networks: Networks) -> None:
    sink = kit.sink()
    producer = kit.producer(**networks.settings("jetstream", sink))
    ids = networks.post("jetstream", *_texts("knative 1"))
    wait_for(lambda: sink.ids == ids, explain=lambda: str(producer.log))
    networks.control("POST", "/jetstream/disconnect")
    ids += networks.post("jetstream", *_texts("knative 2"))
    wait_for(lambda: sink.ids == ids, explain=lambda: str(producer.log))
    assert networks.control("GET", "/jetstream")["connections"] >= 2


AUTHORS = {
    "jetstream": ("did:plc:ada", {"did": "did:plc:ada"}, {"did": "did:plc:bob"}),
    "mastodon": ("@Ada@HOST,bob@a.example", {"acct": "ada"}, {"acct": "ada@b.example"}),
    "feed": ("ada Lovelace", {"author": "Ada Lovelace"}, {"author": "Bob"}),
}


@pytest.mark.parametrize("source", SOURCES)
def test_only_posts_of_the_authors_are_delivered(kit: Kit, networks: Networks, source: str) -> None:
    sink = kit.sink()
    authors, wanted, other = AUTHORS[source]
    authors = authors.replace("HOST", networks.url.removeprefix("http://"))
    ids = networks.post(
        PLACES[source],
        {"text": "#knative not ours", **other},
        {"text": "#knative ours", **wanted},
    )
    producer = kit.producer(**networks.settings(source, sink, authors=authors))
    wait_for(lambda: sink.received, explain=lambda: str(producer.log))
    ids += networks.post(PLACES[source], {"text": "#knative ours too", **wanted})
    wait_for(lambda: len(sink.received) == 2, explain=lambda: str(producer.log))
    assert sink.ids == ids[1:]


def test_mastodon_with_a_token_does_not_wait_for_the_interval(kit: Kit, networks: Networks) -> None:
    sink = kit.sink()
    settings = networks.settings(
        "mastodon", sink, source_token_file=networks.token_file, poll_interval_seconds=600
    )
    producer = kit.producer(**settings)
    wait_for(lambda: networks.control("GET", "/mastodon")["listeners"] == 1)
    ids = networks.post("mastodon", *_texts("now #knative"))
    wait_for(lambda: sink.ids == ids, explain=lambda: str(producer.log))


def test_mastodon_rate_limit_is_waited_for(kit: Kit, networks: Networks) -> None:
    sink = kit.sink()
    networks.control("PUT", "/mastodon/limit", {"requests": 3})
    producer = kit.producer(**networks.settings("mastodon", sink))
    said = producer.saying("rate limit is reached")
    assert 200 < said["next_in_seconds"] < 310
    assert producer.stop() == 0


def test_mastodon_token_that_is_refused_is_read_again(kit: Kit, networks: Networks) -> None:
    sink, file = kit.sink(), kit.folder / "token"
    file.write_text("wrong")
    settings = networks.settings("mastodon", sink, source_token_file=file)
    producer = kit.producer(**settings)
    ids = networks.post("mastodon", *_texts("#knative"))
    # The timelines are public; only the stream is refused, which opens in the background.
    wait_for(lambda: sink.ids == ids, explain=lambda: str(producer.log))
    file.write_text(networks.token_file.read_text())
    networks.fault("status", status=401, path="/api/v1/timelines")
    wait_for(lambda: networks.control("GET", "/mastodon")["listeners"] == 1)


def test_mastodon_token_file_that_is_not_there_yet_is_waited_for(
    kit: Kit, networks: Networks
) -> None:
    sink, file = kit.sink(), kit.folder / "token"
    ids = networks.post("mastodon", *_texts("#knative"))
    producer = kit.producer(**networks.settings("mastodon", sink, source_token_file=file))
    said = producer.saying("refuses the credentials")
    assert f"SOURCE_TOKEN_FILE={file} cannot be read" in said["error"]
    file.write_text(networks.token_file.read_text())
    wait_for(lambda: sink.ids == ids, explain=lambda: str(producer.log))


def test_feed_that_has_not_changed_is_answered_304(kit: Kit, networks: Networks) -> None:
    sink = kit.sink()
    networks.post("feeds/a", *_texts("one"))
    kit.producer(**networks.settings("feed", sink))
    wait_for(lambda: len(networks.control("GET", "/feeds")) >= 3)
    asked = networks.control("GET", "/feeds")
    assert asked[0]["headers"] == {}
    assert asked[-1]["headers"]["If-None-Match"]
    assert len(sink.received) == 1


@pytest.mark.parametrize("kind", ["rss", "atom", "json"])
def test_each_kind_of_feed_is_read(kit: Kit, networks: Networks, kind: str) -> None:
    sink = kit.sink()
    ids = networks.post("feeds/a", *_texts("a <b>bold</b> & \u00fc", "second"))
    feeds = f"{networks.url}/feeds/a.{kind}"
    producer = kit.producer(**networks.settings("feed", sink, feeds=feeds, run_once="true"))
    assert producer.wait() == 0
    assert sink.ids == ids
    assert "bold" in sink.received[0].data["text"]
    assert sink.received[0].headers["ce-source"] == feeds


def test_feeds_do_not_hold_each_other_up(kit: Kit, networks: Networks) -> None:
    sink = kit.sink()
    networks.post("feeds/a", *_texts("fine"))
    networks.fault("delay", seconds=3 * PATIENCE, path="/feeds/slow", count=100)
    networks.fault("garbage", path="/feeds/garbage", count=100)
    networks.fault("status", status=410, path="/feeds/gone")
    names = ("slow", "garbage", "missing", "gone", "a")
    feeds = ",".join(f"{networks.url}/feeds/{name}.rss" for name in names)
    settings = networks.settings("feed", sink, feeds=feeds, source_timeout_seconds=2 * PATIENCE)
    producer = kit.producer(**settings)
    wait_for(lambda: len(sink.received) == 1, explain=lambda: str(producer.log))
    producer.saying("a feed is gone")
    wait_for(lambda: sum("a feed was not read" in m for m in producer.messages()) >= 2)
    assert (
        requests.get(producer.url + "/status", timeout=PATIENCE).json()["feeds"]["configured"] == 5
    )


@pytest.mark.parametrize(
    ("source", "given", "said"),
    [
        ("jetstream", {"topics": ""}, "that would be every post"),
        ("jetstream", {"jetstream_url": "https://x"}, "is not a URL such as wss://"),
        ("jetstream", {"authors": "bob"}, "is not an account such as did:plc:"),
        ("mastodon", {"authors": "two words"}, "is not an account such as ada@"),
        ("jetstream", {"collections": "posts"}, "is not a collection"),
        ("jetstream", {"query": "knative lang:en"}, "QUERY is in X's language"),
        ("jetstream", {"run_once": "true"}, "a stream never ends"),
        ("mastodon", {"topics": ""}, "reads hashtags"),
        ("mastodon", {"topics": "two words"}, "is not a hashtag"),
        ("mastodon", {"mastodon_url": "mastodon.social"}, "is not a URL"),
        ("feed", {"feeds": ""}, "set FEEDS or FEEDS_FILE"),
        ("feed", {"feeds": "ftp://x/feed"}, "is not a URL"),
        ("feed", {"feeds_file": "/nowhere"}, "cannot be read"),
    ],
)
def test_wrong_setting_is_named_before_anything_is_contacted(
    kit: Kit, networks: Networks, source: str, given: dict[str, str], said: str
) -> None:
    sink = kit.sink()
    producer = kit.producer(**{**networks.settings(source, sink), **given})
    assert producer.wait() == 2
    assert said in producer.messages()[-1]
