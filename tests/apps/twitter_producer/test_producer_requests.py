"""Each kind of request that the producer makes, held against X's own OpenAPI document.

Beyond these, the fixture `kit` does so with every request of every test.
"""

from __future__ import annotations

import json

import pytest
from support import x_openapi
from support.producer import Kit, wait_for

pytestmark = pytest.mark.skipif(
    not x_openapi.DOCUMENT.is_file(), reason=f"no OpenAPI document of X's at {x_openapi.DOCUMENT}"
)


def test_searches_are_valid(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    x.publish_many(60)
    settings = kit.searching(x, sink, max_results=10, max_pages=2, topics="post,two words")
    producer = kit.producer(**settings)
    wait_for(lambda: len(sink.received) == 60)
    x.publish_many(5)
    wait_for(lambda: len(sink.received) == 65)
    assert producer.stop() == 0
    old = {"after": "1", "before": str(1 << 62)}
    state = json.loads((kit.folder / "state.json").read_text())
    state["windows"].insert(0, old)
    (kit.folder / "state.json").write_text(json.dumps(state))
    producer = kit.producer(**settings)
    producer.saying("older than what X remembers")
    wait_for(lambda: json.loads((kit.folder / "state.json").read_text())["windows"][0] != old)
    urls = x_openapi.check_requests(x.requests())
    for parameter in ("start_time", "since_id", "until_id", "next_token", "post.fields"):
        assert any(f"{parameter}=" in url for url in urls), parameter


def test_stream_and_rules_are_valid(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    for topics in ("first", "second"):
        settings = kit.searching(x, sink, source="stream", topics=topics, overlap_seconds=1)
        producer = kit.producer(**settings)
        wait_for(lambda: x.control("GET")["stream"])
        assert producer.stop() == 0
        wait_for(lambda: not x.control("GET")["stream"])
    urls = x_openapi.check_requests(x.requests())
    assert any("/stream?tweet.fields=" in url for url in urls)
    bodies = [r["body"] for r in x.requests() if r.get("body")]
    assert ["add" in body for body in bodies] == [True, False, True]
