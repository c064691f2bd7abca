"""The producer on the filtered stream."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
import requests
from aiohttp import web
from support.producer import PATIENCE, Kit, Sink, X, wait_for


def _streaming(kit: Kit, x: X, sink: Sink, **settings: object) -> dict[str, object]:
    return kit.searching(x, sink, source="stream", overlap_seconds=1, **settings)


def _open(x: X) -> None:
    wait_for(lambda: x.control("GET")["stream"])


def _searches(x: X) -> int:
    return sum("/search/recent" in request["url"] for request in x.requests())


def test_posts_arrive_as_they_are_published(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**_streaming(kit, x, sink))
    _open(x)
    ids = x.publish(
        {"text": "knative one"}, {"text": "cats"}, {"text": "knative two"}, matching="text"
    )
    wait_for(lambda: len(sink.received) == 2)
    assert sink.ids == [ids[0], ids[2]]
    assert set(sink.received[0].data) >= {"id", "text", "created_at"}
    assert producer.stop() == 0, "it waited until the grace period was over"
    stored = json.loads((kit.folder / "state.json").read_text())
    assert stored["budget"]["posts"] == 2


def test_what_was_published_while_not_connected_is_searched_for(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    ids = x.publish_many(5)
    settings = _streaming(kit, x, sink)
    first = kit.producer(**settings)
    wait_for(lambda: len(sink.received) == 5)
    _open(x)
    ids += x.publish_many(2)
    wait_for(lambda: len(sink.received) == 7)
    assert first.stop() == 0
    ids += x.publish_many(5)
    wait_for(lambda: not x.control("GET")["stream"])
    kit.producer(**settings)
    wait_for(lambda: len(sink.received) == 12)
    _open(x)
    ids += x.publish_many(2)
    wait_for(lambda: len(sink.received) == 14)
    assert sorted(sink.ids) == sorted(ids)


def test_it_reconnects_when_x_closes_and_loses_nothing(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    kit.producer(**_streaming(kit, x, sink))
    ids: list[str] = []
    for _ in range(3):
        _open(x)
        ids += x.publish_many(2)
        x.control("POST", "/disconnect")
        ids += x.publish_many(2)
    wait_for(lambda: len(sink.received) >= len(ids))
    _open(x)
    searches = _searches(x)
    wait_for(lambda: _searches(x) > searches)  # the second look back: it brings nothing again
    ids += x.publish_many(1)
    wait_for(lambda: len(sink.received) >= len(ids))
    assert sorted(sink.ids) == sorted(ids)


def test_rule_follows_the_query_and_leaves_others_alone(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    bearer = {"Authorization": "Bearer " + x.keys["bearer_token"]}
    url = x.url + "/2/tweets/search/stream/rules"
    rules = {
        "add": [{"value": "cats", "tag": "mine"}, {"value": "old", "tag": "twitter-producer/t"}]
    }
    requests.post(url, json=rules, headers=bearer, timeout=PATIENCE).raise_for_status()
    producer = kit.producer(**_streaming(kit, x, sink, pipeline="t"))
    _open(x)
    listed = requests.get(url, headers=bearer, timeout=PATIENCE).json()["data"]
    assert {(rule["tag"], rule["value"]) for rule in listed} == {
        ("mine", "cats"),
        ("twitter-producer/t", "knative"),
    }
    producer.saying("the app has other rules")
    ids = x.publish({"text": "cats"}, {"text": "knative"}, matching="text")
    wait_for(lambda: sink.received)
    assert sink.ids == ids[1:]


def test_budget_ends_the_stream(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**_streaming(kit, x, sink, budget_posts=60))
    _open(x)
    for sent in range(5, 90, 5):  # fewer at once than may be in flight
        x.publish_many(5)
        wait_for(lambda n=sent: len(sink.received) >= n or not x.control("GET")["stream"])
    producer.saying("today's budget is spent")
    assert x.bill()["billed"] <= 60
    wait_for(lambda: len(sink.received) >= 30)


def test_stream_that_x_still_believes_to_be_open_is_tried_again_soon(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    first = kit.producer(**_streaming(kit, x, sink))
    _open(x)
    settings = _streaming(kit, x, sink, state="none", lookback_seconds=0)
    second = kit.producer(**settings)
    entry = second.saying("X did not answer as expected")
    assert "maximum allowed connection limit" in entry["error"]
    assert entry["next_in_seconds"] < 2
    first.kill()
    wait_for(lambda: any("the stream is open" in message for message in second.messages()))


def test_sink_that_is_down_holds_the_stream_back_and_loses_nothing(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink(decide=lambda _event: (503, {}))
    kit.producer(**_streaming(kit, x, sink, backoff_max_seconds=0.1))
    _open(x)
    ids = x.publish_many(20)
    wait_for(lambda: len(sink.refused) > 3)
    sink.decide = None
    wait_for(lambda: len(sink.received) == 20)
    assert sink.ids == ids


def test_refused_credentials_are_read_again(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    folder = kit.folder / "keys"
    folder.mkdir()

    def mount() -> None:
        for name in ("api_key", "api_secret"):
            (folder / name).write_text(x.keys[name])

    mount()
    settings = _streaming(kit, x, sink, credentials="files", credentials_dir=folder)
    kit.producer(**settings)
    _open(x)
    x.control("POST", "/keys")
    mount()
    x.control("POST", "/disconnect")
    ids = x.publish_many(2)
    wait_for(lambda: sink.ids == ids)


def test_stream_that_breaks_leaves_one_json_line_and_no_traceback(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**_streaming(kit, x, sink))
    _open(x)
    x.control("POST", "/disconnect")
    producer.saying("the stream has ended")
    wait_for(lambda: x.control("GET")["stream"])
    assert producer.stop() == 0
    assert not [e for e in producer.log if e["severity"] == "RAW" or "exception" in e]


@pytest.mark.parametrize(
    "lines",
    [
        [b"3", b"[]", b"null"],
        [b'{"data": 3, "matching_rules": [3, null]}', b'{"data": {}, "matching_rules": 5}'],
        [b"[" * 50_000],
        [b"x" * (2 << 20)],
    ],
)
def test_messages_of_the_stream_that_nobody_thought_of_end_only_the_connection(
    kit: Kit, lines: list[bytes]
) -> None:
    x, sink = kit.x(), kit.sink()
    given = list(lines)

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/stream"):
            response = web.StreamResponse()
            await response.prepare(request)
            if given:
                await response.write(given.pop(0) + b"\r\n")
                return response
            while request.transport is not None and not request.transport.is_closing():
                await response.write(b"\r\n")
                await asyncio.sleep(0.1)
            return response
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method,
                x.url + str(request.rel_url),
                headers=request.headers,
                data=await request.read(),
            ) as answer,
        ):
            return web.Response(
                status=answer.status,
                headers={"Date": answer.headers["Date"]},
                body=await answer.read(),
            )

    def make(_url: str) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        return app

    front = X.at(kit.loop.serve(make), x.home)
    ids = x.publish_many(2)
    producer = kit.producer(**_streaming(kit, front, sink))
    wait_for(lambda: not given and sink.ids == ids, explain=lambda: str(producer.log))
    assert producer.running
    assert not [e for e in producer.log if e["severity"] == "RAW" or "exception" in e]
