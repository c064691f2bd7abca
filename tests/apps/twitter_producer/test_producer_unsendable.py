"""Posts and answers that nobody thought of: none of them stops the producer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.producer import Kit, Producer, Sink, X, wait_for

from twitter_producer import json_text
from twitter_producer.metrics import Metrics
from twitter_producer.sources.posts import posts

#: Half of an emoji: JSON has an escape for it, UTF-8 has nothing.
CUT = "cut \ud83d"


def _published(kit: Kit, source: str, sink: Sink, **more: Any) -> tuple[Producer, list[str]]:
    """Start a producer and give it three posts, of which the second one cannot be sent."""
    texts = ["one", CUT, "three"]
    if source == "replay":
        ids = [str((1 << 60) + n) for n in range(3)]
        path = kit.folder / "posts.json"
        path.write_text(json.dumps([{"id": i, "text": t} for i, t in zip(ids, texts, strict=True)]))
        settings = {"source": "replay", "replay_file": path, "k_sink": sink.url, **more}
        return kit.producer(**settings), ids
    x = kit.x()
    producer = kit.producer(**kit.searching(x, sink, source=source, overlap_seconds=1, **more))
    if source == "stream":
        wait_for(lambda: x.control("GET")["stream"])
    return producer, x.publish(*({"text": text} for text in texts))


@pytest.mark.parametrize("source", ["search", "stream", "replay"])
def test_half_a_surrogate_goes_to_the_dead_letter_and_the_next_posts_arrive(
    kit: Kit, source: str
) -> None:
    sink, letters = kit.sink(), kit.folder / "dead.jsonl"
    producer, ids = _published(kit, source, sink, dead_letter_file=letters)
    wait_for(lambda: len(sink.received) == 2, explain=lambda: str(producer.log))
    assert sink.ids == [ids[0], ids[2]]
    [letter] = [json.loads(line) for line in letters.read_text().splitlines()]
    assert letter["event"]["id"] == ids[1]
    assert letter["event"]["data"]["text"] == CUT
    assert "surrogates not allowed" in letter["reason"]
    assert producer.stop() == 0


@pytest.mark.parametrize("mode", ["binary", "structured", "batch"])
def test_what_cannot_be_sent_is_the_same_in_each_content_mode(kit: Kit, mode: str) -> None:
    sink, dead = kit.sink(), kit.sink()
    settings = {"delivery_mode": mode, "dead_letter_sink": dead.url}
    _producer, ids = _published(kit, "replay", sink, **settings)
    wait_for(lambda: dead.received and len(sink.received) == 2)
    assert dead.ids == [ids[1]]
    assert dead.received[0].data["text"] == CUT
    assert "surrogates" in dead.received[0].headers["ce-knativeerrordata"]


def test_without_dead_letter_it_is_logged(kit: Kit) -> None:
    sink = kit.sink()
    producer, ids = _published(kit, "replay", sink)
    assert producer.saying("refused for good")["event"]["data"]["text"] == CUT
    wait_for(lambda: sink.ids == [ids[0], ids[2]])
    assert not [e for e in producer.log if e["severity"] == "RAW"]


def test_dead_letter_sink_that_refuses_it_for_good_does_not_stop_the_next_posts(kit: Kit) -> None:
    sink, dead = kit.sink(), kit.sink(decide=lambda _event: (400, {}))
    producer, ids = _published(kit, "replay", sink, dead_letter_sink=dead.url)
    wait_for(lambda: sink.ids == [ids[0], ids[2]])
    assert producer.saying("refused for good")["event"]["id"] == ids[1]


def test_numbers_that_json_has_not_and_depth_are_dead_letters(kit: Kit, tmp_path: Path) -> None:
    first = 1 << 60
    deep = "[" * 500 + "]" * 500
    path = tmp_path / "posts.json"
    path.write_text(
        f'[{{"id": "{first}", "text": "a", "n": NaN}},'
        f'{{"id": "{first + 1}", "text": "b", "n": {"9" * 5000}}},'
        f'{{"id": "{first + 2}", "text": "c", "deep": {deep}}},'
        f'{{"id": "{first + 3}", "text": "d", "created_at": "0001-01-01T00:00:00+14:00"}}]'
    )
    sink, letters = kit.sink(), tmp_path / "dead.jsonl"
    settings = {"source": "replay", "replay_file": path, "k_sink": sink.url, "run_once": "true"}
    producer = kit.producer(**settings, dead_letter_file=letters)
    assert producer.wait() == 0
    settled = {json.loads(line)["event"]["id"] for line in letters.read_text().splitlines()}
    assert {str(first), str(first + 1)} <= settled
    assert settled | set(sink.ids) == {str(first + n) for n in range(4)}


@pytest.mark.parametrize("post_id", ["9" * 30, "9" * 5000, "١٢٣", "-1", "", 7, None, {"a": 1}])
def test_entry_without_usable_id_is_left_out(post_id: Any) -> None:
    found = posts([{"id": post_id, "text": CUT}, {"id": "5", "text": "x"}, 3, None], Metrics())
    assert [post.id for post in found] == [5]


#: Answers of X to a search.
ODD = [
    b'{"data": [], "meta": {"next_token": {"a": 1}}}',
    b'{"data": {"id": "1"}, "meta": []}',
    b"[" * 100_000,
    b'{"data": [{"id": ' + b"9" * 10_000 + b"}]}",
    b'{"errors": [1], "data": [null, 3, {"id": "x"}]}',
    b"\xff\xfe",
]


def test_answers_of_x_that_nobody_thought_of_are_reported_and_pass(
    kit: Kit, x_answers: Any
) -> None:
    x, sink = kit.x(), kit.sink()
    answers: list[Any] = [(200, {}, answer) for answer in ODD]
    front = x_answers(x, answers)
    [post_id] = x.publish_many(1)
    producer = kit.producer(**kit.searching(X.at(front, x.home), sink))
    wait_for(lambda: sink.ids == [post_id], explain=lambda: f"{len(answers)}: {producer.log}")
    assert answers == []
    assert producer.stop() == 0


@pytest.mark.parametrize("status", [200, 503])
def test_headers_of_x_that_nobody_thought_of_stop_nothing(
    kit: Kit, status: int, x_answers: Any
) -> None:
    x, sink = kit.x(), kit.sink()
    answers: list[Any] = [
        (status, {name: value}, b'{"meta": {}}')
        for name in ("x-rate-limit-remaining", "x-rate-limit-reset", "Date")
        for value in ("9" * 5000, "Mon, 01 Jan 0001 00:00:00 +2359")
    ]
    front = x_answers(x, answers)
    [post_id] = x.publish_many(1)
    producer = kit.producer(**kit.searching(X.at(front, x.home), sink))
    wait_for(lambda: sink.ids == [post_id], explain=lambda: f"{len(answers)}: {producer.log}")
    assert answers == []
    assert producer.stop() == 0


def test_encoding_has_a_form_for_everything() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}
    value = {"text": CUT, "n": float("nan"), "set": {1}, "deep": deep, "plain": "ü\x00"}
    again = json.loads(json_text.encode_any(value))
    assert (again["text"], again["plain"]) == (CUT, "ü\x00")
    assert again["n"] == "nan"
